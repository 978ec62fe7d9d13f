import { join } from 'node:path';
import { BufferSource, withFile, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import { writeStreamAtomically } from '../../../lib/bytes/atomic-file.ts';
import { withTempFolder } from '../../../lib/bytes/temp-folder.ts';
import { isInvalid } from '../../../lib/errors.ts';
import { openPe, pe } from '../pe/pe-file.ts';
import type { MsixPackage, PayloadEntry } from './package.ts';

/** How many bytes of an entry tell whether it is a program. */
const HEAD = 4096;
/** Programs up to this size, in bytes, are unpacked to memory, others to a temporary file. */
const IN_MEMORY = 32 * 1024 * 1024;

/** The Authenticode digests of a program, by which a catalog names it. */
export interface ProgramDigests {
  readonly name: string;
  readonly sha256: Buffer;
  readonly sha1: Buffer;
}

/** The programs (PE files) in the payload of a package. One that is too damaged to have a digest is left out. */
export async function programsIn(pkg: MsixPackage): Promise<ProgramDigests[]> {
  const programs: ProgramDigests[] = [];
  if (pkg.kind === 'bundle') return programs;
  for (const each of pkg.payload) {
    const digests = pe.looksLike(await headOf(pkg, each), each.name) ? await digestsOf(pkg, each) : null;
    if (digests) programs.push(digests);
  }
  return programs;
}

const headOf = (pkg: MsixPackage, { entry }: PayloadEntry): Promise<Buffer> =>
  pkg.archive.head(entry, Math.min(HEAD, entry.size));

async function digestsOf(pkg: MsixPackage, payload: PayloadEntry): Promise<ProgramDigests | null> {
  try {
    return await unpacked(pkg, payload, async (source) => {
      const file = await openPe(source);
      return { name: payload.name, sha256: await file.digest('sha256'), sha1: await file.digest('sha1') };
    });
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

/** Passes the content of an entry to `use`. */
export async function unpacked<T>(
  { archive, source }: MsixPackage,
  { entry, name }: PayloadEntry,
  use: (content: ByteSource) => Promise<T>,
): Promise<T> {
  const label = `${source.name}!/${name}`;
  if (entry.size <= IN_MEMORY) return use(new BufferSource(await archive.read(entry), label));
  return withTempFolder(async (folder) => {
    const path = join(folder, 'content');
    await writeStreamAtomically(path, await archive.open(entry));
    return withFile(path, use, label);
  });
}
