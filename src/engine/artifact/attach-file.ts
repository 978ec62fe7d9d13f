import { normalPath } from '../../lib/zip/entry-paths.ts';
import type { ArchiveLimits } from '../../lib/zip/read-zip.ts';
import { rewriteArchive, type NewContent } from '../../lib/zip/rewrite-zip.ts';
import type { CheckName } from '../authenticode/report.ts';
import { invalid } from '../../lib/errors.ts';
import { writeStreamAtomically } from '../../lib/bytes/atomic-file.ts';
import { sha256OfFile, sha256OfSource } from '../../lib/bytes/hash.ts';
import { unchangedRange } from '../../lib/bytes/delta.ts';
import { chunks, withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { fileKindOf, openSignableFile } from '../formats/recognize.ts';
import { newContent } from './sign-result.ts';
import { readZip } from '../formats/packages.ts';
import { Spool, type Spooled } from './spool.ts';
import { verifyProgram } from './verify-program.ts';

/** A detached signature, and the program that it belongs to. */
export interface DetachedSignature {
  /** Path inside the zip; empty for a lone program. */
  readonly path: string;
  /** SHA-256 of the unsigned program, hex; undefined when nobody said. */
  readonly before?: string | undefined;
  /** SHA-256 of the signed program, hex; undefined when nobody said. */
  readonly after?: string | undefined;
  /** PKCS#7, DER. */
  readonly signature: Buffer;
}

export interface AttachOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
}

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

/** The checks that make bytes a signature of this very program, by any signer, whatever else a verifier finds. */
const ITS_OWN: ReadonlySet<CheckName> = new Set([
  'structure',
  'file-digest',
  'signed-attributes',
  'signature',
]);

/** Throws `not-its-signature` unless every signature that was attached is one of this program. */
async function requireItsSignature(made: ByteSource): Promise<void> {
  const { signatures, problems } = await verifyProgram(made);
  const wrong = signatures
    .flatMap(({ checks }) => checks)
    .find(({ name, ok }) => ok === false && ITS_OWN.has(name));
  const slack = problems.find(({ signature, code }) => signature === undefined && code !== 'digest-weak');
  const why = wrong?.detail ?? slack?.message;
  if (why === undefined) return;
  throw invalid('not-its-signature', `what was to be attached is no signature of this program: ${why}`, {
    hint: 'give what `signpipe signature extract` wrote from this program, signed: PKCS#7 in DER',
  });
}

/** The program with its signature, checked before and after against what the receipt says. */
export async function attachTo(program: Spooled, wanted: DetachedSignature): Promise<NewContent> {
  const hint = 'the rebuild is not the program that was signed: compare the two builds';
  requireDigest(program.source.name, program.sha256, wanted.before, 'rebuild-differs', hint);
  const made = await (await openSignableFile(program.source)).embed(wanted.signature);
  requireDigest(
    program.source.name,
    await sha256OfSource(made),
    wanted.after,
    'attached-differs',
    'the signature is not the one that the receipt speaks of',
  );
  if (wanted.after === undefined) await requireItsSignature(made);
  return newContent(made, unchangedRange(made.delta), program.map);
}

async function attachToZip(
  source: ByteSource,
  wanted: readonly DetachedSignature[],
  output: string,
  options: AttachOptions,
  spool: Spool,
): Promise<void> {
  const archive = await readZip(source, options.limits);
  const made = new Map<string, NewContent>();
  for (const each of wanted) {
    const entry = archive.entries.find(({ path }) => path === normalPath(each.path));
    if (!entry)
      throw invalid('rebuild-differs', `${source.name}: "${each.path}", which was signed, is not in it`);
    const program = await spool.take(archive, entry);
    made.set(entry.path, await attachTo(program, each));
  }
  await rewriteArchive(archive, made, output);
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
  const made = await attachTo({ source, sha256: await sha256OfSource(source) }, only);
  await writeStreamAtomically(output, chunks(made.source));
}

/**
 * Puts detached signatures back: whoever rebuilt the unsigned program or zip gets the signed one,
 * bit for bit, without the key. Returns the output's SHA-256 in hex.
 */
export async function attachToFile(
  input: string,
  wanted: readonly DetachedSignature[],
  output: string,
  options: AttachOptions,
): Promise<string> {
  await withFile(input, async (source) => {
    const spool = new Spool(options.scratch);
    try {
      if ((await fileKindOf(source)) === 'zip') await attachToZip(source, wanted, output, options, spool);
      else await attachToProgram(source, wanted, output);
    } finally {
      await spool.close();
    }
  });
  return sha256OfFile(output);
}
