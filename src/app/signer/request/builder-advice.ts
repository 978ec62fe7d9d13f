import type { ErrorKind, SignpipeError } from '../../../lib/errors.ts';

/** What to do about an error that has no hint of its own. */
const USUALLY: Record<ErrorKind, string> = {
  invalid: 'build the file again, with other tools if necessary, and submit it again',
  'not-allowed': "ask the signer's operator what is allowed here",
  unavailable: 'submit it again once that works',
  local: "tell the signer's operator: the signer's log has more",
  usage: "tell the signer's operator: the signer's configuration is at fault",
  alarm: "tell the signer's operator at once",
  timeout: 'submit it again',
};

/** What a builder can do about errors whose own hints are only for the operator, by code. */
const BY_CODE: ReadonlyMap<string, string> = new Map([
  [
    'timestamp-unavailable',
    "ask the signer's operator to check its timestamp authorities; then submit it again",
  ],
  [
    'commit-signer-unknown',
    "ask the signer's operator to add this key to the allowed signers, or sign with a key that is listed there",
  ],
  [
    'commit-signer-expired',
    "sign with a current key, or ask the signer's operator to extend this one (valid-before)",
  ],
  [
    'commit-signer-not-yet-valid',
    "check the clock of the machine that committed; the signer's operator knows from when on the key is valid",
  ],
  [
    'commit-signer-absent',
    "touch the security key when it blinks, or ask the signer's operator to allow no-touch-required",
  ],
  [
    'not-a-program',
    "build it again if it should be a program; if not, ask the signer's operator to exclude it from signing.files",
  ],
]);

/** For refusals whose cause the operator may remove: that alone does not bring the request back. */
const HOW_TO_ASK_AGAIN = 'this answer is final: once that is settled, submit a new request';

/** A key of signer.yaml or one of its lists, which the reader of a receipt cannot change. */
const SIGNER_KEY =
  /\b(?:signing|trust|limits|exchange|control|retry|receipts)\.[a-z][A-Za-z]+|\ballowed signers\b/;

/** Longer advice would not fit into a receipt together with that sentence. */
const MOST_TEXT = 3800;

function advised(error: SignpipeError): string {
  const hint = BY_CODE.get(error.code) ?? error.hint ?? USUALLY[error.kind];
  const namesReader = /\b(?:signer|operator)\b/.test(hint);
  return SIGNER_KEY.test(hint) && !namesReader ? `for the signer's operator: ${hint}` : hint;
}

/** What the builder who reads a receipt can do about an error. Advice for the operator says so. */
export function adviceFor(error: SignpipeError): string {
  const advice = advised(error).slice(0, MOST_TEXT);
  return error.kind === 'not-allowed' ? `${advice}; ${HOW_TO_ASK_AGAIN}` : advice;
}
