/** The catalog of the programs in a package. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { authenticode } from '../../../../src/engine/authenticode/cms-scheme.ts';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { proveOnlySignatureAdded } from '../../../../src/engine/authenticode/only-signature-added.ts';
import { readCatalog } from '../../../../src/engine/formats/msix/check-catalog.ts';
import { buildCatalog } from '../../../../src/engine/formats/msix/code-integrity.ts';
import { MsixFile } from '../../../../src/engine/formats/msix/msix-file.ts';
import { openMsix } from '../../../../src/engine/formats/msix/open.ts';
import type { CatalogRun } from '../../../../src/engine/formats/signable-file.ts';
import {
  createTestCertificate,
  createTestPki,
  testSigningKey,
  type TestIdentity,
  type TestPki,
} from '../../../../src/sandbox/certificates.ts';
import { sha256Hex } from '../../../../src/lib/bytes/hash.ts';
import { buildPackage } from '../../../fixtures/msix.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import { bytesOf, openBytes, source } from '../../authenticode/tools.ts';
import { publisherOf } from './tools.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

const one = buildPe({ sections: [{ name: '.text', data: filler(600, 1) }] });
const two = buildPe({ sections: [{ name: '.text', data: filler(600, 2) }] });

let pki: TestPki;
let stranger: TestIdentity;
let original: Buffer;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: false });
  stranger = await createTestCertificate({ commonName: 'Stranger', purpose: 'code-signing', key: 'p256' });
  original = packageWith(
    ['app.exe', one],
    ['lib/two.dll', two],
    ['no-program.exe', Buffer.from('MZ, a text')],
  );
});

const packageWith = (...files: [name: string, content: Buffer][]): Buffer =>
  buildPackage({ publisher: publisherOf(pki), files: files.map(([name, content]) => ({ name, content })) });

const open = (bytes: Buffer): Promise<MsixFile> => openMsix(source(bytes, 'a.msix'));

const sign = async (bytes: Buffer, catalog?: CatalogRun): Promise<Buffer> => {
  const key = testSigningKey(pki.codeSigning);
  return bytesOf((await signProgram(await open(bytes), { key, timestamper: null, catalog })).content);
};

const catalogOf = async (bytes: Buffer): Promise<Buffer> =>
  (await open(bytes)).parts.catalog ?? assert.fail();

const contentOf = async (bytes: Buffer): Promise<ReturnType<typeof readCatalog>> =>
  readCatalog(authenticode.read(await catalogOf(bytes), 'it').content, 'it');

/** The package with another catalog, signed with the right key. */
async function signWith(catalog: Buffer | null): Promise<Buffer> {
  const file = (await open(original)).withCatalog(catalog);
  // Without the step that makes a catalog.
  const prepared = Object.assign(file, { prepare: undefined });
  const key = testSigningKey(pki.codeSigning);
  return bytesOf((await signProgram(prepared, { key, timestamper: null })).content);
}

const problemsOf = async (bytes: Buffer): Promise<string[]> =>
  (await verifySignableFile(await open(bytes))).problems.map(({ code, message }) => `${code} ${message}`);

