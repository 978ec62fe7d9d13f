import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readZip } from '../../../engine/formats/packages.ts';
import { temporaryBeside, writeStreamAtomically } from '../../../lib/bytes/atomic-file.ts';
import { withFile } from '../../../lib/bytes/byte-source.ts';
import { sha256OfFile } from '../../../lib/bytes/hash.ts';
import { noteTemporary, removeTemporary } from '../../../lib/bytes/temp-files.ts';
import { notAllowed, SignpipeError } from '../../../lib/errors.ts';
import { isUnchanged, type Receipt, type ReceiptFile } from '../../../protocol/control/receipt-schema.ts';
import type { ArchiveLimits } from '../../../lib/zip/limits.ts';
import { digestDiffers } from '../download-file.ts';
import type { PlannedUpload } from './plan-uploads.ts';
import type { Target } from './targets.ts';

/** What the receipt says about one target. */
export interface SignedVersion {
  readonly target: Target;
  /** `kept`: it was signed already, and the signer left it as it was. */
  readonly status: 'signed' | 'kept';
  /** Its SHA-256 before and after; of a kept one, none. */
  readonly before?: string | undefined;
  readonly after?: string | undefined;
  /** The downloaded file that it is, or is in. */
  readonly from: string;
  /** Its name in the zip `from`. */
  readonly entry?: string | undefined;
}

const isAt =
  (path: string) =>
  (each: { readonly path: string; readonly inside?: readonly string[] | undefined }): boolean =>
    each.path === path && (each.inside ?? []).length === 0;

/** The digests of a target before and after, if it was signed. */
function digestsOf(
  file: ReceiptFile,
  target: Target,
  entry: string | undefined,
): { before: string | undefined; after: string | undefined } | null {
  if (entry === undefined && target.kind === 'zip')
    return isUnchanged(file) ? null : { before: file.input.sha256, after: file.output?.sha256 };
  const signed = file.signed.find(isAt(entry ?? ''));
  return signed ? { before: signed.before.sha256, after: signed.after.sha256 } : null;
}

function versionOf(
  file: ReceiptFile,
  { target, entry }: PlannedUpload['targets'][number],
  from: string,
): SignedVersion {
  const digests = digestsOf(file, target, entry);
  if (digests) return { target, status: 'signed', ...digests, from, entry };
  const isKept = target.kind === 'zip' ? file.kept.length > 0 : file.kept.some(isAt(entry ?? ''));
  if (isKept) return { target, status: 'kept', from, entry };
  throw notAllowed('in-place-unsigned', `${target.given}: the signer left it unsigned`, {
    hint: 'its channel does not sign such files: no file was replaced',
  });
}

/** What became of each target, by the receipt of its request. Throws `in-place-unsigned` unless each was signed, or kept. */
export function signedVersions(
  { files }: Pick<Receipt, 'files'>,
  uploads: readonly PlannedUpload[],
  folder: string,
): SignedVersion[] {
  return uploads.flatMap(({ name, targets }) => {
    const file = files.find(({ input }) => input.name === name);
    return file ? targets.map((each) => versionOf(file, each, join(folder, name))) : [];
  });
}

/** A signed version in the folder of the file that it will replace. */
export interface StagedVersion {
  readonly version: SignedVersion;
  readonly temporary: string;
}

/** Refuses a file that changed after it was uploaded: the signed version would undo that. */
async function requireUnchanged({ target, before }: SignedVersion): Promise<void> {
  if ((await sha256OfFile(target.path)) === before) return;
  throw new SignpipeError(
    'local',
    'in-place-changed',
    `${target.given}: changed while its signature was awaited; no file was replaced`,
    { hint: 'sign a file after the last step that changes it' },
  );
}

/** Writes the signed version of a target beside it, under a temporary name, and checks its digest. */
async function stage({ version, temporary }: StagedVersion, limits: ArchiveLimits): Promise<void> {
  const { target, from, entry, after = '' } = version;
  noteTemporary(temporary);
  if (entry === undefined) await copyFile(from, temporary);
  else
    await withFile(from, async (source) => {
      const archive = await readZip(source, limits);
      const found = archive.entries.find(({ path }) => path === entry);
      if (!found) throw digestDiffers(entry, 'none', after);
      await writeStreamAtomically(temporary, await archive.open(found));
    });
  const actual = await sha256OfFile(temporary);
  if (actual !== after) throw digestDiffers(target.given, actual, after);
}

/**
 * Calls `use` with the signed versions, each beside the file that it will replace. If anything is wrong with one of them,
 * or its file changed meanwhile, `use` is not called, and nothing has been replaced.
 */
export async function withStaged(
  versions: readonly SignedVersion[],
  limits: ArchiveLimits,
  use: (staged: readonly StagedVersion[]) => Promise<void>,
): Promise<void> {
  const staged = versions
    .filter(({ status }) => status === 'signed')
    .map((version) => ({ version, temporary: temporaryBeside(version.target.path) }));
  try {
    for (const each of staged) await stage(each, limits);
    for (const { version } of staged) await requireUnchanged(version);
    await use(staged);
  } finally {
    for (const { temporary } of staged) await removeTemporary(temporary);
  }
}
