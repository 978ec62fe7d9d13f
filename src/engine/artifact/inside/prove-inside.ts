import { isInvalid, type SignpipeError } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { compareZips } from '../../../lib/zip/compare-zips.ts';
import type { Archive } from '../../../lib/zip/read-zip.ts';
import { proveOnlySignatureAdded } from '../../authenticode/only-signature-added.ts';
import type { Container } from '../../formats/container.ts';
import { openSignableFile, recognize } from '../../formats/recognize.ts';
import type { SignableFile } from '../../formats/signable-file.ts';
import type { UnpackedProgram } from '../unpacked-programs.ts';
import type { Descent } from './descent.ts';
import { digestsOf, requireSameNames } from './member-digests.ts';
import { placeIn, within, type Place } from './place.ts';
import { areZips, type Pair } from './same-kind.ts';

/** A program that got exactly one signature; SHA-256 in lower-case hex. */
export interface ProvedProgram extends Place {
  readonly before: string;
  readonly after: string;
}

/**
 * Proves that files are what they were, plus signatures. What was signed inside of a container is proved first; the
 * original container with these members, packed again, must then be the signed container without its signature.
 */
export class InsideProof {
  constructor(private readonly descents: Pair<Descent>) {}

  /** Proves one file, and what is inside of it. Returns the programs that got a signature, innermost first. */
  async file({ before, after }: Pair<UnpackedProgram>, place: Place): Promise<ProvedProgram[]> {
    const sources = { before: before.source, after: after.source };
    if (await areZips(sources, recognize)) return this.zip(sources, place);
    const inner = await this.program(sources, place);
    return [...inner, { ...place, before: before.sha256, after: after.sha256 }];
  }

  /** Proves a program. Returns the programs inside of it that got a signature; it got one itself. */
  async program({ before, after }: Pair<ByteSource>, place: Place): Promise<ProvedProgram[]> {
    const files = { before: await openSignableFile(before), after: await openSignableFile(after) };
    try {
      await proveOnlySignatureAdded(files.before, files.after);
      return [];
    } catch (error) {
      if (!isInvalid(error) || !files.before.container) throw error;
      return this.container(files, place, error);
    }
  }

  /** Proves a container of which more changed than its signature. `difference` is that, should nothing inside explain it. */
  private async container(
    { before, after }: Pair<SignableFile>,
    place: Place,
    difference: SignpipeError,
  ): Promise<ProvedProgram[]> {
    const inside = within(place);
    const then = await this.descents.before.open({ source: before.source, file: before }, inside);
    const now = await this.descents.after.open({ source: after.source, file: after }, inside);
    if (!then || !now) throw difference;
    const changed = await changedMembers({ before: then, after: now }, after.source.name);
    if (changed.size === 0) throw difference;
    const old = await unpackMembers(this.descents.before, then, changed, before.source.name);
    const signed = await unpackMembers(this.descents.after, now, changed, after.source.name);
    const proved: ProvedProgram[] = [];
    for (const path of changed) {
      const [a, b] = [old.get(path), signed.get(path)];
      if (!a || !b) throw difference;
      proved.push(...(await this.file({ before: a, after: b }, placeIn(inside, path))));
    }
    const contents = new Map([...signed].map(([path, { source }]) => [path, source]));
    await proveOnlySignatureAdded(await openSignableFile(await then.replace(contents)), after);
    return proved;
  }

  private async zip({ before, after }: Pair<ByteSource>, place: Place): Promise<ProvedProgram[]> {
    const inside = within(place);
    const archives = {
      before: await this.descents.before.openZip(before, inside),
      after: await this.descents.after.openZip(after, inside),
    };
    const proved: ProvedProgram[] = [];
    for (const [then, now] of await compareZips(archives.before, archives.after)) {
      const pair = {
        before: await this.entry('before', archives.before, then),
        after: await this.entry('after', archives.after, now),
      };
      proved.push(...(await this.file(pair, placeIn(inside, then.path))));
    }
    return proved;
  }

  private async entry(
    side: keyof Pair<unknown>,
    archive: Archive,
    entry: Archive['entries'][number],
  ): Promise<UnpackedProgram> {
    const name = `${archive.source.name}!/${entry.path}`;
    return this.descents[side].unpack(await archive.open(entry), entry.size, name);
  }
}

/** The paths of members whose content differs. The members must be the same, in the same order. */
async function changedMembers({ before, after }: Pair<Container>, name: string): Promise<Set<string>> {
  requireSameNames(before, after, name);
  const [then, now] = [await digestsOf(before), await digestsOf(after)];
  return new Set(before.members.flatMap(({ path }) => (then.get(path) === now.get(path) ? [] : [path])));
}

async function unpackMembers(
  descent: Descent,
  container: Container,
  wanted: ReadonlySet<string>,
  name: string,
): Promise<Map<string, UnpackedProgram>> {
  const unpacked = new Map<string, UnpackedProgram>();
  for await (const { member, content } of container.read(({ path }) => wanted.has(path)))
    unpacked.set(member.path, await descent.unpack(content, member.size, `${name}!/${member.path}`));
  return unpacked;
}
