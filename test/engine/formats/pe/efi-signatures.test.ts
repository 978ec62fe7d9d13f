/** Programs for UEFI firmware, which reads every entry of the certificate table and ignores nested signatures. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { readDetached } from '../../../../src/engine/artifact/detached.ts';
import { proveOnlySignatureAdded } from '../../../../src/engine/authenticode/only-signature-added.ts';
import { addNested, parseSignature } from '../../../../src/engine/authenticode/signature.ts';
import {
  signProgram,
  type SignOptions,
  type SigningResult,
} from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile, type VerifyReport } from '../../../../src/engine/authenticode/verify.ts';
import { openPe, type PeFile } from '../../../../src/engine/formats/pe/pe-file.ts';
import { createTestPki, testSigningKey, toPem, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildPe, peLayout, winCertificate } from '../../../fixtures/pe.ts';
import { bytesOf, inFolder, must, source, writeIdentity } from '../../authenticode/tools.ts';

const unsigned = buildPe({ subsystem: 'efi', checksum: 'right' });

const open = (bytes: Buffer): Promise<PeFile> => openPe(source(bytes, 'program.efi'));
const verify = async (bytes: Buffer): Promise<VerifyReport> => verifySignableFile(await open(bytes));
const codesOf = ({ problems }: VerifyReport): string[] => problems.map(({ code }) => code);

/** Both signed the same program. */
let [one, other]: TestPki[] = [];
let once: Buffer;
let twice: Buffer;

async function sign(bytes: Buffer, pki: TestPki, options: Partial<SignOptions> = {}): Promise<SigningResult> {
  const key = testSigningKey(pki.codeSigning);
  return signProgram(await open(bytes), { key, timestamper: null, ...options });
}

const append = async (bytes: Buffer, pki: TestPki): Promise<Buffer> =>
  bytesOf((await sign(bytes, pki, { existing: 'append' })).content);

/** The real pki of a test that runs after `before`. */
const ours = (): TestPki => one ?? assert.fail();
const theirs = (): TestPki => other ?? assert.fail();

before(async () => {
  const options = { key: 'rsa2048', intermediate: false } as const;
  [one, other] = await Promise.all([createTestPki(options), createTestPki(options)]);
  once = await bytesOf((await sign(unsigned, ours())).content);
  twice = await append(once, theirs());
});

