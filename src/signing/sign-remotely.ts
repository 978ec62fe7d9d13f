import { isZip, readPartially, type Range } from '../archive/read.ts';
import { planRewrite } from '../archive/rewrite.ts';
import type { Assembly } from '../io/assembly.ts';
import { sha256OfFile } from '../io/hash.ts';
import type { ByteSource } from '../io/source.ts';
import { requirePinned } from './pins.ts';
import {
  replacementsOf,
  signOurs,
  withoutContent,
  type SignedFile,
  type SignFileOptions,
} from './sign-entries.ts';
import { Spool } from './spool.ts';

/** A file that lies elsewhere: runs of it can be brought nearer before they are read. */
export interface DistantSource extends ByteSource {
  fetch(runs: readonly Range[]): Promise<void>;
}

export interface SignRemotelyOptions extends SignFileOptions {
  /** SHA-256 by path of every entry of ours: there is nothing else to hold what is read against. */
  readonly pins: ReadonlyMap<string, string>;
}

/** What was done to a zip of which only some bytes were seen. */
export interface SignedRemotely extends Omit<SignedFile, 'output'> {
  /** The signed zip, out of the unsigned one and the new bytes. */
  readonly assembly: Assembly;
  /** SHA-256 of the new bytes. */
  readonly sha256: string;
}

/**
 * Signs the programs of ours in a zip without moving the rest of it: reads the directory and those
 * programs, and writes the new bytes to `fresh`. With them, the zip comes out byte for byte as
 * `signFile` would make it. Null when the file is no zip; then, nothing was done.
 */
export async function signRemotely(
  source: DistantSource,
  fresh: string,
  options: SignRemotelyOptions,
): Promise<SignedRemotely | null> {
  if (!isZip(await source.read(0, Math.min(source.size, 4)))) return null;
  const archive = await readPartially(source, options.limits, {
    wanted: options.isOurs,
    prepare: async (ours, runs) => {
      requirePinned(ours, options.pins, source.name);
      await source.fetch(runs);
    },
  });
  const spool = new Spool(options.scratch);
  try {
    const programs = await signOurs(archive, spool, options);
    const { assembly } = await planRewrite(archive, replacementsOf(programs), fresh);
    return {
      ...programs,
      kind: 'zip',
      signed: programs.signed.map(withoutContent),
      assembly,
      sha256: await sha256OfFile(fresh),
    };
  } finally {
    await spool.close();
  }
}
