/** What no digest of a package covers: each bit of a signed package is changed, and nothing hides unnoticed but where it says. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import { openMsi } from '../../../../src/engine/formats/msi/msi-file.ts';
import { ENTRY_SIZE } from '../../../../src/lib/compound-file/directory-entry.ts';
import { isInvalid } from '../../../../src/lib/errors.ts';
import { openCompoundFile, type CompoundFile } from '../../../../src/lib/compound-file/compound-file.ts';
import { unusedPlaces } from '../../../../src/lib/compound-file/unused-bytes.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { bytesOf, source } from '../../authenticode/tools.ts';
import { makeMsi, packageRoot } from './make-msi.ts';

let pki: TestPki;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: false });
});

const sign = async (bytes: Buffer): Promise<Buffer> => {
  const key = testSigningKey(pki.codeSigning);
  return bytesOf((await signProgram(await openMsi(source(bytes)), { key, timestamper: null })).content);
};

/** The codes of what is wrong with a package; an error's own if it cannot be read, and `unsigned`. */
async function problemsOf(bytes: Buffer): Promise<string[]> {
  try {
    const { status, problems } = await verifySignableFile(await openMsi(source(bytes)));
    return status === 'unsigned' ? [status] : problems.map(({ code }) => code);
  } catch (error) {
    if (isInvalid(error)) return [error.code];
    throw error;
  }
}

interface Range {
  readonly start: number;
  readonly end: number;
}

const entryAt = ({ layout: { directoryChain, sectors } }: CompoundFile, index: number): number => {
  const at = index * ENTRY_SIZE;
  return sectors.offset(directoryChain.at(Math.floor(at / sectors.size))) + (at % sectors.size);
};

/** The places of a signed package in which a change is not noticed, for the reasons that docs/formats.md gives. */
async function unnoticed(bytes: Buffer): Promise<Range[]> {
  const file = await openCompoundFile(source(bytes));
  const places = [...unusedPlaces(file)].filter(({ part }) => part === 'slack' || part === 'free');
  const rootTime = { start: entryAt(file, 0) + 108, end: entryAt(file, 0) + 116 };
  // osslsigncode marks the mini sector behind the last one as the end of a chain, which is one bit.
  const { miniFat, miniFatChain, sectors } = file.layout;
  const mark = sectors.offset(miniFatChain.at(0)) + miniFat.sectors * 4;
  const ranges = places.map(({ at, length }) => ({ start: at, end: at + length }));
  return [...ranges, rootTime, { start: mark, end: mark + 1 }];
}

/** The bytes of the signature, in mini sectors; the contract of other formats flips them. */
async function signatureRanges(bytes: Buffer): Promise<Range[]> {
  const [signature = assert.fail()] = (await openMsi(source(bytes))).signatures;
  const pieces = Array.from({ length: Math.ceil(signature.length / 64) }, (_, at) =>
    signature.subarray(at * 64, at * 64 + 64),
  );
  return pieces.map((piece) => ({ start: bytes.indexOf(piece), end: bytes.indexOf(piece) + piece.length }));
}

describe('a signed package', () => {
  let bytes: Buffer;
  before(async () => {
    const root = packageRoot({ children: packageRoot().children.slice(0, 2) });
    bytes = await sign(makeMsi({ root, freeSectors: 1, unusedEntries: 1 }));
  });

  it('shows every changed byte, but for the ends of sectors, free ones and the time of the root', async () => {
    const skipped = [...(await unnoticed(bytes)), ...(await signatureRanges(bytes))];
    const missed: number[] = [];
    for (let at = 0; at < bytes.length; at += 1) {
      if (skipped.some((range) => range.start <= at && at < range.end)) continue;
      const changed = Buffer.from(bytes);
      changed.writeUInt8((bytes[at] ?? 0) ^ (1 << (at % 8)), at);
      if ((await problemsOf(changed)).length === 0) missed.push(at);
    }
    assert.deepEqual(missed, []);
  });
});
