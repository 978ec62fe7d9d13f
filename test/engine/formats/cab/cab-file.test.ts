import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { proveOnlySignatureAdded } from '../../../../src/engine/authenticode/only-signature-added.ts';
import { signProgram, type SignOptions } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { openCab, type CabFile } from '../../../../src/engine/formats/cab/cab-file.ts';
import { DEFAULT_LIMITS } from '../../../../src/lib/zip/limits.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildCab, type CabOptions } from '../../../fixtures/cab.ts';
import {
  bytesOf,
  inFolder,
  osslsigncode,
  osslsigncodeVerify,
  SIGNATURE_OK,
  source,
  writeIdentity,
} from '../../authenticode/tools.ts';

const SAMPLE = Buffer.from(
  '4d534346000000006b000000000000002c000000000000000301010001000000a203000046000000010001001c00000000000000' +
    '0000ae5cc14b200068656c6c6f2e747874001aae90391d001c00434b2b28ce4ccf53484e4c5228cd0331535314d2322b4a4a8b5279b900',
  'hex',
);

const HELLO = { files: [{ name: 'hello.txt', data: Buffer.from('Hello there') }] };

let pki: TestPki;
before(async () => {
  pki = await createTestPki({ key: 'p256' });
});

const open = (bytes: Buffer): Promise<CabFile> => openCab(source(bytes, 'sample.cab'));

async function sign(bytes: Buffer, options: Partial<SignOptions> = {}): Promise<Buffer> {
  const key = testSigningKey(pki.codeSigning);
  return bytesOf((await signProgram(await open(bytes), { key, timestamper: null, ...options })).content);
}

const problemsOf = async (bytes: Buffer): Promise<string[]> =>
  (await verifySignableFile(await open(bytes))).problems.map(({ code }) => code);

describe('a cabinet that signtool signed', () => {
  // Of a file that signtool signed with a key that is not here: facts about it.
  it('has this digest, also unsigned', async () => {
    const digest = '07a1aebb5db67660f6170906b4ae31994fe06c914fbb61d5b75200181c4366dd';
    assert.equal((await (await open(SAMPLE)).digest('sha256')).toString('hex'), digest);
    const signed = await open(await sign(SAMPLE));
    assert.equal((await signed.digest('sha256')).toString('hex'), digest);
  });

  it('signs this content, with an enhanced hash of the offset of the signature', async () => {
    const file = await open(SAMPLE);
    assert.equal(
      file.contentToSign('sha256', await file.digest('sha256')).der.toString('hex'),
      '30818b3056060a2b06010401823702011ca1480410a6b586d5b4a12466ae05a217da8e60d604343132303006' +
        '0a2b060104018237020501312204 20c8b61e850892b75fa72f120a6bf36ae02a0ba97e1aae65abac4c97c94956d9de'.replace(
          ' ',
          '',
        ) +
        '3031300d06096086480165030402010500042007a1aebb5db67660f6170906b4ae31994fe06c914fbb61d5b75200181c4366dd',
    );
  });

  it('has this head: an area of 20 bytes, and everything behind it 24 bytes further', async () => {
    const signed = await sign(SAMPLE);
    const length = signed.length - 0x83;
    assert.equal(length % 8, 0);
    const sizes = Buffer.alloc(4);
    sizes.writeUInt32LE(length);
    assert.equal(
      signed.subarray(0, 0x44).toString('hex'),
      '4d53434600000000830000000000000044000000000000000301010001000400a203000014000000000010008300' +
        `0000${sizes.toString('hex')}00000000000000005e00000001000100`,
    );
    assert.deepEqual(signed.subarray(0x44, 0x83), SAMPLE.subarray(0x2c));
  });
});

describe('a cabinet, signed by others', () => {
  it('osslsigncode: verifies here, and ours there', async () => {
    const theirs = await inFolder(async (folder) => {
      await writeIdentity(folder, 'key', pki.codeSigning);
      const key = ['-certs', join(folder, 'key.crt'), '-key', join(folder, 'key.key')];
      return osslsigncode('sign', SAMPLE, '-h', 'sha256', ...key);
    });
    assert.deepEqual(await problemsOf(theirs), []);
    await proveOnlySignatureAdded(await open(SAMPLE), await open(theirs));
    const ours = await sign(SAMPLE);
    assert.match(await osslsigncodeVerify(ours, pki.root), SIGNATURE_OK);
    assert.deepEqual(await osslsigncode('remove-signature', ours), SAMPLE);
  });

  it('one of a set, or with a larger area, or data of its own in it: signatures are verified', async () => {
    const kinds: Partial<CabOptions>[] = [
      { previous: ['a.cab', 'Disk 1'], next: ['c.cab', 'Disk 3'], number: 1 },
      { reserve: { header: Buffer.from(`00001000${'00'.repeat(100)}`, 'hex') } },
      { reserve: { header: Buffer.from(`03001000616263${'00'.repeat(16)}`, 'hex'), folder: 4 } },
    ];
    for (const kind of kinds)
      assert.deepEqual(await problemsOf(await signAnyway(kind)), [], JSON.stringify(kind));
  });
});

