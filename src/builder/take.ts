import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { ArchiveLimits } from '../archive/read.ts';
import type { ReceiptFile } from '../control/receipt.ts';
import { nameProblem } from '../control/zipname.ts';
import { invalid, notAllowed, type SignpipeError } from '../errors.ts';
import { proveFile } from '../signing/prove-file.ts';
import type { BuilderSession } from './session.ts';

/** What downloaded files are held against, besides their receipt. */
export interface Originals {
  /** Paths of the unsigned files; each belongs to the signed file of its name, one alone to the only one. */
  readonly paths: readonly string[];
  readonly limits: ArchiveLimits;
}

const differs = (path: string, why: string): SignpipeError =>
  invalid('signed-file-differs', `${path}: ${why}`, {
    hint: 'it was changed after it was delivered, or replaced by a later request: do not use it',
  });

type Output = NonNullable<ReceiptFile['output']>;

function outputOf({ output, input }: ReceiptFile): Output {
  if (!output) throw invalid('receipt-without-output', `${input.name}: the receipt names no signed file`);
  const problem = nameProblem(output.name);
  if (problem !== null) throw invalid('receipt-name', `the receipt names a file that ${problem}`);
  return output;
}

/**
 * The unsigned file that a signed one is to be proved against; undefined when none was given. Where the
 * signer did not see the whole of it, nobody else knows the rest: it is refused before a byte is taken.
 */
function originalOf(
  files: readonly ReceiptFile[],
  file: ReceiptFile,
  paths: readonly string[],
): string | undefined {
  const { name, sha256 } = outputOf(file);
  const [only] = paths;
  const original =
    files.length === 1 && paths.length === 1 ? only : paths.find((path) => basename(path) === basename(name));
  if (original !== undefined || sha256 !== undefined) return original;
  throw notAllowed(
    'original-needed',
    `${name}: the signer saw only the programs that it signed, so its receipt says nothing of the rest`,
    { hint: 'give the file that was submitted, to prove the rest by it: --original FILE' },
  );
}

/** That the signed file is the unsigned one with exactly the programs that the receipt names. */
async function prove(
  original: string,
  signed: string,
  file: ReceiptFile,
  limits: ArchiveLimits,
): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'signpipe-prove-'));
  try {
    const proof = await proveFile(original, signed, { limits, scratch });
    if (proof.kind === 'program') return;
    const { name } = outputOf(file);
    if (proof.digests.size !== file.signed.length)
      throw differs(name, `${proof.digests.size} programs changed, the receipt names ${file.signed.length}`);
    for (const { path, after } of file.signed)
      if (proof.digests.get(path) !== after.sha256)
        throw differs(name, `"${path}" is not the program that the receipt speaks of`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function takeOne(
  session: BuilderSession,
  file: ReceiptFile,
  folder: string,
  check: (taken: string, sha256: string) => Promise<void>,
): Promise<string> {
  const { name, size } = outputOf(file);
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  const bar = session.progress.start(`download ${name}`, 'bytes');
  const temporary = `${path}.unchecked`;
  try {
    const from = `${session.config.exchange.outgoing}/${name}`;
    const got = await session.exchange.fetch(from, temporary, { limit: size, onProgress: bar.update });
    try {
      await check(temporary, got.sha256);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await rename(temporary, path);
  } finally {
    bar.stop();
  }
  return path;
}

/**
 * Downloads what a receipt says was signed, and holds it to the digests there; where an original was
 * given, it is proved to be that one plus the signatures. Nothing gets its name before. Returns the paths.
 */
export async function takeFiles(
  session: BuilderSession,
  files: readonly ReceiptFile[],
  folder: string,
  originals?: Originals,
): Promise<string[]> {
  const planned = files.map((file) => ({ file, original: originalOf(files, file, originals?.paths ?? []) }));
  const taken: string[] = [];
  for (const { file, original } of planned) {
    const { name, sha256 } = outputOf(file);
    const check = async (path: string, actual: string): Promise<void> => {
      if (sha256 !== undefined && actual !== sha256)
        throw differs(
          join(folder, name),
          `SHA-256 of what lies on the exchange is ${actual}, the receipt says ${sha256}`,
        );
      if (original !== undefined && originals) await prove(original, path, file, originals.limits);
    };
    taken.push(await takeOne(session, file, folder, check));
    if (original !== undefined) session.say(`${name}: proved to be ${original} plus its signatures`);
  }
  return taken;
}
