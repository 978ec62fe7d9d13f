import { isInvalid } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { openSignableFile } from '../formats/recognize.ts';
import { readZip } from '../formats/packages.ts';
import { Spool } from '../artifact/unpacked-programs.ts';
import type { VerifyFileOptions } from '../artifact/verify-zip.ts';
import type { AttestedProgram } from './signing-statement.ts';
import { statementDiffers } from './statement-differs.ts';

/** Whether a program, with its signature removed, has the bytes that provenance says it had before. */
async function isRestored(source: ByteSource, { before }: AttestedProgram): Promise<boolean> {
  try {
    const program = await openSignableFile(source);
    if (program.signatures.length === 0) return false;
    const forms = (await program.unsignedForms?.(before.size)) ?? [await program.remove()];
    for (const unsigned of forms) if ((await sha256OfSource(unsigned)) === before.digest.sha256) return true;
    return false;
  } catch (error) {
    if (isInvalid(error)) return false;
    throw error;
  }
}

/** Throws `provenance-differs` unless a program has the bytes that provenance says it has with its signature. */
async function requireAfter(source: ByteSource, { path, after }: AttestedProgram): Promise<void> {
  if (source.size === after.size && (await sha256OfSource(source)) === after.digest.sha256) return;
  const name = path === '' ? 'the file' : printable(path, 300);
  throw statementDiffers(`${name}: has other bytes than provenance says it has with its signature`);
}

/**
 * The paths of the programs whose unsigned bytes can be had again from the signed file: for them the file itself proves
 * that provenance links the right digests, whatever its signer says. Missing are programs that carried a signature
 * before, and those with an unusual value in a field that signing rewrites. Throws `provenance-differs` if a program has
 * other bytes than provenance says that it has now.
 */
export async function restorablePrograms(
  file: ByteSource,
  programs: readonly AttestedProgram[],
  { limits, scratch }: Pick<VerifyFileOptions, 'limits' | 'scratch'>,
): Promise<Set<string>> {
  const restored = new Set<string>();
  const [first] = programs;
  if (!first) return restored;
  if (first.path === '') {
    await requireAfter(file, first);
    return (await isRestored(file, first)) ? restored.add('') : restored;
  }
  const wanted = new Map(programs.map((program) => [program.path, program]));
  const archive = await readZip(file, limits);
  for (const entry of archive.layout) {
    const program = wanted.get(entry.path);
    if (!program) continue;
    const spool = new Spool(scratch);
    try {
      const { source } = await spool.unpack(archive, entry);
      await requireAfter(source, program);
      if (await isRestored(source, program)) restored.add(entry.path);
    } finally {
      await spool.close();
    }
  }
  return restored;
}
