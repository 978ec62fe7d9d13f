import { dirname, resolve } from 'node:path';
import { messageOf, SignpipeError } from '../../../lib/errors.ts';
import { systemCode } from '../../../lib/system-error.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** Reports to the builder that it was not the request's fault; paths and stack stay in this machine's log. */
function ownFault(error: unknown): SignpipeError {
  const hint = "the signer's log has the details; submit a new request when its operator has fixed it";
  const code = systemCode(error);
  if (code !== undefined)
    return new SignpipeError('local', 'signer-machine', `the signer's machine could not go on: ${code}`, {
      hint,
      cause: error,
    });
  const name = error instanceof Error ? error.name : typeof error;
  return new SignpipeError('local', 'internal-error', `the signer met an unexpected ${name}`, {
    hint: `this is a bug: ${hint}`,
    cause: error,
  });
}

/**
 * Maps an error thrown while handling a request to the one reported in its receipt: faults of the request and of the
 * machines around it, and bugs of ours, so that a request that meets one is not tried for ever. Returns null for
 * configuration errors, time-outs and alarms: then the request waits.
 */
export function errorToAnswer(error: unknown): SignpipeError | null {
  if (!(error instanceof SignpipeError)) return ownFault(error);
  return ['usage', 'alarm', 'timeout'].includes(error.kind) ? null : error;
}

/**
 * Logs an error that a receipt is to report, with its cause if the fault is ours, and returns it without the signer's
 * own folders: everyone who can read the repository can read the receipt.
 */
export function logAnswer(
  { log, config: { state, file } }: Pick<SignerContext, 'log' | 'config'>,
  what: string,
  request: string,
  error: SignpipeError,
): SignpipeError {
  const { kind, code, hint, message, cause } = error;
  const local = kind === 'local';
  const err = cause instanceof Error ? cause : new Error(messageOf(cause));
  const fields = { request, code, hint, ...(local && cause !== undefined ? { err } : {}) };
  log[local ? 'error' : 'warn'](fields, `${what}: ${message}`);
  return error.reworded((text) =>
    [state, dirname(resolve(file))].reduce((left, folder) => left.replaceAll(`${folder}/`, ''), text),
  );
}
