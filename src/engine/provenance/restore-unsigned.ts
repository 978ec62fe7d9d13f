import { isInvalid } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { openSignableFile } from '../formats/recognize.ts';
import { readZip } from '../formats/packages.ts';
import { Spool } from '../artifact/unpacked-programs.ts';
import { Budget, Descent } from '../artifact/inside/descent.ts';
import {
  placeIn,
  placeKey,
  placeTree,
  shownPlace,
  within,
  type Place,
  type PlaceTree,
} from '../artifact/inside/place.ts';
import type { VerifyFileOptions } from '../artifact/inside/verify-inside.ts';
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
async function requireAfter(source: ByteSource, { path, inside, after }: AttestedProgram): Promise<void> {
  if (source.size === after.size && (await sha256OfSource(source)) === after.digest.sha256) return;
  const name = path === '' ? 'the file' : printable(shownPlace({ path, inside }), 300);
  throw statementDiffers(`${name}: has other bytes than provenance says it has with its signature`);
}

/** Programs by the containers that lead to them, outermost first. */
type Attested = PlaceTree<AttestedProgram>;

/** Goes down to the programs of which provenance speaks. */
class Restoration {
  readonly restored = new Set<string>();

  constructor(
    private readonly options: Pick<VerifyFileOptions, 'limits' | 'scratch'>,
    private readonly budget: Budget,
  ) {}

  /** Checks one program, if it is one, and those inside of it. */
  async check(source: ByteSource, { value: program, members }: Attested, place: Place): Promise<void> {
    if (program) {
      await requireAfter(source, program);
      // What was signed inside of it is not undone by removing its own signature.
      if (members.size === 0 && (await isRestored(source, program))) this.restored.add(placeKey(place));
    }
    if (members.size > 0) await this.inside(source, members, within(place));
  }

  private async inside(
    source: ByteSource,
    members: Attested['members'],
    inside: readonly string[],
  ): Promise<void> {
    const spool = new Spool(this.options.scratch);
    try {
      const descent = new Descent(this.budget, spool);
      const container = await descent.openSource(source, inside);
      for await (const { member, content } of container?.read(({ path }) => members.has(path)) ?? []) {
        const unpacked = await descent.unpack(content, member.size, `${source.name}!/${member.path}`);
        const attested = members.get(member.path);
        if (attested) await this.check(unpacked.source, attested, placeIn(inside, member.path));
      }
    } finally {
      await spool.close();
    }
  }
}

/**
 * The places (as `placeKey`) of the programs whose unsigned bytes can be had again from the signed file: for them the file
 * itself proves that provenance links the right digests, whatever its signer says. Missing are programs that carried a
 * signature before, those with an unusual value in a field that signing rewrites, and containers in which programs were
 * signed too. Throws `provenance-differs` if a program has other bytes than provenance says that it has now.
 */
export async function restorablePrograms(
  file: ByteSource,
  programs: readonly AttestedProgram[],
  { limits, scratch }: Pick<VerifyFileOptions, 'limits' | 'scratch'>,
): Promise<Set<string>> {
  if (programs.length === 0) return new Set();
  const restoration = new Restoration({ limits, scratch }, new Budget(limits, file.size));
  const root = placeTree(programs);
  if (root.value) {
    await restoration.check(file, root, { path: '' });
    return restoration.restored;
  }
  const archive = await readZip(file, limits);
  for (const entry of archive.layout) {
    const attested = root.members.get(entry.path);
    if (!attested) continue;
    const spool = new Spool(scratch);
    try {
      const { source } = await spool.unpack(archive, entry);
      await restoration.check(source, attested, { path: entry.path });
    } finally {
      await spool.close();
    }
  }
  return restoration.restored;
}