describe('a signature appended to a program for firmware', () => {
  it('is an entry of its own; each one is judged', async () => {
    const file = await open(twice);
    assert.equal(file.signatures.length, 2);
    assert.deepEqual(file.signatures[0], (await open(once)).signatures[0]);
    const { status, signatures } = await verify(twice);
    assert.deepEqual(
      [status, signatures.map(({ index, nested }) => [index, nested])],
      [
        'intact',
        [
          [0, false],
          [1, false],
        ],
      ],
    );
  });

  it('is bad if either signature is wrong', async () => {
    for (const which of [0, 1]) {
      const signatures = (await open(twice)).signatures.map((each) => Buffer.from(each));
      const wrong = signatures[which] ?? assert.fail();
      wrong.writeUInt8(wrong.readUInt8(wrong.length - 1) ^ 1, wrong.length - 1);
      const bytes = await bytesOf(await (await open(unsigned)).embed(Buffer.concat(signatures)));
      const { problems } = await verify(bytes);
      assert.deepEqual(
        problems.map(({ code, signature }) => [code, signature]),
        [['cms-signature-wrong', which]],
      );
    }
  });

  it('is proven to be the only thing that was added', async () => {
    const added = await proveOnlySignatureAdded(await open(once), await open(twice));
    assert.deepEqual(added, (await open(twice)).signatures[1]);
  });

  it('strip-several-signatures: both at once', async () => {
    await assert.rejects(proveOnlySignatureAdded(await open(unsigned), await open(twice)), {
      code: 'strip-several-signatures',
    });
  });

  it('strip-signature-differs: beside another one than before, in another order, or nested with one beside lost', async () => {
    const [first = assert.fail(), second = assert.fail()] = (await open(twice)).signatures;
    const prove = async (older: readonly Buffer[], newer: readonly Buffer[]): Promise<Buffer> => {
      const file = await open(unsigned);
      const [before, after] = await Promise.all(
        [older, newer].map(async (each) => open(await bytesOf(await file.embed(Buffer.concat(each))))),
      );
      return proveOnlySignatureAdded(before ?? assert.fail(), after ?? assert.fail());
    };
    const refused = { code: 'strip-signature-differs' };
    await assert.rejects(prove([first], [second, first]), refused);
    for (const kept of [first, second]) await assert.rejects(prove([first, second], [kept]), refused);
    await assert.rejects(prove([first, second], [first, second, first, second]), refused);
    const nested = addNested(first, second, 'it');
    assert.equal(parseSignature(await prove([first, second], [nested, second]), 'it').nested.length, 0);
    await assert.rejects(prove([first, second], [nested, first]), refused);
    await assert.rejects(prove([first, second], [nested]), refused);
  });

  it('is detached together with the others, and attached again, byte for byte', async () => {
    const result = await sign(once, theirs(), { existing: 'append' });
    const file = await open(twice);
    const detached = await file.detached(file.signatures[0] ?? assert.fail());
    assert.deepEqual(detached, result.signature);
    assert.deepEqual(detached, Buffer.concat(file.signatures));
    assert.deepEqual(await bytesOf(await (await open(unsigned)).attach(detached)), twice);
    assert.deepEqual(await bytesOf(await file.attach(detached)), twice);
    const read = await readDetached(detached, 'pe', 'it');
    assert.deepEqual(
      read.map(({ signature }) => signature.certificate?.sha256),
      [ours(), theirs()].map(({ codeSigning }) => codeSigning.certificate.sha256),
    );
  });

  it('is removed together with the others', async () => {
    assert.deepEqual(await bytesOf(await (await open(twice)).remove()), unsigned);
  });

  it('is replaced together with the others', async () => {
    const replaced = await sign(twice, ours(), { existing: 'replace' });
    assert.deepEqual(await bytesOf(replaced.content), once);
    assert.deepEqual(
      replaced.signature,
      (await open(once)).signatures[0],
      'only the new one, though it equals the first',
    );
  });

  it('append-would-lose: if the table holds something else, which would be lost', async () => {
    const foreign = winCertificate(Buffer.alloc(20, 1), { type: 0xef1 });
    const bytes = buildPe({
      subsystem: 'efi',
      certificates: Buffer.concat([
        winCertificate((await open(once)).signatures[0] ?? assert.fail()),
        foreign,
      ]),
    });
    await assert.rejects(append(bytes, ours()), { code: 'append-would-lose' });
  });

  it('der-malformed, pe-table-corrupt: what is attached is no signature, or too many', async () => {
    const file = await open(unsigned);
    for (const wrong of [Buffer.alloc(0), Buffer.from('30', 'hex'), Buffer.from('3003020101ff', 'hex')])
      await assert.rejects(file.attach(wrong), { code: 'der-malformed' });
    const many = Buffer.concat(Array.from({ length: 33 }, () => Buffer.from('3003020101', 'hex')));
    await assert.rejects(file.attach(many), { code: 'pe-table-corrupt' });
    const table = Buffer.concat(
      Array.from({ length: 33 }, () => winCertificate(Buffer.from('3003020101', 'hex'))),
    );
    await assert.rejects(open(buildPe({ subsystem: 'efi', certificates: table })), {
      code: 'pe-table-corrupt',
    });
  });

  it('is nested in the first one in a program for Windows, which reads only that', async () => {
    const first = await bytesOf((await sign(buildPe(), ours())).content);
    const file = await open(await append(first, theirs()));
    assert.equal(file.signatures.length, 1);
    assert.equal(parseSignature(file.signatures[0] ?? assert.fail(), 'it').nested.length, 1);
  });
});

