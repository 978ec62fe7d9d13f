import { normalPath, shown } from '../../lib/zip/entry-paths.ts';
import type { PartialArchive } from '../../lib/zip/read-zip.ts';
import { planRewrite, rewriteZip, type NewContent, type RewritePlan } from '../../lib/zip/rewrite-zip.ts';
import type { CheckName } from '../authenticode/report.ts';
import { invalid, type SignpipeError } from '../../lib/errors.ts';
import { writeStreamAtomically } from '../../lib/bytes/atomic-file.ts';
import { sha256OfFile, sha256OfSource } from '../../lib/bytes/hash.ts';
import { unchangedRange } from '../../lib/bytes/delta.ts';
import type { PatchedSource } from '../../lib/bytes/patched-source.ts';
import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { readChunks } from '../../lib/bytes/read-chunks.ts';
import { fileKindOf, openSignableFile } from '../formats/recognize.ts';
import { readZip, readZipPartially } from '../formats/packages.ts';
import { Budget, Descent } from './inside/descent.ts';
import { placeTree, type Place, type PlaceTree } from './inside/place.ts';
import { NEW_BYTES_IN_MEMORY, type RemoteSource } from './sign-zip.ts';
import type { SignArtifactOptions } from './signed-artifact.ts';
import { newContent, Spool, type UnpackedProgram } from './unpacked-programs.ts';
import { verifyProgram } from './verify-program.ts';

/** A detached signature, and the place of the program that it belongs to. */
export interface DetachedSignature extends Place {
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

/** A file that gets a signature, or in which files get one, or both. */
type ToAttach = PlaceTree<DetachedSignature>;

const REBUILD_HINT = 'the rebuild is not the program that was signed: compare the two builds';

/**
 * The file with its signature, after what is inside of it got its own; checks its SHA-256 before and after against the
 * receipt. `inside`: the path from the artifact to its members.
 */
async function attachTo(
  program: UnpackedProgram,
  { value: wanted, members }: ToAttach,
  inside: readonly string[],
  descent: Descent,
): Promise<NewContent> {
  const { name } = program.source;
  requireDigest(name, program.sha256, wanted?.before, 'rebuild-differs', REBUILD_HINT);
  const repacked = members.size > 0 ? await attachInside(program.source, members, inside, descent) : null;
  if (!wanted) {
    if (!repacked) throw invalid('rebuild-differs', `${name}: it has no signature to attach`);
    return newContent(repacked, unchangedRange(repacked.delta), program.blocks);
  }
  const file = await openSignableFile(repacked ?? program.source);
  const signed = await (file.attach?.(wanted.signature) ?? file.embed(wanted.signature));
  requireDigest(
    name,
    await sha256OfSource(signed),
    wanted.after,
    'attached-differs',
    'the signature is not the one that the receipt speaks of',
  );
  if (wanted.after === undefined) await requireItsSignature(signed);
  return repacked ? { source: signed } : newContent(signed, unchangedRange(signed.delta), program.blocks);
}

/** The container with signatures attached to its members. */
async function attachInside(
  source: ByteSource,
  members: ToAttach['members'],
  inside: readonly string[],
  descent: Descent,
): Promise<PatchedSource> {
  const container = await descent.openSource(source, inside);
  if (!container)
    throw invalid(
      'rebuild-differs',
      `${source.name}: nothing is inside of it, but the receipt names signed files`,
    );
  const contents = new Map<string, ByteSource>();
  for await (const { member, content } of container.read(({ path }) => members.has(normalPath(path)))) {
    const { path, size } = member;
    const unpacked = await descent.unpack(content, size, `${source.name}!/${path}`);
    const each = members.get(normalPath(path));
    if (each) contents.set(path, (await attachTo(unpacked, each, [...inside, path], descent)).source);
  }
  const attached = new Set([...contents.keys()].map(normalPath));
  const missing = [...members.keys()].find((path) => !attached.has(path));
  if (missing !== undefined) throw notInIt(source.name, missing);
  return container.replace(contents);
}

const notInIt = (name: string, path: string): SignpipeError =>
  invalid('rebuild-differs', `${name}: ${shown(path)}, which was signed, is not in it`);

/** Attaches signatures to programs in a zip. `use` is given the new content by path, which is gone when this returns. */
async function attachToEntries<T>(
  archive: PartialArchive,
  { value: unplaced, members }: ToAttach,
  scratch: string,
  use: (contents: ReadonlyMap<string, NewContent>) => Promise<T>,
): Promise<T> {
  const spool = new Spool(scratch);
  const descent = new Descent(new Budget(archive.limits, archive.source.size), spool);
  try {
    if (unplaced) throw notInIt(archive.source.name, unplaced.path);
    const located = new Map(archive.located.map((entry) => [entry.path, entry]));
    const contents = new Map<string, NewContent>();
    for (const [path, each] of members) {
      const entry = located.get(path);
      if (!entry) throw notInIt(archive.source.name, path);
      contents.set(path, await attachTo(await spool.unpack(archive, entry), each, [path], descent));
    }
    return await use(contents);
  } finally {
    await spool.close();
  }
}

async function attachToProgram(
  source: ByteSource,
  wanted: ToAttach,
  output: string,
  { limits, scratch }: AttachOptions,
): Promise<void> {
  if (!wanted.value)
    throw invalid(
      'rebuild-differs',
      `${source.name}: it is not a zip, but the receipt speaks of a zip with files signed in it`,
    );
  const spool = new Spool(scratch);
  const descent = new Descent(new Budget(limits, source.size), spool);
  try {
    const content = await attachTo({ source, sha256: await sha256OfSource(source) }, wanted, [], descent);
    await writeStreamAtomically(output, readChunks(content.source));
  } finally {
    await spool.close();
  }
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
    const tree = placeTree(wanted, normalPath);
    if ((await fileKindOf(source)) !== 'zip') {
      await attachToProgram(source, tree, output, { limits, scratch });
      return sha256OfFile(output);
    }
    const archive = await readZip(source, limits);
    const { sha256 } = await attachToEntries(archive, tree, scratch, (contents) =>
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
  const tree = placeTree(wanted, normalPath);
  const archive = await readZipPartially(source, limits, {
    wanted: (entry) => tree.members.has(entry.path),
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    prepare: async (_entries, ranges) => {
      for (const each of ranges) source.prefetch(each);
    },
  });
  const target = { path, inMemory: NEW_BYTES_IN_MEMORY };
  return attachToEntries(archive, tree, scratch, (contents) =>
    planRewrite(archive, contents, target, (_delta, newBytes) => sha256OfSource(newBytes)),
  );
}
