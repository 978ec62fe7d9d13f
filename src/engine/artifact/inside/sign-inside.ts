import { isInvalid, SignpipeError } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { unchangedRange } from '../../../lib/bytes/delta.ts';
import { sha256OfSource } from '../../../lib/bytes/hash.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { mapConcurrently } from '../../../lib/concurrency/map-concurrently.ts';
import { Semaphore } from '../../../lib/concurrency/semaphore.ts';
import { shown } from '../../../lib/zip/entry-paths.ts';
import type { ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { NewContent } from '../../../lib/zip/rewrite-zip.ts';
import type { Container } from '../../formats/container.ts';
import { openSignableFile } from '../../formats/recognize.ts';
import type { SignableFile } from '../../formats/signable-file.ts';
import { withSign, type SigningKey } from '../../keys/signing-key.ts';
import type { Timestamper } from '../../timestamp/client.ts';
import { detachedName } from '../detached.ts';
import { signAndVerify } from '../sign-program.ts';
import type { SignArtifactOptions, SignedProgram } from '../signed-artifact.ts';
import { newContent } from '../unpacked-programs.ts';
import { digestsOf, requireSameNames } from './member-digests.ts';
import { countToSign, type FileToSign, type ToSignInside } from './file-to-sign.ts';

/** Programs begun and not ended, unless a key or a courier takes more: enough to hide the latency of a timestamp authority. */
const IN_FLIGHT = 64;

/** Of those, how many are worked on at a time. The others wait for a key or a timestamp, and hold next to nothing. */
const AT_WORK = 8;

/** Lets other programs be worked on until the timestamp is there. */
const releasing = (timestamper: Timestamper, semaphore: Semaphore): Timestamper => ({
  concurrency: timestamper.concurrency,
  timestamp: (...request) => semaphore.releaseDuring(() => timestamper.timestamp(...request)),
});

/** Lets other programs be worked on until the signature is there, if it is not this process that makes it. */
const releasingKey = (key: SigningKey, semaphore: Semaphore): SigningKey =>
  key.concurrency === undefined
    ? key
    : withSign(key, (...request) => semaphore.releaseDuring(() => key.sign(...request)));

/** A file with all that was signed in it, innermost first; and its new content. */
interface SignedFound {
  readonly programs: readonly SignedProgram[];
  readonly content: NewContent;
}

/** A file in which everything inside is signed, and not yet itself. */
interface Repacked {
  readonly programs: readonly SignedProgram[];
  /** Undefined if nothing is signed inside. */
  readonly content: PatchedSource | undefined;
  /** The same, open; null if it is a zip, or if nothing is signed inside. */
  readonly file: SignableFile | null;
}

/**
 * Signs what a search found, from the inside out. Signs each distinct program once: the same bytes at two places get the
 * same signature, unless the names make them files of different formats. After a failure nothing new begins, and the
 * failure is thrown when everything begun has ended.
 */
export class FoundSigner {
  private readonly semaphore = new Semaphore(AT_WORK);
  private readonly options: SignArtifactOptions;
  private readonly inFlight: number;
  private readonly underway = new Map<string, ReturnType<typeof signAndVerify>>();
  private readonly total: number;
  private done = 0;

  /** `all`: everything that will be signed, for the progress. */
  constructor(options: SignArtifactOptions, all: readonly FileToSign[]) {
    const timestamper = options.timestamper && releasing(options.timestamper, this.semaphore);
    const key = releasingKey(options.key, this.semaphore);
    this.options = { ...options, key, timestamper };
    this.inFlight = Math.max(IN_FLIGHT, 2 * (key.concurrency ?? 0), timestamper?.concurrency ?? 0);
    this.total = countToSign(all);
    options.onProgress?.(0, this.total);
  }

  /** Reports one more signature. */
  progress(): void {
    this.options.onProgress?.(++this.done, this.total);
  }

  signAll(files: readonly FileToSign[]): Promise<SignedFound[]> {
    return mapConcurrently(files, this.inFlight, (file) => this.signOne(file));
  }

  /** Signs what is inside of a file, and packs that again. */
  async signInside({
    file,
    container,
    members,
  }: Pick<FileToSign, 'file' | keyof ToSignInside>): Promise<Repacked> {
    if (!container || members.length === 0) return { programs: [], content: undefined, file: null };
    const signed = await this.signAll(members);
    const contents = new Map(
      members.map(({ path }, index): [string, ByteSource] => {
        const source = signed[index]?.content.source;
        if (!source) throw new TypeError(`nothing was made of ${path}`);
        return [path, source];
      }),
    );
    return {
      programs: signed.flatMap(({ programs }) => programs),
      ...(await this.semaphore.run(() => repack({ file, container }, contents, this.options.limits))),
    };
  }

  private async signOne(found: FileToSign): Promise<SignedFound> {
    const repacked = await this.signInside(found);
    if (found.file) return this.signProgram(found, found.file, repacked);
    const { programs, content } = repacked;
    if (!content) throw new TypeError(`${found.source.name}: a zip in which nothing is signed`);
    return { programs, content: newContent(content, unchangedRange(content.delta), found.blocks) };
  }

  private async signProgram(
    found: FileToSign,
    file: SignableFile,
    { programs, content: repacked, file: opened }: Repacked,
  ): Promise<SignedFound> {
    const before = { size: found.source.size, sha256: found.sha256 };
    const { program, content } = await (repacked && opened
      ? this.signOnce(opened, await sha256OfSource(repacked), before)
      : this.signOnce(file, found.sha256, before));
    this.progress();
    const { path, inside } = found;
    // What was compressed before is reused only if it is known which bytes are as they were.
    const compressed = repacked
      ? { source: content }
      : newContent(content, unchangedRange(content.delta), found.blocks);
    const place = { path, ...(inside ? { inside } : {}) };
    return {
      programs: [
        ...programs,
        { ...program, ...place, before, detachedName: detachedName(file, found.sha256) },
      ],
      content: compressed,
    };
  }

  private signOnce(
    file: SignableFile,
    sha256: string,
    before: SignedProgram['before'],
  ): ReturnType<typeof signAndVerify> {
    const id = `${file.format} ${detachedName(file, sha256)}`;
    const signing =
      this.underway.get(id) ?? this.semaphore.run(() => signAndVerify('', { file, before }, this.options));
    this.underway.set(id, signing);
    return signing;
  }
}

/**
 * Packs a container again with new content. Nothing of it may be delivered unless it reads as it should: what was put into it,
 * and everything else as before. Of a zip, everything else is copied byte for byte, which needs no check.
 */
async function repack(
  { file, container }: { readonly file: SignableFile | null; readonly container: Container },
  contents: ReadonlyMap<string, ByteSource>,
  limits: ArchiveLimits,
): Promise<Pick<Repacked, 'content' | 'file'>> {
  const content = await container.replace(contents);
  if (!file) return { content, file: null };
  try {
    const repacked = await openSignableFile(content);
    const now = await repacked.container?.(limits);
    if (repacked.format !== file.format || !now) throw bad(content.name, `it is ${repacked.format}`);
    requireSameNames(container, now, content.name);
    await requireContents(await digestsOf(container), contents, await digestsOf(now), content.name);
    return { content, file: repacked };
  } catch (error) {
    if (!isInvalid(error)) throw error;
    throw bad(content.name, error.message, error);
  }
}

async function requireContents(
  before: ReadonlyMap<string, string>,
  contents: ReadonlyMap<string, ByteSource>,
  after: ReadonlyMap<string, string>,
  name: string,
): Promise<void> {
  for (const [path, digest] of before) {
    const source = contents.get(path);
    const wanted = source ? await sha256OfSource(source) : digest;
    if (after.get(path) !== wanted) throw bad(name, `${shown(path)} has other bytes`);
  }
}

const bad = (name: string, why: string, cause?: unknown): SignpipeError =>
  new SignpipeError(
    'local',
    'inside-repacked-bad',
    `${name}: packed again with what was signed inside, it does not read as it should: ${why}`,
    { cause, hint: 'nothing was delivered; set signing.inside to report, and report this' },
  );
