import { normalPath } from '../../lib/zip/entry-paths.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import type { PartialArchive } from '../../lib/zip/read-zip.ts';
import { planRewrite, rewriteZip, type NewContent, type RewritePlan } from '../../lib/zip/rewrite-zip.ts';
import type { CheckName } from '../authenticode/report.ts';
import { invalid } from '../../lib/errors.ts';
import { writeStreamAtomically } from '../../lib/bytes/atomic-file.ts';
import { sha256OfFile, sha256OfSource } from '../../lib/bytes/hash.ts';
import { unchangedRange } from '../../lib/bytes/delta.ts';
import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { readChunks } from '../../lib/bytes/read-chunks.ts';
import { fileKindOf, openSignableFile } from '../formats/recognize.ts';
import { readZip, readZipPartially } from '../formats/packages.ts';
import { NEW_BYTES_IN_MEMORY, type RemoteSource } from './sign-zip.ts';
import type { SignArtifactOptions } from './signed-artifact.ts';
import { newContent, Spool, type UnpackedProgram } from './unpacked-programs.ts';
import { verifyProgram } from './verify-program.ts';

/** A detached signature, and the program that it belongs to. */
export interface DetachedSignature {
  /** Path inside the zip; empty for a program that is not in a zip. */
  readonly path: string;
  /** SHA-256 of the unsigned program, hex; undefined if it is not known. */
  readonly before?: string | undefined;
  /** SHA-256 of the signed program, hex; undefined if it is not known. */
  readonly after?: string | undefined;
  /** PKCS #7 in DER, unless the format needs more. */
  readonly signature: Buffer;
}

type AttachOptions = Pick<SignArtifactOptions, 'limits' | 'scratch'>;

function requireDigest(
  what: string,
  actual: string,
  wanted: string | undefined,
  code: string,
  hint: string,
): void {
  if (wanted !== undefined && actual !== wanted)
    throw invalid(code, `${what}: SHA-256 is ${actual}, the receipt says ${wanted}`, { hint });
}

/** The checks that prove a signature to be one of this program, by any signer, whatever else a verifier finds. */
const PROVING_CHECKS: ReadonlySet<CheckName> = new Set([
  'structure',
  'file-digest',
  'signed-attributes',
  'signature',
]);

/** Throws `not-its-signature` unless every signature that was attached is one of this program. */
async function requireItsSignature(signed: ByteSource): Promise<void> {
  const { signatures, problems } = await verifyProgram(signed);
  const wrong = signatures
    .flatMap(({ checks }) => checks)
    .find(({ name, ok }) => ok === false && PROVING_CHECKS.has(name));
  const extra = problems.find(({ signature, code }) => signature === undefined && code !== 'digest-weak');
  const why = wrong?.detail ?? extra?.message;
  if (why === undefined) return;
  throw invalid('not-its-signature', `the signature to attach is not one of this program: ${why}`, {
    hint: 'give the file that `signpipe signature extract` wrote from the signed file',
  });
}

/** The program with its signature; checks its SHA-256 before and after against the receipt. */
async function attachTo(program: UnpackedProgram, wanted: DetachedSignature): Promise<NewContent> {
  const hint = 'the rebuild is not the program that was signed: compare the two builds';
  requireDigest(program.source.name, program.sha256, wanted.before, 'rebuild-differs', hint);
  const file = await openSignableFile(program.source);
  const signed = await (file.attach?.(wanted.signature) ?? file.embed(wanted.signature));
  requireDigest(
    program.source.name,
    await sha256OfSource(signed),
    wanted.after,
    'attached-differs',
    'the signature is not the one that the receipt speaks of',
  );
  if (wanted.after === undefined) await requireItsSignature(signed);
  return newContent(signed, unchangedRange(signed.delta), program.blocks);
}

/** Attaches signatures to programs in a zip. `use` is given the new content by path, which is gone when this returns. */
async function attachToEntries<T>(
  archive: PartialArchive,
  signatures: readonly DetachedSignature[],
  scratch: string,
  use: (contents: ReadonlyMap<string, NewContent>) => Promise<T>,
): Promise<T> {
  const spool = new Spool(scratch);
  try {
    const contents = new Map<string, NewContent>();
    for (const each of signatures) {
      const entry = entryOf(archive, each.path);
      contents.set(entry.path, await attachTo(await spool.unpack(archive, entry), each));
    }
    return await use(contents);
  } finally {
    await spool.close();
  }
}

function entryOf({ located, source }: PartialArchive, path: string): ArchiveEntry {
  const entry = located.find((each) => each.path === normalPath(path));
  if (entry) return entry;
  throw invalid('rebuild-differs', `${source.name}: "${path}", which was signed, is not in it`);
}

async function attachToProgram(
  source: ByteSource,
  wanted: readonly DetachedSignature[],
  output: string,
): Promise<void> {
  const [only, ...others] = wanted;
  if (!only || others.length > 0 || only.path !== '')
    throw invalid(
      'rebuild-differs',
      `${source.name}: it is a program, but the receipt speaks of a zip with ${wanted.length} signed in it`,
    );
  const content = await attachTo({ source, sha256: await sha256OfSource(source) }, only);
  await writeStreamAtomically(output, readChunks(content.source));
}

/**
 * Attaches detached signatures to the rebuilt unsigned program or zip: the result is the signed one, bit for bit,
 * without the key. Without signatures the file is copied: it was delivered as it came. Returns the output's SHA-256 in
 * hex.
 */
export function attachToFile(
  input: string,
  wanted: readonly DetachedSignature[],
  output: string,
  { limits, scratch }: AttachOptions,
): Promise<string> {
  return withFile(input, async (source) => {
    if (wanted.length === 0) {
      await writeStreamAtomically(output, readChunks(source));
      return sha256OfFile(output);
    }
    if ((await fileKindOf(source)) !== 'zip') {
      await attachToProgram(source, wanted, output);
      return sha256OfFile(output);
    }
    const archive = await readZip(source, limits);
    const { sha256 } = await attachToEntries(archive, wanted, scratch, (contents) =>
      rewriteZip(archive, contents, output),
    );
    return sha256;
  });
}

/**
 * Attaches detached signatures to the programs in a zip that is not on this machine. Returns a delta, and the new
 * bytes with their SHA-256: those of the time when the signatures were made, provided that the same zlib compresses
 * them. If they are many, they are in the file `path`. Throws as `attachToFile` does.
 */
export async function attachToRemoteZip(
  source: RemoteSource,
  wanted: readonly DetachedSignature[],
  path: string,
  { limits, scratch }: AttachOptions,
): Promise<RewritePlan<string>> {
  const paths = new Set(wanted.map((each) => normalPath(each.path)));
  const archive = await readZipPartially(source, limits, {
    wanted: (entry) => paths.has(entry.path),
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    prepare: async (_entries, ranges) => {
      for (const each of ranges) source.prefetch(each);
    },
  });
  const target = { path, inMemory: NEW_BYTES_IN_MEMORY };
  return attachToEntries(archive, wanted, scratch, (contents) =>
    planRewrite(archive, contents, target, (_delta, newBytes) => sha256OfSource(newBytes)),
  );
}