describe('programs with several signatures satisfy sbverify and pesign, and theirs satisfy us', () => {
  interface Files {
    readonly at: (name: string) => string;
    readonly read: (name: string) => Promise<Buffer>;
    readonly sbverify: (name: string, ...identities: ('one' | 'other')[]) => Promise<void>;
  }

  /** A folder with both identities (`one.crt`, `one.key`, …) and their roots (`one.pem`). */
  const withFiles = (use: (files: Files) => Promise<void>): Promise<void> =>
    inFolder(async (folder) => {
      const at = (name: string): string => join(folder, name);
      for (const [name, pki] of [
        ['one', ours()],
        ['other', theirs()],
      ] as const) {
        await writeIdentity(folder, name, pki.codeSigning);
        await writeFile(at(`${name}.pem`), toPem([pki.root.certificate]));
      }
      await use({
        at,
        read: (name) => readFile(at(name)),
        sbverify: async (name, ...identities) => {
          for (const identity of identities)
            assert.match(
              await must('sbverify', '--cert', at(`${identity}.pem`), at(name)),
              /^Signature verification OK$/m,
            );
        },
      });
    });

  it('ours, with two signatures', () =>
    withFiles(async ({ at, sbverify }) => {
      await writeFile(at('twice.efi'), twice);
      await sbverify('twice.efi', 'one', 'other');
      const listed = await must('pesign', '--show-signature', '--in', at('twice.efi'));
      assert.equal(listed.match(/common name is/g)?.length, 2);
    }));

  it('sbsign’s, once and twice, and with ours appended', () =>
    withFiles(async ({ at, read, sbverify }) => {
      await writeFile(at('unsigned.efi'), unsigned);
      const sbsign = (name: string, input: string, output: string): Promise<string> =>
        must(
          'sbsign',
          '--key',
          at(`${name}.key`),
          '--cert',
          at(`${name}.crt`),
          '--output',
          at(output),
          at(input),
        );
      await sbsign('one', 'unsigned.efi', 'once.efi');
      await sbsign('other', 'once.efi', 'twice.efi');
      for (const name of ['once.efi', 'twice.efi'])
        assert.deepEqual(codesOf(await verify(await read(name))), [], name);
      await proveOnlySignatureAdded(await open(await read('once.efi')), await open(await read('twice.efi')));
      const mixed = await append(await read('once.efi'), theirs());
      await writeFile(at('mixed.efi'), mixed);
      assert.deepEqual(codesOf(await verify(mixed)), []);
      await sbverify('mixed.efi', 'one', 'other');
    }));

  it('pesign’s, once and after ours: it leaves CheckSum as it was before', () =>
    withFiles(async ({ at, read, sbverify }) => {
      await writeFile(at('unsigned.efi'), unsigned);
      await writeFile(at('ours.efi'), once);
      const p12 = ['-inkey', at('other.key'), '-in', at('other.crt'), '-name', 'other', '-passout', 'pass:'];
      await must('openssl', 'pkcs12', '-export', ...p12, '-out', at('other.p12'));
      await must('certutil', '-N', '-d', at('.'), '--empty-password');
      await must('pk12util', '-i', at('other.p12'), '-d', at('.'), '-W', '', '-K', '');
      for (const [input, output] of [
        ['unsigned.efi', 'theirs.efi'],
        ['ours.efi', 'both.efi'],
      ] as const) {
        await must('pesign', '-n', at('.'), '-c', 'other', '-s', '-i', at(input), '-o', at(output));
        assert.deepEqual(codesOf(await verify(await read(output))), [], output);
      }
      await sbverify('both.efi', 'one', 'other');
      const changed = await read('both.efi');
      const { checksum } = peLayout();
      changed.writeUInt8(changed.readUInt8(checksum) ^ 1, checksum);
      assert.deepEqual(codesOf(await verify(changed)), ['checksum-differs']);
    }));
});
