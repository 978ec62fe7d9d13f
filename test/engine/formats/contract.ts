/**
 * What every format promises, tried on one file of it: it is signed, verified, taken apart, put together and proven, and
 * nothing in the signed file can be changed unnoticed except what the format declares.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { proveOnlySignatureAdded } from '../../../src/engine/authenticode/only-signature-added.ts';
import { signProgram, type SignOptions, type SigningResult } from '../../../src/engine/authenticode/sign.ts';
import { verifySignableFile, type VerifyReport } from '../../../src/engine/authenticode/verify.ts';
import { openSignableFile } from '../../../src/engine/formats/recognize.ts';
import type { SignableFile } from '../../../src/engine/formats/signable-file.ts';
import type { ByteRange } from '../../../src/lib/bytes/byte-range.ts';
import { isInvalid } from '../../../src/lib/errors.ts';
import {
  createTestPki,
  testSigningKey,
  type KeyKind,
  type TestPki,
} from '../../../src/sandbox/certificates.ts';
import { bytesOf, findingsIn, OpensslTimestamper, source } from '../authenticode/tools.ts';

/** A part of a signed file in which a changed byte is not noticed, and the reason why that does no harm. */
interface Unnoticed extends ByteRange {
  readonly why: string;
}

/** The version of SignedData, which signers write as 1 or as 3 and nothing depends on: bit 1 of a byte in `signed`. */
export function signedDataVersion(signed: Buffer): Unnoticed {
  // OID 1.2.840.113549.1.7.2, [0] and SEQUENCE with lengths of two bytes, INTEGER of one byte.
  const at = signed.indexOf('2a864886f70d010702', 0, 'hex') + 9 + 4 + 4 + 2;
  return { start: at, end: at + 1, why: 'version 1 and version 3 of SignedData are both in use' };
}

interface FormatExample {
  /** The name that reports and receipts give the format. */
  readonly format: string;
  readonly fileName: string;
  /** A small unsigned file. */
  unsigned(pki: TestPki): Buffer | Promise<Buffer>;
  /** Another unsigned file of the format, which is not the same content. */
  another(pki: TestPki): Buffer | Promise<Buffer>;
  /** The code with which the proof refuses `another`, signed, as the signed form of `unsigned`. */
  readonly differs: string;
  /** p256 unless given. */
  readonly key?: KeyKind;
  /** The key of the authority; p256 unless given. */
  readonly authorityKey?: KeyKind;
  /** Whether another signature can be appended; true unless given. */
  readonly appends?: boolean;
  /** Whether removing the signature gives the unsigned bytes again; true unless given. */
  readonly removesExactly?: boolean;
  /** The declared parts of this signed file; none unless given. */
  unnoticed?(signed: Buffer, file: SignableFile): readonly Unnoticed[] | Promise<readonly Unnoticed[]>;
  /** false leaves out flipping every byte, for formats that do that in a test of their own. */
  readonly flips?: boolean;
}

/** Adjoining ranges of positions, in ascending order. */
function rangesOf(positions: readonly number[]): ByteRange[] {
  const ranges: { start: number; end: number }[] = [];
  for (const at of positions) {
    const last = ranges.at(-1);
    if (last?.end === at) last.end += 1;
    else ranges.push({ start: at, end: at + 1 });
  }
  return ranges;
}

const isWithin = (at: number, ranges: readonly ByteRange[]): boolean =>
  ranges.some(({ start, end }) => start <= at && at < end);

