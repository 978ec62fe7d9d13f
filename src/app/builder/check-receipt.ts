import type { ReceiptFile } from '../../protocol/control/receipt-schema.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import {
  verifyCommitSignature,
  type CommitSignature,
  type CommitVerifyOptions,
} from '../../lib/git/commit-signature.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';

const otherBytes = (message: string): SignpipeError =>
  invalid('receipt-other-bytes', message, { hint: 'do not use the signed file; ask the signer operator' });

function requireWholePin({ input }: ReceiptFile, wanted: RequestedFile): void {
  if (wanted.sha256 === undefined || wanted.sha256 === input.sha256) return;
  throw otherBytes(
    `${input.name}: the receipt is about ${input.sha256 ?? 'unknown bytes'}, the request pinned ${wanted.sha256}`,
  );
}

/** The SHA-256 that a signed program must have had: its own pin; for a single program, that of its file. */
function pinOf(path: string, { input }: ReceiptFile, wanted: RequestedFile): string | undefined {
  if (path === '') return wanted.sha256 ?? input.sha256;
  return wanted.entries?.find((entry) => entry.path === path)?.sha256;
}

/** Whether a program is in a container that the receipt's file holds, or is. */
const isInside = (
  { signed }: ReceiptFile,
  { path, inside }: { readonly path: string; readonly inside: readonly string[] },
): boolean => inside.length > 0 || (path !== '' && signed.some((each) => each.path === ''));

const isPinned = (path: string, { entries }: RequestedFile): boolean =>
  entries?.some((entry) => entry.path === path) === true;

function requireEntryPins(file: ReceiptFile, wanted: RequestedFile): void {
  for (const { path, inside = [], before } of file.signed) {
    // The pin of what lies inside of a container is that of the outermost container.
    const [outermost = path] = inside;
    if (isInside(file, { path, inside }) && (!wanted.entries || isPinned(outermost, wanted))) continue;
    const pin = pinOf(path, file, wanted);
    if (pin === before.sha256 || (pin === undefined && wanted.entries === undefined)) continue;
    const what = path === '' ? file.input.name : `${file.input.name}!/${path}`;
    throw otherBytes(
      `${what}: the receipt is about a program with SHA-256 ${before.sha256}, the request pinned ${pin ?? 'no such program'}`,
    );
  }
}

function requireOnce(name: string, files: readonly ReceiptFile[]): void {
  const times = files.filter(({ input }) => input.name === name).length;
  if (times === 1) return;
  throw invalid(
    'receipt-other-file',
    `the receipt ${times === 0 ? `does not name ${name}` : `names ${name} more than once`}, which the request names`,
    { hint: 'do not use the signed files; ask the signer operator' },
  );
}

/**
 * Checks that a receipt is about the files that the request names, each once, and about the bytes that it pins, of
 * whole files and of single programs. Throws `receipt-other-file` and `receipt-other-bytes`.
 */
export function requireAnswersRequest(
  files: readonly ReceiptFile[],
  requested: readonly RequestedFile[],
): void {
  for (const file of files) {
    const wanted = requested.find(({ name }) => name === file.input.name);
    if (!wanted)
      throw invalid('receipt-other-file', `the receipt names ${file.input.name}, which the request does not`);
    requireWholePin(file, wanted);
    requireEntryPins(file, wanted);
  }
  for (const { name } of requested) requireOnce(name, files);
}

/** What a reader of receipts can do, by error code: the hints of `verifyCommitSignature` are for readers of requests. */
const HINTS: ReadonlyMap<string, string> = new Map([
  [
    'commit-signer-unknown',
    "do not use what it delivered. If the signer's operator confirms a new receipt key by another channel, add its line to that list",
  ],
  [
    'commit-signer-expired',
    "do not use what it delivered; ask the signer's operator for the line of the present receipt key",
  ],
  [
    'commit-signer-revoked',
    "do not use what it delivered; ask the signer's operator for the line of the present receipt key",
  ],
]);

/** Who signed a receipt, according to the builder's own list. Throws as `verifyCommitSignature` does, with hints for builders. */
export function verifyReceiptSignature(
  raw: Buffer,
  allowed: AllowedSigners,
  options: CommitVerifyOptions = {},
): CommitSignature {
  try {
    return verifyCommitSignature(raw, allowed, options);
  } catch (error) {
    const hint = error instanceof SignpipeError ? HINTS.get(error.code) : undefined;
    if (!(error instanceof SignpipeError) || hint === undefined) throw error;
    throw error.saying(`the receipt: ${error.message}`, hint);
  }
}