/** Signs a cabinet as other tools do, which refuse less: its area is filled in or added, and the signature appended. */
async function signAnyway(options: Partial<CabOptions>): Promise<Buffer> {
  const { reserve = { header: Buffer.from(`00001000${'00'.repeat(16)}`, 'hex') } } = options;
  const bytes = buildCab({ folders: [HELLO], ...options, reserve });
  const fieldsAt = 44 + reserve.header.readUInt16LE(0);
  bytes.writeUInt32LE(bytes.length, fieldsAt);
  const placeholder = Buffer.from('3000', 'hex');
  bytes.writeUInt32LE(placeholder.length, fieldsAt + 4);
  const file = await open(Buffer.concat([bytes, placeholder]));
  const key = testSigningKey(pki.codeSigning);
  file.requireSignable = (): void => {};
  return bytesOf((await signProgram(file, { key, timestamper: null, existing: 'replace' })).content);
}

describe('a cabinet is not signed', () => {
  const refused: [code: string, what: string, bytes: Buffer][] = [
    ['cab-set', 'if another follows', buildCab({ folders: [HELLO], next: ['b.cab', ''] })],
    ['cab-set', 'if another precedes', buildCab({ folders: [HELLO], previous: ['a.cab', ''], number: 1 })],
    ['cab-set', 'if it has a number', buildCab({ folders: [HELLO], number: 1 })],
    [
      'cab-reserve',
      'if it has an area',
      buildCab({ folders: [HELLO], reserve: { header: Buffer.from('mine') } }),
    ],
    [
      'cab-reserve',
      'if its blocks have',
      buildCab({ folders: [HELLO], reserve: { header: Buffer.alloc(20), data: 2 } }),
    ],
    ['cab-trailing-data', 'if bytes follow it', Buffer.concat([SAMPLE, Buffer.from('x')])],
    [
      'cab-header-checksum',
      'with csumHeader',
      Buffer.concat([SAMPLE.subarray(0, 4), Buffer.of(1), SAMPLE.subarray(5)]),
    ],
  ];
  for (const [code, what, bytes] of refused)
    it(`${code}: ${what}`, () => assert.rejects(sign(bytes), { code }));

  it('cab-reserve: nor is a digest known of one with areas, whatever asks for it', async () => {
    const reserve = { header: Buffer.from('mine'), folder: 2 };
    const cab = await open(buildCab({ folders: [HELLO], reserve }));
    await assert.rejects(cab.digest('sha256'), { code: 'cab-reserve' });
    await assert.rejects(cab.embed(Buffer.from('3000', 'hex')), { code: 'cab-reserve' });
    await assert.rejects((await open(SAMPLE)).requireSameContent(cab), { code: 'cab-reserve' });
  });

  it('cab-reserve: nor is a signature removed from an area of its own', async () => {
    const signed = await open(
      await signAnyway({ reserve: { header: Buffer.from(`00001000${'00'.repeat(40)}`, 'hex') } }),
    );
    await assert.rejects(signed.remove(), { code: 'cab-reserve' });
    await assert.rejects((await open(SAMPLE)).remove(), { code: 'cab-not-signed' });
  });
});

it('a signed cabinet gives the same cabinet with a new file inside as the unsigned one', async () => {
  const replaced = async (bytes: Buffer): Promise<Buffer> => {
    const container = (await (await open(bytes)).container(DEFAULT_LIMITS)) ?? assert.fail();
    return bytesOf(await container.replace(new Map([['hello.txt', source(Buffer.from('Hello again'))]])));
  };
  assert.deepEqual(await replaced(await sign(SAMPLE)), await replaced(SAMPLE));
});

describe('nothing hides in a signed cabinet', () => {
  const edited = async (edit: (bytes: Buffer) => Buffer | void): Promise<string[]> => {
    const bytes = Buffer.from(await sign(SAMPLE));
    return problemsOf(edit(bytes) ?? bytes);
  };
  const set =
    (at: number, value: number) =>
    (bytes: Buffer): void =>
      void bytes.writeUInt8(value, at);

  it('cab-header-checksum: in csumHeader', async () => {
    assert.deepEqual(await edited(set(5, 1)), ['cab-header-checksum']);
  });
  it('cab-reserve-bytes: behind offset and length', async () => {
    assert.deepEqual(await edited(set(0x3b, 1)), ['cab-reserve-bytes']);
  });
  it('cab-reserve-bytes: in the size of the areas of data blocks', async () => {
    assert.deepEqual(await edited(set(0x27, 1)), ['cab-reserve-bytes']);
  });
  it('cab-trailing-bytes: behind the signature, or in its padding', async () => {
    const code = ['cab-trailing-bytes'];
    assert.deepEqual(await edited((bytes) => Buffer.concat([bytes, Buffer.alloc(8)])), code);
    const padded = (bytes: Buffer): Buffer => {
      bytes.writeUInt32LE(bytes.readUInt32LE(0x30) + 8, 0x30);
      return Buffer.concat([bytes, Buffer.alloc(8)]);
    };
    assert.deepEqual(await edited(padded), code);
  });
  it('cab-bytes-before-signature: between cabinet and signature', async () => {
    const moved = (bytes: Buffer): Buffer => {
      bytes.writeUInt32LE(0x83 + 8, 0x2c);
      return Buffer.concat([bytes.subarray(0, 0x83), Buffer.alloc(8), bytes.subarray(0x83)]);
    };
    assert.deepEqual((await edited(moved)).sort(), ['cab-bytes-before-signature', 'cab-offset-hash-differs']);
  });
});
