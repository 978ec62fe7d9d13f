import { compareZips } from '../../lib/zip/compare-zips.ts';
import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import { proveOnlySignatureAdded } from '../authenticode/only-signature-added.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { readZip } from '../formats/packages.ts';
import { openSignableFile } from '../formats/recognize.ts';
import { Spool } from './unpacked-programs.ts';

export interface ProveOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
  /** The real name of the signed file, if it has a temporary one: it helps to recognise the file, and messages use it. */
  readonly name?: string | undefined;
}

/** A program that got exactly one signature; SHA-256 in lower-case hex. */
export interface ProvedProgram {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

/** Proves that a zip is another one with only signatures added to its programs. */
export async function proveZip(
  original: ByteSource,
  signed: ByteSource,
  { limits, scratch }: ProveOptions,
): Promise<ProvedProgram[]> {
  const before = await readZip(original, limits);
  const after = await readZip(signed, limits);
  const changed = await compareZips(before, after);
  const programs: ProvedProgram[] = [];
  for (const [entry, signedEntry] of changed) {
    const spool = new Spool(scratch);
    try {
      const now = await spool.unpack(after, signedEntry);
      const then = await spool.unpack(before, entry);
      await proveOnlySignatureAdded(await openSignableFile(then.source), await openSignableFile(now.source));
      programs.push({ path: entry.path, before: then.sha256, after: now.sha256 });
    } finally {
      await spool.close();
    }
  }
  return programs;
}
