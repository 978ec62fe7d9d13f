import { compareZips } from '../../lib/zip/compare-zips.ts';
import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { readZip } from '../formats/packages.ts';
import { Budget, Descent } from './inside/descent.ts';
import { InsideProof, type ProvedProgram } from './inside/prove-inside.ts';
import type { Pair } from './inside/same-kind.ts';
import { Spool } from './unpacked-programs.ts';

export interface ProveOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
  /** The real name of the signed file, if it has a temporary one: it helps to recognise the file, and messages use it. */
  readonly name?: string | undefined;
}

/** Runs a proof with room for unpacked files, which are gone afterwards. The budgets hold for all proofs of one file. */
export async function withProof<T>(
  budgets: Pair<Budget>,
  scratch: string,
  prove: (proof: InsideProof, spool: Spool) => Promise<T>,
): Promise<T> {
  const spool = new Spool(scratch);
  try {
    const descents = {
      before: new Descent(budgets.before, spool),
      after: new Descent(budgets.after, spool),
    };
    return await prove(new InsideProof(descents), spool);
  } finally {
    await spool.close();
  }
}

/** The budgets for a file as it was and as it is. */
export const budgetsFor = (before: ByteSource, after: ByteSource, limits: ArchiveLimits): Pair<Budget> => ({
  before: new Budget(limits, before.size),
  after: new Budget(limits, after.size),
});

/** Proves that a zip is another one with only signatures added to its programs, and to those in containers in it. */
export async function proveZip(
  original: ByteSource,
  signed: ByteSource,
  { limits, scratch }: ProveOptions,
): Promise<ProvedProgram[]> {
  const before = await readZip(original, limits);
  const after = await readZip(signed, limits);
  const budgets = budgetsFor(original, signed, limits);
  const programs: ProvedProgram[] = [];
  for (const [entry, signedEntry] of await compareZips(before, after))
    programs.push(
      ...(await withProof(budgets, scratch, async (proof, spool) => {
        const now = await spool.unpack(after, signedEntry);
        const then = await spool.unpack(before, entry);
        return proof.file({ before: then, after: now }, { path: entry.path });
      })),
    );
  return programs;
}
