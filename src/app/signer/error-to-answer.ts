import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { systemCode } from '../../lib/system-error.ts';

/** The builder learns that it was not the request's fault; paths and stack stay in this machine's log. */
function ownFault(error: unknown): SignpipeError {
  const hint = "the signer's log has the details; make the request again when its operator has mended it";
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
 * What a request is answered with when carrying it out threw this: faults of the request and of the
 * world around it, and our own bugs, lest a request that meets one be tried for ever. Null when the
 * configuration or the key is wrong, and for alarms: those are nobody's answer, and the request waits.
 */
export function errorToAnswer(error: unknown): SignpipeError | null {
  if (!(error instanceof SignpipeError)) return ownFault(error);
  return ['usage', 'alarm', 'timeout'].includes(error.kind) ? null : error;
}

/** The text of a fault of ours for this machine's log; undefined for errors that speak for themselves. */
export function faultBelow(error: SignpipeError): Error | undefined {
  if (error.kind !== 'local' || error.cause === undefined) return undefined;
  return error.cause instanceof Error ? error.cause : new Error(messageOf(error.cause));
}

/** The same error without the signer's own folders: receipts are read by everyone who can read the repository. */
export function withoutFolders(error: SignpipeError, folders: readonly string[]): SignpipeError {
  return error.reworded((text) => folders.reduce((left, folder) => left.replaceAll(`${folder}/`, ''), text));
}
