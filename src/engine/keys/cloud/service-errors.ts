import { SignpipeError, usage } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { KeyUnavailable } from '../signing-key.ts';

/** What can be wrong with a call of a service, as far as a person can act on it. */
export type Problem =
  | 'credentials'
  | 'denied'
  | 'missing'
  | 'disabled'
  | 'unsuitable'
  | 'region'
  | 'untrusted'
  | 'clock'
  | 'throttled'
  | 'unavailable'
  | 'timeout'
  | 'answer'
  | 'refused';

interface ProblemText {
  readonly errorCode: string;
  /** `unavailable` if trying again can help. */
  readonly kind: 'usage' | 'unavailable' | 'local';
  readonly text: string;
  readonly hint: string;
}

const PROBLEMS: Readonly<Record<Problem, ProblemText>> = {
  credentials: {
    errorCode: 'key-service-credentials',
    kind: 'usage',
    text: 'there are no credentials that the service accepts',
    hint: 'give the signer credentials of an account that may sign, and renew those that have expired; see docs/keys.md',
  },
  denied: {
    errorCode: 'key-service-denied',
    kind: 'usage',
    text: 'the account may not do that',
    hint: 'permit the account to read the public key and to sign; see docs/keys.md',
  },
  missing: {
    errorCode: 'key-not-found',
    kind: 'usage',
    text: 'there is no such key',
    hint: 'check signing.key',
  },
  disabled: {
    errorCode: 'key-disabled',
    kind: 'usage',
    text: 'the key cannot be used in its present state',
    hint: 'enable the key, or cancel its deletion; else name another key and its certificate',
  },
  unsuitable: {
    errorCode: 'key-not-for-signing',
    kind: 'usage',
    text: 'the key was not made for such signatures',
    hint: 'make a key for signing with RSA PKCS#1 v1.5 or ECDSA on P-256, P-384 or P-521, and get a certificate for it',
  },
  region: {
    errorCode: 'key-service-region',
    kind: 'usage',
    text: 'the region is missing or wrong',
    hint: 'name the region of the key',
  },
  untrusted: {
    errorCode: 'key-service-untrusted',
    kind: 'usage',
    text: 'the TLS certificate of the service is not trusted',
    hint: 'check the address; if a proxy of your own inspects TLS, name its authority in NODE_EXTRA_CA_CERTS',
  },
  clock: {
    errorCode: 'key-service-clock',
    kind: 'unavailable',
    text: 'the clock of this machine differs from that of the service',
    hint: 'set the clock of this machine',
  },
  throttled: {
    errorCode: 'key-service-throttled',
    kind: 'unavailable',
    text: 'the service asks to slow down',
    hint: 'lower signing.concurrency, or ask for a higher quota',
  },
  unavailable: {
    errorCode: 'key-service-unavailable',
    kind: 'unavailable',
    text: 'the service cannot be reached or has failed',
    hint: 'check the network of this machine and the state of the service',
  },
  timeout: {
    errorCode: 'key-service-timeout',
    kind: 'unavailable',
    text: 'the service did not answer in time',
    hint: 'check the network of this machine and the state of the service',
  },
  answer: {
    errorCode: 'key-service-answer',
    kind: 'unavailable',
    text: 'the answer is damaged, or not of this service',
    hint: 'check whether a proxy or another server answers instead of the service',
  },
  refused: {
    errorCode: 'key-service-refused',
    kind: 'local',
    text: 'the service refuses the request',
    hint: 'check signing.key and the state of the key at the service',
  },
};

/** What a service said about a problem. */
export interface ServiceProblem {
  readonly problem: Problem;
  /** The service's own words: see `quoted`. */
  readonly said?: string;
  /** Replaces the usual hint. */
  readonly hint?: string;
  readonly retryAfterMs?: number | undefined;
}

/**
 * The error for a problem. It has no cause: the errors of an SDK hold its requests, with tokens in their headers.
 *
 * Codes: `key-service-credentials`, `key-service-denied`, `key-not-found`, `key-disabled`, `key-not-for-signing`,
 * `key-service-region`, `key-service-untrusted` (usage); `key-service-clock`, `key-service-throttled`, `key-service-unavailable`, `key-service-timeout`,
 * `key-service-answer` (KeyUnavailable); `key-service-refused` (local).
 */
export function serviceError(
  what: string,
  { problem, said, hint, retryAfterMs }: ServiceProblem,
): SignpipeError {
  const known = PROBLEMS[problem];
  const message = `${what}: ${known.text}${said === undefined || said === '' ? '' : ` (${said})`}`;
  const details = { hint: hint ?? known.hint };
  if (known.kind === 'usage') return usage(known.errorCode, message, details);
  if (known.kind === 'unavailable')
    return new KeyUnavailable(known.errorCode, message, { ...details, retryAfterMs });
  return new SignpipeError('local', known.errorCode, message, details);
}

/** By problem, the hint that fits one service better than the usual one. */
export type ServiceHints = Partial<Record<Problem, string>>;

/** Adds the service's own hint for a problem, if it has one. */
export function withHint(problem: ServiceProblem, hints: ServiceHints): ServiceProblem {
  const hint = hints[problem.problem];
  return hint === undefined ? problem : { ...problem, hint };
}

const MAX_SAID = 300;

/** Longer than names and IDs; as long as session tokens, signatures and other secrets. */
const LONG = /[A-Za-z0-9+/_=.-]{100,}|[A-Za-z0-9+_=-]{64,}/g;

/**
 * The first line of what a service or its SDK said, printable and without anything that looks like a token: AWS repeats the
 * headers of a request whose signature is wrong on further lines.
 */
export const quoted = (text: unknown): string =>
  typeof text === 'string'
    ? printable((text.split('\n', 1)[0] ?? '').trim().replaceAll(LONG, '…'), MAX_SAID)
    : '';

/** Codes of Node's network errors, and what SDKs made of them. */
const NETWORK =
  /\b(?:ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EPIPE|ETIMEDOUT|ECONNABORTED|EPROTO|socket hang up|fetch failed)\b/;

/** Codes of OpenSSL's verification errors, and texts of those that SDKs hide the code of. */
const TLS =
  /\b(?:CERT_[A-Z_]+|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_[A-Z_]+|ERR_TLS_[A-Z_]+|self-signed certificate|unable to (?:get|verify)[a-z ]+certificate|certificate has expired|does not match certificate's)\b/;

const matches = (pattern: RegExp, error: unknown): boolean => {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return pattern.test(code) || pattern.test(error.message) || matches(pattern, error.cause);
};

/** What an error below a service's protocol means: of TLS or of the network; undefined for others. */
export function networkProblem(error: unknown): Problem | undefined {
  if (matches(TLS, error)) return 'untrusted';
  return matches(NETWORK, error) ? 'unavailable' : undefined;
}
