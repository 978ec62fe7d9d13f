/** Does with a file what signing, verifying and taking apart would do. */
import { readDetached } from '../../src/engine/artifact/detached.ts';
import { verifySignableFile } from '../../src/engine/authenticode/verify.ts';
import type { FileFormat, SignableFile } from '../../src/engine/formats/signable-file.ts';
import { BufferSource, type ByteSource } from '../../src/lib/bytes/byte-source.ts';
import type { ArchiveLimits } from '../../src/lib/zip/limits.ts';
import { fuzzKey } from './fuzz-key.ts';
import type { Outcome } from './outcome.ts';

/** A file to try. */
export interface Input {
  readonly name: string;
  readonly bytes: Buffer;
}

export const LIMITS: ArchiveLimits = { archive: 2 ** 24, entries: 2000, entry: 2 ** 23, ratio: 200 };

/** The time that verification takes for the present, so that runs can be repeated. */
const NOW = new Date('2026-12-01T00:00:00Z');

/** The certificate that signed the seeds: a changed one is then noticed. */
const ROOTS = fuzzKey().certificates;

const HEAD = 4096;

const bytesOf = (content: ByteSource): Promise<Buffer> => content.read(0, content.size);

class PropertyBroken extends Error {}

function require(holds: boolean, what: string): void {
  if (!holds) throw new PropertyBroken(what);
}

/** Opens the file as recognition would, and tries everything; notes each step in `outcome`. */
export async function exerciseFormat(format: FileFormat, input: Input, outcome: Outcome): Promise<void> {
  const source = new BufferSource(input.bytes, input.name);
  if (!format.looksLike(input.bytes.subarray(0, HEAD), input.name)) return outcome.note('other');
  const confirmed = await outcome.step('confirm', () => format.confirm?.(source) ?? true);
  if (confirmed !== true) return outcome.note('not-confirmed');
  const file = await outcome.step('open', () => format.open(source));
  if (!file) return undefined;
  await outcome.step('signable', () => file.requireSignable());
  outcome.note(`findings:${file.unauthenticatedData.map(({ code }) => code).join()}`);
  const digest = await outcome.step('digest', () => file.digest('sha256'));
  await readSignatures(format, file, outcome);
  await outcome.step('fields', async () => file.uncoveredFields?.());
  await readContainer(file, outcome);
  if (digest) await changeSignature(format, file, digest, outcome);
  return undefined;
}

async function readSignatures(format: FileFormat, file: SignableFile, outcome: Outcome): Promise<void> {
  const [first] = file.signatures;
  if (!first) return;
  await outcome.step('verify', async () => {
    const report = await verifySignableFile(file, { at: NOW, roots: ROOTS });
    for (const { code } of report.problems) outcome.note(code);
    outcome.intact = report.status !== 'bad';
  });
  await outcome.step('detached', async () => {
    const detached = (await file.detached?.(first)) ?? first;
    for (const found of await readDetached(detached, format.name, 'it')) {
      found.digest();
      found.signature.requireContent('it');
    }
  });
}

async function readContainer(file: SignableFile, outcome: Outcome): Promise<void> {
  const container = await outcome.step('container', async () => file.container?.(LIMITS));
  if (!container) return;
  let total = 0;
  await outcome.step('members', async () => {
    for await (const { content } of container.read(() => true))
      for await (const chunk of content) total += chunk.length;
  });
  require(total <= LIMITS.archive + LIMITS.entry, `${total} bytes were unpacked`);
}

/**
 * Takes the signature away, and puts it in again. If the file is intact, both results have to open, with the digest as
 * it was; removal may undo more than the signature in formats that complete a file first.
 */
async function changeSignature(
  format: FileFormat,
  file: SignableFile,
  digest: Buffer,
  outcome: Outcome,
): Promise<void> {
  const { name } = file.source;
  const [first] = file.signatures;
  if (!first) return;
  const removed = await outcome.step('remove', () => file.remove());
  const embedded = await outcome.step('embed', () => file.embed(first));
  if (!outcome.intact) return;
  const reopened = async (what: string, content: ByteSource): Promise<SignableFile> => {
    const again = await format.open(new BufferSource(await bytesOf(content), name));
    const same = file.prepare !== undefined || (await again.digest('sha256')).equals(digest);
    require(same, `the file has another digest: ${what}`);
    return again;
  };
  if (removed)
    require((await reopened('removed', removed)).signatures.length === 0, 'the signature is still there');
  if (embedded)
    require((await reopened('embedded', embedded)).signatures[0]?.equals(first) ===
      true, 'the signature is another one');
}