describe('the catalog of programs', () => {
  // The trust list that Microsoft's signtool made for the sample package of psign's tests.
  it('has the bytes that signtool writes', () => {
    const program = {
      name: 'noop.exe',
      sha256: hex('a82d7e4f091c44ec75d97746b3461c8ea9151e2313f8e9a4330432ee5f25b2ae'),
      sha1: hex('e9bdfb63bdf687b8d3bf144033fcb09d7a393563'),
    };
    const { type, der } = buildCatalog([program, program], {
      fullName: 'Psign.ParityMinimal_1.0.0.0_x64__16kgxjeygca84',
      listId: hex('4949436c94584b47ad6b1a99d239a5b6'),
      time: new Date('2026-05-14T13:30:30Z'),
    });
    assert.equal(type, '1.3.6.1.4.1.311.10.1');
    assert.equal(
      `${der.length} ${sha256Hex(der)}`,
      '479 bacf34c4f2eb05327cfdf00d79c327d6cc78953bd34d46a7076208b75f3f1cef',
    );
  });

  it('names each program by SHA-256 and SHA-1, recognised by its content; is listed in the content types', async () => {
    const signed = await sign(original);
    const { tags } = await contentOf(signed);
    const expected: string[] = [];
    for (const hash of ['sha256', 'sha1'] as const)
      for (const program of [one, two])
        expected.push((await (await openBytes(program)).digest(hash)).toString('hex'));
    assert.deepEqual([...tags].sort(), expected.sort());
    const { lists } = (await open(signed)).parts.types;
    assert.deepEqual(lists, { signature: true, catalog: true });
    assert.deepEqual(await problemsOf(signed), []);
  });

  it('is not made for a package without programs, nor named in its content types', async () => {
    const file = await open(await sign(packageWith(['a.txt', Buffer.from('text')])));
    assert.equal(file.parts.catalog, null);
    assert.deepEqual(file.parts.types.lists, { signature: true, catalog: false });
  });

  it('names the programs of a signed file alike', async () => {
    const key = testSigningKey(pki.codeSigning);
    const signed = await bytesOf(
      (await signProgram(await openBytes(one), { key, timestamper: null })).content,
    );
    const [inner, outer] = [
      await sign(packageWith(['a.exe', signed])),
      await sign(packageWith(['a.exe', one])),
    ];
    assert.deepEqual((await contentOf(inner)).tags, (await contentOf(outer)).tags);
  });

  it('has an id that follows from its content, and the time of signing, unless others are given', async () => {
    const [first, second] = [await contentOf(await sign(original)), await contentOf(await sign(original))];
    assert.deepEqual(first.listId, second.listId);
    assert.ok(Math.abs(first.time.getTime() - Date.now()) < 60_000);
    const run = { id: Buffer.alloc(16, 7), time: new Date('2026-01-02T03:04:05Z') };
    const given = await contentOf(await sign(original, run));
    assert.deepEqual([given.listId, given.time], [run.id, run.time]);
  });

  it('is proven, attached and removed together with the signature', async () => {
    const signed = await open(await sign(original));
    await proveOnlySignatureAdded(await open(original), signed);
    const [signature = assert.fail()] = signed.signatures;
    const attached = await (await open(original)).attach(await signed.detached(signature));
    assert.deepEqual(await bytesOf(attached), await bytesOf(signed.source));
    assert.deepEqual(await bytesOf(await signed.remove()), original);
  });
});

describe('a catalog that the signer of a package did not check is reported', () => {
  const refused: [what: string, says: RegExp, make: () => Promise<Buffer>][] = [
    [
      'of other programs',
      /names a program|does not name/,
      async () => catalogOf(await sign(packageWith(['a.exe', two]))),
    ],
    [
      'of another signer',
      /is signed by/,
      async () => {
        const key = testSigningKey(stranger);
        const publisher = publisherOf({ codeSigning: stranger });
        const theirs = buildPackage({
          publisher,
          files: [
            { name: 'a.exe', content: one },
            { name: 'b.dll', content: two },
          ],
        });
        return catalogOf(
          await bytesOf((await signProgram(await open(theirs), { key, timestamper: null })).content),
        );
      },
    ],
    [
      'that is a signature of a file',
      /is not a catalog/,
      async () => {
        const key = testSigningKey(pki.codeSigning);
        return (await signProgram(await openBytes(one), { key, timestamper: null })).signature;
      },
    ],
  ];
  for (const [what, says, make] of refused)
    it(`msix-catalog: ${what}`, async () => {
      const signed = await signWith(await make());
      assert.match((await problemsOf(signed)).join(), new RegExp(`msix-catalog.*${says.source}`));
      await assert.rejects(proveOnlySignatureAdded(await open(original), await open(signed)), {
        code: 'msix-catalog',
      });
    });

  it('der-malformed: that is no SignedData', async () => {
    assert.match((await problemsOf(await signWith(Buffer.from('nothing')))).join(), /^der-malformed/);
  });

  it('cms-signature-wrong: whose signature is not valid', async () => {
    const catalog = Buffer.from(await catalogOf(await sign(original)));
    catalog.writeUInt8(catalog.readUInt8(catalog.length - 1) ^ 1, catalog.length - 1);
    assert.match((await problemsOf(await signWith(catalog))).join(), /^cms-signature-wrong/);
  });

  it('cms-signature-wrong: whose certificate has a key that OpenSSL does not know', async () => {
    const catalog = Buffer.from(await catalogOf(await sign(original)));
    // id-ecPublicKey, 1.2.840.10045.2.1, in the certificate alone.
    const key = catalog.indexOf(hex('06072a8648ce3d0201'));
    catalog.writeUInt8(0x7f, key + 8);
    assert.match(
      (await problemsOf(await signWith(catalog))).join(),
      /^cms-signature-wrong.*cannot be checked/,
    );
  });

  it('but a package without one is intact: other tools make none', async () => {
    const signed = await signWith(null);
    assert.deepEqual(await problemsOf(signed), []);
    await proveOnlySignatureAdded(await open(original), await open(signed));
  });
});