/** Registers the tests of one format; call it at the top of a test file. */
export function itKeepsTheContract(example: FormatExample): void {
  const { format, fileName, appends = true, removesExactly = true, flips = true } = example;
  describe(`a file of the format ${format}`, () => {
    let pki: TestPki;
    let original: Buffer;
    let signed: SigningResult;
    let bytes: Buffer;

    const open = (content: Buffer): Promise<SignableFile> => openSignableFile(source(content, fileName));
    const sign = async (content: Buffer, options: Partial<SignOptions> = {}): Promise<SigningResult> =>
      signProgram(await open(content), {
        key: testSigningKey(pki.codeSigning),
        timestamper: null,
        ...options,
      });
    const verify = async (content: Buffer, requireTimestamp = false): Promise<VerifyReport> => {
      const roots = [pki.root.certificate];
      return verifySignableFile(await open(content), { roots, timestampRoots: roots, requireTimestamp });
    };
    const prove = async (older: Buffer, newer: Buffer): Promise<Buffer> =>
      proveOnlySignatureAdded(await open(older), await open(newer));

    before(async () => {
      const { key = 'p256', authorityKey } = example;
      pki = await createTestPki({ key, authorityKey, intermediate: false });
      original = await example.unsigned(pki);
      signed = await sign(original);
      bytes = await bytesOf(signed.content);
    });

    it('is recognised, unsigned and signed', async () => {
      assert.equal((await open(original)).format, format);
      assert.deepEqual((await open(original)).signatures, []);
      assert.equal((await open(bytes)).signatures.length, 1);
    });

    it('is signed and verified; the digest is the same before and after', async () => {
      const report = await verify(bytes);
      assert.deepEqual([report.problems, report.status], [[], 'ok']);
      assert.deepEqual(findingsIn(await open(bytes)), []);
      assert.equal(report.signatures[0]?.digest, signed.digest.toString('hex'));
      assert.deepEqual(await (await open(original)).digest('sha256'), signed.digest);
    });

    it('is signed with a timestamp, which verifies', async () => {
      const stamped = await sign(original, { timestamper: new OpensslTimestamper(pki.timestamping) });
      const report = await verify(await bytesOf(stamped.content), true);
      assert.deepEqual([report.problems, report.status], [[], 'ok']);
      await prove(original, await bytesOf(stamped.content));
    });

    it('loses its signature again', async () => {
      const removed = await bytesOf(await (await open(bytes)).remove());
      if (removesExactly) assert.deepEqual(removed, original);
      const file = await open(removed);
      assert.deepEqual(file.signatures, []);
      assert.deepEqual(await file.digest('sha256'), signed.digest);
    });

    it('gives its detached signature, which the unsigned file takes again, byte for byte', async () => {
      const file = await open(bytes);
      const [first = assert.fail()] = file.signatures;
      const detached = (await file.detached?.(first)) ?? first;
      assert.deepEqual(detached, signed.signature);
      const unsigned = await open(original);
      const attached = await (unsigned.attach?.(detached) ?? unsigned.embed(detached));
      assert.deepEqual(await bytesOf(attached), bytes);
    });

    it('is proven to have only a signature added; signed again, to have it replaced', async () => {
      await prove(original, bytes);
      const signingTime = new Date('2026-01-02T03:04:06Z');
      const again = await sign(bytes, { existing: 'replace', name: 'Again', signingTime });
      const replaced = await bytesOf(again.content);
      assert.equal((await verify(replaced)).status, 'ok');
      await prove(bytes, replaced);
      await prove(original, replaced);
    });

    it(`${example.differs}: another file with a signature is not this one with a signature`, async () => {
      const other = await bytesOf((await sign(await example.another(pki))).content);
      await assert.rejects(prove(original, other), { code: example.differs });
    });

    it('already-signed: unless the options permit it', () =>
      assert.rejects(sign(bytes), { code: 'already-signed' }));

    it('is signed once if a signature is to be appended and there is none', async () => {
      const once = await bytesOf((await sign(original, { existing: 'append' })).content);
      const report = await verify(once);
      assert.deepEqual([report.status, report.signatures.length], ['ok', 1]);
    });

    if (appends)
      it('takes a second signature beside the first', async () => {
        const twice = await bytesOf((await sign(bytes, { existing: 'append', name: 'Second' })).content);
        const report = await verify(twice);
        assert.deepEqual([report.status, report.signatures.length], ['ok', 2]);
        await prove(bytes, twice);
      });
    else
      it('append-would-lose: takes no second signature', () =>
        assert.rejects(sign(bytes, { existing: 'append' }), { code: 'append-would-lose' }));

    if (flips)
      it('shows that a byte was changed, whichever it is, except for the declared ones', async () => {
        const declared = (await example.unnoticed?.(bytes, await open(bytes))) ?? [];
        const missed: number[] = [];
        for (let at = 0; at < bytes.length; at += 1) {
          const changed = Buffer.from(bytes);
          changed.writeUInt8((bytes[at] ?? 0) ^ (1 << (at % 8)), at);
          if (!(await isNoticed(changed))) missed.push(at);
        }
        const undeclared = missed.filter((at) => !isWithin(at, declared));
        assert.deepEqual(rangesOf(undeclared), [], 'not noticed and not declared');
        const needless = declared.filter((range) => !missed.some((at) => isWithin(at, [range])));
        assert.deepEqual(needless, [], 'declared, yet always noticed');
      });

    /**
     * Whether a file is refused, is not of the format any more, or is bad; with roots, since without them the bytes of
     * certificates are not checked.
     */
    async function isNoticed(content: Buffer): Promise<boolean> {
      try {
        return (await verify(content)).status !== 'ok';
      } catch (error) {
        if (isInvalid(error)) return true;
        throw error;
      }
    }
  });
}
