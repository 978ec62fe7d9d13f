import { DerReader, TAG } from '../../../lib/asn1/der.ts';
import { decodeBase64 } from '../../../lib/bytes/base64.ts';
import { hasCode, isInvalid, SignpipeError, unavailable, usage } from '../../../lib/errors.ts';
import { printableLines } from '../../../lib/printable.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { keyClosed, KeyUnavailable } from '../signing-key.ts';
import type { CommandOutcome } from '../../../lib/command/run-command.ts';

/** EX_TEMPFAIL of sysexits.h: the program could not sign now, and asks to be run again. */
const TRY_AGAIN = 75;
/** EX_NOPERM of sysexits.h: running it again would do harm, as after a wrong PIN. */
const NEVER_AGAIN = 77;

/** The error for a program that must not run again before a person has looked after it. */
export class CommandRefused extends SignpipeError {
  constructor(what: string, cause: Error) {
    super('usage', 'key-command-refused', `${what}: exited with status ${NEVER_AGAIN}: it is not run again`, {
      hint: 'see what it wrote to standard error (in the log, or with -v), mend that, and restart or reload the signer',
      cause,
    });
  }
}

/** What a program wrote to standard error. It goes into the log and not into a message: everyone may read receipts. */
const diagnosticsOf = ({ diagnostics }: CommandOutcome): Error =>
  new Error(
    diagnostics.length === 0
      ? 'it wrote nothing to standard error'
      : `it wrote to standard error: ${printableLines(diagnostics.toString('utf8').trim(), 2000)}`,
  );

const answerBad = (what: string, why: string, cause?: unknown): SignpipeError =>
  new SignpipeError('local', 'key-command-answer', `${what}: ${why}`, {
    hint: 'the program has to write the signature in base64, and nothing else: docs/keys.md says of which form',
    cause,
  });

/**
 * Throws unless a program exited with status 0. Only status 75 is worth another attempt (`key-command-busy`,
 * KeyUnavailable); after 77 it is never run again (`CommandRefused`); all else is `key-command-failed`, and
 * `key-command-timeout`, which is `unavailable` but not tried again: it took long enough already.
 */
export function requireSuccess(outcome: CommandOutcome, what: string, timeoutMs: number): void {
  const { status, endedBy, stopped } = outcome;
  const cause = diagnosticsOf(outcome);
  if (stopped === 'aborted') throw keyClosed();
  if (stopped === 'flood') throw answerBad(what, 'wrote more than any signature has, and was ended', cause);
  if (stopped === 'late')
    throw unavailable(
      'key-command-timeout',
      `${what}: did not sign within ${timeoutMs / 1000} s, and was ended`,
      {
        hint: 'find out what it waits for; signing.keyTimeout is how long it may take',
        cause,
      },
    );
  if (status === 0) return;
  if (status === TRY_AGAIN)
    throw new KeyUnavailable('key-command-busy', `${what}: cannot sign now (exit status ${TRY_AGAIN})`, {
      cause,
    });
  if (status === NEVER_AGAIN) throw new CommandRefused(what, cause);
  const how = status === null ? `was ended by ${endedBy ?? 'a signal'}` : `exited with status ${status}`;
  throw new SignpipeError('local', 'key-command-failed', `${what}: ${how}`, {
    hint: 'see what it wrote to standard error (in the log, or with -v)',
    cause,
  });
}

/** Throws unless the bytes are an ECDSA-Sig-Value (RFC 3279, 2.2.3), to its last byte. */
function requireEcdsaValue(value: Buffer, what: string): void {
  try {
    const reader = DerReader.of(value, what);
    reader.next(TAG.integer);
    reader.next(TAG.integer);
    reader.end();
  } catch (error) {
    if (!isInvalid(error)) throw error;
    throw answerBad(
      what,
      'its answer is not an ECDSA signature in DER (two numbers side by side are another form)',
      error,
    );
  }
}

/** Throws `key-command-answer` unless the answer is a signature of the form that fits the key. */
export function parseAnswer(answer: Buffer, { publicKey }: Certificate, what: string): Buffer {
  const text = answer.toString('latin1');
  if (/^[\r\n]*$/.test(text)) throw answerBad(what, 'wrote no signature');
  const value = decodeBase64(text);
  if (!value) throw answerBad(what, 'its answer is not base64');
  if (publicKey.asymmetricKeyType === 'ec') requireEcdsaValue(value, what);
  const size = Math.ceil((publicKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  if (size > 0 && value.length !== size)
    throw answerBad(what, `its answer has ${value.length} bytes; an RSA signature of this key has ${size}`);
  return value;
}

/** Codes of errors at a start that pass: descriptors, processes or memory are used up, or the file is being written. */
const PASSING = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ETXTBSY'];

/**
 * The error for a program that could not be started: `key-command-busy` (KeyUnavailable) if this machine has no room for it
 * now, else `key-command-missing` (usage).
 */
export function cannotStart(what: string, error: unknown): SignpipeError {
  const code = PASSING.find((each) => hasCode(error, each));
  if (code !== undefined)
    return new KeyUnavailable('key-command-busy', `${what}: cannot be started now (${code})`, {
      hint: 'raise the limits of this user for open files and processes (ulimit -n, ulimit -u), or free memory',
      cause: error,
    });
  return usage('key-command-missing', `${what}: cannot be started`, {
    hint: 'check that the file is there, and a program of this machine',
    cause: error,
  });
}
