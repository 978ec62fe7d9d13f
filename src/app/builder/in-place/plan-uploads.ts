import { randomBytes } from 'node:crypto';
import { constants, copyFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { compilePatterns } from '../../../engine/artifact/globs.ts';
import { usage } from '../../../lib/errors.ts';
import { createZip } from '../../../lib/zip/create-zip.ts';
import type { Target } from './targets.ts';

/** A target and its name in the zip; without one, it is uploaded by itself. */
interface PlannedTarget {
  readonly target: Target;
  readonly entry?: string;
}

/** A file of the request, and the targets that it brings to the signer. */
export interface PlannedUpload {
  /** Its name on the exchange, which no other run uses. */
  readonly name: string;
  /** A copy, which does not change while the build continues. */
  readonly path: string;
  readonly targets: readonly PlannedTarget[];
}

/** Names that may differ only in what some file system ignores are one. */
const placeOf = (name: string): string => name.normalize('NFC').toLowerCase();

/** Names in the zip: those of the files, or if two are alike, each in a folder of its own. */
function entriesFor(targets: readonly Target[]): PlannedTarget[] {
  const places = new Set(targets.map(({ name }) => placeOf(name)));
  const isUnique = places.size === targets.length;
  return targets.map((target, i) => ({ target, entry: isUnique ? target.name : `${i + 1}/${target.name}` }));
}

/** Characters of a name on the exchange. */
const OTHER_CHARACTERS = /[^A-Za-z0-9._+@=-]/g;

/**
 * A name that no other run uses, also on another machine: `app.exe` becomes `app-1f6b4e0c9a52.exe`. The extension stays,
 * since it decides how some files are signed.
 */
function uniqueName(name: string, as: string | undefined): string {
  const extension = extname(name);
  const stem = as === undefined ? basename(name, extension) : as.slice(0, as.length - extname(as).length);
  const plain = stem.replaceAll(OTHER_CHARACTERS, '_').replace(/^-+/, '').slice(0, 100);
  return `${plain}-${randomBytes(6).toString('hex')}${extension.replaceAll(OTHER_CHARACTERS, '_')}`;
}

/** Throws `in-place-not-signed` if the channel's policy would leave a program alone. */
function requireSignedNames(planned: readonly PlannedTarget[], patterns: readonly string[]): void {
  const isOurs = compilePatterns(patterns);
  const other = planned.find(
    ({ target, entry = target.name }) => target.kind === 'program' && !isOurs(entry),
  );
  if (!other) return;
  throw usage('in-place-not-signed', `${other.target.given}: the signer does not sign files of this name`, {
    hint: `it signs: ${patterns.join(', ')}; ask its operator to add this one to signing.files`,
  });
}

interface UploadOptions {
  /** Replaces the names of the files in those on the exchange; its extension is ignored. */
  readonly as?: string | undefined;
  /** The patterns of entries that the channel signs, if they are known. */
  readonly patterns?: readonly string[] | undefined;
}

async function copyOf(target: Target, scratch: string, as: string | undefined): Promise<PlannedUpload> {
  const name = uniqueName(target.name, as);
  const path = join(scratch, name);
  await copyFile(target.path, path, constants.COPYFILE_FICLONE);
  return { name, path, targets: [{ target }] };
}

/**
 * Prepares the files of one request in the folder `scratch`: several programs in one zip, a single one and each zip by
 * itself.
 */
export async function planUploads(
  targets: readonly Target[],
  scratch: string,
  { as, patterns }: UploadOptions,
): Promise<PlannedUpload[]> {
  const programs = targets.filter(({ kind }) => kind === 'program');
  const isPacked = programs.length > 1;
  const planned: PlannedTarget[] = isPacked ? entriesFor(programs) : programs.map((target) => ({ target }));
  if (patterns) requireSignedNames(planned, patterns);
  const alone = isPacked ? targets.filter(({ kind }) => kind === 'zip') : targets;
  const uploads: PlannedUpload[] = [];
  if (isPacked) {
    const name = uniqueName('in-place.zip', as);
    const path = join(scratch, name);
    await createZip(
      planned.map(({ target, entry = target.name }) => ({ path: target.path, name: entry })),
      path,
    );
    uploads.push({ name, path, targets: planned });
  }
  for (const target of alone) uploads.push(await copyOf(target, scratch, as));
  return uploads;
}
