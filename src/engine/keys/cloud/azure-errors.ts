import { readRetryAfter } from '../../../lib/http/exchange.ts';
import { TOO_LONG } from './azure-responses.ts';
import {
  networkProblem,
  quoted,
  withHint,
  type Problem,
  type ServiceHints,
  type ServiceProblem,
} from './service-errors.ts';

/** By HTTP status; from the REST references of Key Vault and Artifact Signing. */
export const AZURE_PROBLEMS: ReadonlyMap<number, Problem> = new Map<number, Problem>([
  [401, 'credentials'],
  [403, 'denied'],
  [404, 'missing'],
  [408, 'timeout'],
  [429, 'throttled'],
]);

const HINTS: ServiceHints = {
  credentials:
    'set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_CLIENT_CERTIFICATE_PATH), or give the machine a managed identity; renew a secret that has expired',
  denied:
    'give the account the role Key Vault Crypto User, or get and sign in the access policy, and check the firewall of the vault',
};

/** What the SDK adds to errors; read without trust in its types, since any version of the SDK may be installed. */
interface SdkError extends Error {
  readonly code?: unknown;
  readonly statusCode?: unknown;
  readonly details?: {
    readonly error?: { readonly message?: unknown; readonly innererror?: { readonly code?: unknown } };
  };
  readonly response?: { readonly headers?: { get?(name: string): string | undefined } };
  /** The errors of each kind of credentials that was tried. */
  readonly errors?: unknown;
}

/** The inner codes of 403 that say that the key cannot be used, rather than that the account may not. */
const DISABLED = /^(?:KeyDisabled|KeyExpired|KeyNotYetValid|ObjectIsDisabled)$/;
const DISABLED_TEXT = /\b(?:disabled|expired) (?:key|object)\b|\bkey is not yet valid\b/i;

const isIdentityError = ({ name }: Error): boolean =>
  /^(?:CredentialUnavailableError|AuthenticationError|AuthenticationRequiredError|AggregateAuthenticationError|ClientAuthError|ClientConfigurationError)$/.test(
    name,
  );

/** The errors of the credentials that were tried, or the error alone. */
const tried = (error: SdkError): readonly SdkError[] =>
  Array.isArray(error.errors) && error.errors.length > 0
    ? error.errors.filter((each): each is SdkError => each instanceof Error)
    : [error];

/** The last kind of credentials that was there at all; else all were unavailable. */
const decisive = (error: SdkError): SdkError =>
  tried(error).findLast(({ name }) => name !== 'CredentialUnavailableError') ?? error;

/** The HTTP status of an answer; 0 if there was none. */
const statusOf = ({ statusCode }: SdkError): number => (typeof statusCode === 'number' ? statusCode : 0);

function identityProblem(error: SdkError): Problem {
  const status = statusOf(error);
  if (status === 429) return 'throttled';
  if (status >= 500) return 'unavailable';
  const isNetwork = /network_error|endpoints_resolution_error/.test(error.message);
  return networkProblem(error) ?? (isNetwork ? 'unavailable' : 'credentials');
}

function problemOf(error: SdkError): Problem {
  if (isIdentityError(error)) return identityProblem(decisive(error));
  const status = statusOf(error);
  const inner = error.details?.error?.innererror?.code;
  if (status === 403 && (DISABLED.test(String(inner)) || DISABLED_TEXT.test(error.message)))
    return 'disabled';
  const known = AZURE_PROBLEMS.get(status);
  if (known !== undefined) return known;
  // Key Vault answers a disabled key or an operation that it does not permit also by 400.
  if (status === 400 && DISABLED_TEXT.test(error.message)) return 'disabled';
  const network = networkProblem(error);
  if (network !== undefined) return network;
  if (status >= 500 || error.code === 'REQUEST_SEND_ERROR') return 'unavailable';
  if (error.code === 'PARSE_ERROR' || error.message.includes(TOO_LONG)) return 'answer';
  if (/challenge resource/.test(error.message)) return 'credentials';
  return 'refused';
}

/** Microsoft's identity platform explains an error after its number, somewhere in the texts of the SDK around it. */
const AADSTS = /AADSTS\d+: [^\r\n]+/;

function saidBy(error: SdkError): string {
  const { message } = isIdentityError(error) ? decisive(error) : error;
  return AADSTS.exec(message)?.[0] ?? message;
}

/** What an error of the SDK means. */
export function explainAzureError(error: unknown): ServiceProblem {
  if (!(error instanceof Error)) return { problem: 'refused' };
  const sdkError: SdkError = error;
  const said = quoted(saidBy(sdkError));
  const retryAfterMs = readRetryAfter(sdkError.response?.headers?.get?.('retry-after'), Date.now());
  return withHint({ problem: problemOf(sdkError), said, retryAfterMs }, HINTS);
}
