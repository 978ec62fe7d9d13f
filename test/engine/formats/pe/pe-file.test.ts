import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { HEAD_SIZE, recognizeHead, openSignableFile } from '../../../../src/engine/formats/recognize.ts';
import { readIndirectData } from '../../../../src/engine/authenticode/indirect-data.ts';
import { MAX_TABLE } from '../../../../src/engine/formats/pe/certificate-table.ts';
import { openPe, type PeFile } from '../../../../src/engine/formats/pe/pe-file.ts';
import { locate } from '../../../../src/engine/formats/pe/pe-layout.ts';
import { parseSignedData } from '../../../../src/lib/cms/signed-data.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import type { ByteSource } from '../../../../src/lib/bytes/byte-source.ts';
import { createTestPki, type TestPki } from '../../../../src/sandbox/certificates.ts';
import {
  buildPe,
  filler,
  peChecksum,
  peLayout,
  winCertificate,
  type PeOptions,
} from '../../../fixtures/pe.ts';
import { program, programs } from '../../../fixtures/programs.ts';
import { bytesOf, inFolder, osslsigncode, source, tool, writeIdentity } from '../../authenticode/tools.ts';

const open = (bytes: Buffer): Promise<PeFile> => openPe(source(bytes));

/** Something in DER, for the parser of the file around it. */
const SIGNATURE = Buffer.from('3009300706035504030500', 'hex');

const KINDS: readonly (readonly [string, PeOptions])[] = [
  ['PE32', { machine: 'x86' }],
  ['PE32+', {}],
  ['ARM64', { machine: 'arm64' }],
  ['a DLL', { dll: true, machine: 'x86' }],
  ['a driver', { subsystem: 'native', dll: true }],
  ['an EFI application', { subsystem: 'efi' }],
  ['five data directories', { directories: 5 }],
  ['no sections', { sections: [] }],
  ['a section with an empty body', { sections: [{ name: '.bss', data: Buffer.alloc(0) }] }],
  ['strange section names', { sections: [{ name: Buffer.from('\xff\0%s/../', 'latin1'), data: filler(9) }] }],
  ['a PE header far down', { headerOffset: 0x1002 }],
  ['a right checksum', { checksum: 'right' }],
  ['sections aligned to 16', { fileAlignment: 16, sections: [{ name: '.text', data: filler(77) }] }],
  ...Array.from({ length: 8 }, (_, extra): [string, PeOptions] => [
    `an overlay of ${24 + extra} bytes`,
    { overlay: filler(24 + extra, 3) },
  ]),
];

describe('a PE file, compared with osslsigncode', () => {
  let pki: TestPki;
  before(async () => {
    pki = await createTestPki({ key: 'p256' });
  });

  const signedByOthers = (bytes: Buffer, hash: string): Promise<Buffer> =>
    inFolder(async (folder) => {
      await writeIdentity(folder, 'key', pki.codeSigning);
      const key = ['-certs', join(folder, 'key.crt'), '-key', join(folder, 'key.key')];
      return osslsigncode('sign', bytes, '-h', hash, ...key);
    });

  /** Digest, signed content, embedding, checksum and removal, each byte for byte what osslsigncode makes. */
  async function compare(bytes: Buffer, hash: 'sha256' | 'sha384' | 'sha512'): Promise<void> {
    const theirs = await signedByOthers(bytes, hash);
    const [unsigned, signed] = [await open(bytes), await open(theirs)];
    assert.ok(signed.signatures[0]);
    const digest = await unsigned.digest(hash);
    assert.deepEqual(await signed.digest(hash), digest);
    const { content, contentType } = parseSignedData(signed.signatures[0], 'theirs');
    const theirContent = { type: contentType, der: content?.raw ?? assert.fail() };
    const stated = unsigned.readContent(theirContent, hash, 'theirs');
    assert.deepEqual([stated.hash, stated.digest], [hash, digest]);
    assert.deepEqual(signed.unauthenticatedData, []);
    assert.ok((await bytesOf(await unsigned.embed(signed.signatures[0]))).equals(theirs), 'embedded');
    assert.ok((await bytesOf(await signed.embed(signed.signatures[0]))).equals(theirs), 'embedded again');
    const removed = await bytesOf(await signed.remove());
    assert.ok(removed.equals(await osslsigncode('remove-signature', theirs)), 'removed');
    const { stored, computed } = (await signed.checksum()) ?? assert.fail();
    assert.equal(stored, computed);
  }

  for (const [what, options] of KINDS)
    it(`${what}: digest, content, embedding, checksum and removal`, () =>
      compare(buildPe(options), 'sha256'));

  it('with SHA-384 and SHA-512', async () => {
    await compare(buildPe({ overlay: filler(3) }), 'sha384');
    await compare(buildPe({ overlay: filler(3) }), 'sha512');
  });

  it('every unsigned real program', async () => {
    for (const { name, path, signed } of await programs())
      if (!signed)
        await compare(await readFile(path), 'sha256').catch((error) =>
          Promise.reject(new Error(name, { cause: error })),
        );
  });

  it('signed real programs have the digest that their publisher signed', async () => {
    for (const { path, signed, name } of await programs()) {
      if (!signed) continue;
      const opened = await open(await readFile(path));
      const { contentType, content } = parseSignedData(opened.signatures[0] ?? assert.fail(), name);
      const der = content?.raw ?? assert.fail();
      const { hash, digest } = readIndirectData({ type: contentType, der }, name);
      assert.deepEqual(await opened.digest(hash), digest, name);
    }
  });

  it('is the original again after removal if its checksum was right and 8 divides its length', async () => {
    const original = buildPe({ checksum: 'right', overlay: filler(40) });
    const signed = await open(await signedByOthers(original, 'sha256'));
    assert.ok((await bytesOf(await signed.remove())).equals(original));
  });

  it('of another length keeps the zero bytes that signing added', async () => {
    const original = buildPe({ checksum: 'right', overlay: filler(35) });
    const signed = await open(await signedByOthers(original, 'sha256'));
    const removed = await bytesOf(await signed.remove());
    assert.equal(removed.length, original.length + 5);
    removed.writeUInt32LE(original.readUInt32LE(peLayout().checksum), peLayout().checksum);
    assert.ok(removed.equals(Buffer.concat([original, Buffer.alloc(5)])));
  });

  for (const checksum of ['right', 0] as const)
    for (const overlay of [0, 35, 40])
      it(`has the original among its unsigned forms: checksum ${checksum}, overlay of ${overlay} bytes`, async () => {
        const original = buildPe({ checksum, overlay: filler(overlay) });
        const signed = await open(await signedByOthers(original, 'sha256'));
        const forms = await Promise.all((await signed.unsignedForms(original.length)).map(bytesOf));
        assert.ok(forms.some((form) => form.equals(original)));
      });

  it('has no unsigned form of a length that signing does not explain', async () => {
    const original = buildPe({ overlay: filler(40) });
    const signed = await open(await signedByOthers(original, 'sha256'));
    for (const size of [0, 100, original.length - 8, original.length + 1, 2 ** 40])
      assert.deepEqual(await signed.unsignedForms(size), []);
  });
});

describe('a PE file', () => {
  it('has the checksum that a plain sum yields, real programs too', async () => {
    for (const name of ['launcher-x64.exe', 'nsis-installer.exe', 'systemd-boot.efi', 'tray.exe']) {
      const bytes = await readFile((await program(name)).path);
      const { stored, computed } = (await (await open(bytes)).checksum()) ?? assert.fail();
      const at = peLayout({ headerOffset: bytes.readUInt32LE(0x3c) }).checksum;
      assert.equal(computed, peChecksum(bytes, { checksum: at }), name);
      assert.equal(stored, bytes.readUInt32LE(at));
    }
  });

  it('is recognised by its content, from its first bytes', async () => {
    for (const { path, name } of await programs())
      assert.equal(recognizeHead((await readFile(path)).subarray(0, HEAD_SIZE), name), 'program', name);
    const dos = Buffer.alloc(512);
    dos.write('MZ');
    for (const bytes of [Buffer.alloc(0), Buffer.from('MZ'), dos])
      assert.equal(recognizeHead(bytes, 'a.exe'), null);
    assert.equal(recognizeHead(Buffer.from('PK\x03\x04'.padEnd(99)), 'a.exe'), 'unsure');
  });

  it('names the structure of each byte', async () => {
    const sections = [
      { name: '.text', data: filler(600) },
      { name: 'a\nb', data: filler(10) },
    ];
    const opened = await open(
      buildPe({ sections, overlay: filler(3), certificates: winCertificate(SIGNATURE) }),
    );
    const { checksum, certificateEntry } = peLayout();
    const places = [0x3c, 0x40, 0x84, checksum, certificateEntry + 7, 0x200 + 5, 0x600, 0x802];
    assert.deepEqual(
      places.map((at) => locate(opened.layout, at)),
      [
        'DOS header, byte 0x3c',
        'DOS stub, byte 0x0',
        'PE header, byte 0x4',
        'CheckSum field',
        'certificate directory entry',
        'section .text, byte 0x5',
        'section a\\x0ab, byte 0x0',
        'overlay, byte 0x2',
      ],
    );
    assert.equal(locate(opened.layout, opened.bodyEnd), 'certificate table, byte 0x0');
  });

  it('is read in chunks of a mebibyte at most, and once for digest and embedding together', async () => {
    const bytes = buildPe({ overlay: filler(3 * 1024 * 1024 + 5) });
    let [total, largest] = [0, 0];
    const counting: ByteSource = {
      size: bytes.length,
      name: 'program.exe',
      // eslint-disable-next-line require-await -- the interface is asynchronous
      async read(offset, length) {
        total += length;
        largest = Math.max(largest, length);
        return bytes.subarray(offset, offset + length);
      },
    };
    const opened = await openSignableFile(counting);
    await opened.digest('sha256');
    await opened.embed(SIGNATURE);
    assert.equal(largest, 1024 * 1024);
    assert.ok(total < bytes.length + 16 * 1024, `${total} bytes read of ${bytes.length}`);
  });

  it('may count its padding in dwLength or not, and may lack it at the end of the file', async () => {
    const unpadded = winCertificate(SIGNATURE, { length: 8 + SIGNATURE.length });
    const cut = unpadded.subarray(0, 8 + SIGNATURE.length);
    for (const certificates of [winCertificate(SIGNATURE), unpadded, cut]) {
      const opened = await open(buildPe({ certificates }));
      assert.deepEqual(opened.signatures, [SIGNATURE]);
      assert.deepEqual(opened.unauthenticatedData, []);
    }
  });
});

const findings = async (certificates: Buffer): Promise<string[]> =>
  (await open(buildPe({ certificates }))).unauthenticatedData.map(({ code }) => code);

/** A table whose one entry has these bytes after the signature. */
const hidden = (...extra: number[]): Buffer => winCertificate(Buffer.from([...SIGNATURE, ...extra]));

describe('a certificate directory with an offset and no size', () => {
  for (const offset of [8, 1536, 0xfffffff0])
    it(`means no signature, whatever the offset: ${offset}`, async () => {
      const odd = buildPe({ certificateDirectory: { offset, size: 0 } });
      const pe = await open(odd);
      assert.deepEqual(pe.signatures, []);
      assert.equal(pe.bodyEnd, odd.length);
      const [digest, plain] = [await pe.digest('sha256'), await (await open(buildPe())).digest('sha256')];
      assert.deepEqual(digest, plain);
      const signed = await open(await bytesOf(await pe.embed(SIGNATURE)));
      assert.deepEqual(signed.signatures, [SIGNATURE]);
    });
});

describe('other data in a certificate table is a finding', () => {
  it('table-several-entries: another entry, of any type', async () => {
    const second = winCertificate(filler(20), { type: 0xef1 });
    assert.deepEqual(await findings(Buffer.concat([winCertificate(SIGNATURE), second])), [
      'table-several-entries',
    ]);
    const both = await open(buildPe({ certificates: Buffer.concat([second, winCertificate(SIGNATURE)]) }));
    assert.deepEqual(both.signatures, [SIGNATURE], 'the first that is PKCS#7 counts');
  });

  it('nothing, in a UEFI program with several signatures', async () => {
    const shim = await open(await readFile((await program('shim-signed.efi')).path));
    assert.deepEqual(shim.unauthenticatedData, []);
    assert.equal(shim.signatures.length, 2);
  });

  it('table-trailing-bytes: anything but up to seven zero bytes after the signature (CVE-2013-3900)', async () => {
    assert.deepEqual(await findings(hidden(0, 0, 0, 0, 1)), ['table-trailing-bytes']);
    assert.deepEqual(await findings(hidden(...filler(100))), ['table-trailing-bytes']);
    assert.deepEqual(await findings(hidden(...Buffer.alloc(16))), ['table-trailing-bytes']);
    assert.deepEqual(await findings(hidden(0, 0, 0)), []);
  });
});

/** A copy with a 16- or 32-bit field set. */
function poke(file: Buffer, at: number, value: number, size: 2 | 4 = 4): Buffer {
  const copy = Buffer.from(file);
  copy.writeUIntLE(value, at, size);
  return copy;
}

/** A file that is mostly zeros: its beginning, then zeros up to `size`. */
const vast = (bytes: Buffer, size: number): ByteSource => ({
  size,
  name: 'program.exe',
  // eslint-disable-next-line require-await -- the interface is asynchronous
  async read(offset, length) {
    const result = Buffer.alloc(length);
    bytes.copy(result, 0, offset);
    return result;
  },
});

const WELL = buildPe();
const AT = peLayout();
const TABLE = winCertificate(SIGNATURE);

const REFUSED: Record<string, Record<string, Buffer>> = {
  'not-signable': {
    'a text': Buffer.from('plain text'.repeat(20)),
    nothing: Buffer.alloc(0),
    'a DOS program': poke(WELL, AT.header, 0x454e),
  },
  'pe-header-misplaced': { 'an odd offset': buildPe({ headerOffset: 0x81 }) },
  'pe-truncated': {
    'cut in its headers': WELL.subarray(0, AT.header + 8),
    'cut in its optional header': WELL.subarray(0, AT.checksum),
    'cut in its section table': WELL.subarray(0, AT.sectionTable + 20),
    'cut in its last section': WELL.subarray(0, -1),
    'headers larger than the file': poke(WELL, AT.optionalHeader + 60, 0x10000),
  },
  'pe-optional-header-magic': {
    'a ROM image': poke(WELL, AT.optionalHeader, 0x107, 2),
    'no optional header': poke(WELL, AT.header + 20, 0, 2),
  },
  'pe-optional-header-size': {
    'a stub of an optional header': poke(WELL, AT.header + 20, 100, 2),
    'more directories than fit': buildPe({ directories: 8, claimedDirectories: 9 }),
    'absurdly many directories': buildPe({ claimedDirectories: 0xffffffff }),
  },
  'pe-no-certificate-directory': {
    'four directories': buildPe({ directories: 4 }),
    'no directories': buildPe({ claimedDirectories: 0 }),
  },
  'pe-table-out-of-range': {
    'in the headers': buildPe({ certificateDirectory: { offset: 8, size: 1528 } }),
    'past the end': buildPe({ certificateDirectory: { offset: 1536, size: 8 } }),
    'cut short': buildPe({ certificates: TABLE }).subarray(0, -8),
    'a size without an offset': buildPe({ certificateDirectory: { offset: 0, size: 8 } }),
    'an offset that overflows': buildPe({ certificateDirectory: { offset: 0xfffffff8, size: 0x608 } }),
  },
  'pe-table-misaligned': {
    'at a multiple of four': buildPe({
      overlay: filler(12),
      certificateDirectory: { offset: 1540, size: 8 },
    }),
  },
  'pe-table-not-at-end': {
    'something appended': buildPe({ certificates: TABLE, afterCertificates: filler(8) }),
  },
  'pe-section-in-table': {
    'a section that reaches into it': poke(buildPe({ certificates: TABLE }), AT.sectionTable + 16, 0x400 + 8),
  },
  'pe-table-corrupt': {
    'dwLength less than its header': buildPe({ certificates: winCertificate(SIGNATURE, { length: 7 }) }),
    'dwLength beyond the table': buildPe({ certificates: winCertificate(SIGNATURE, { length: 99 }) }),
    'no DER in it': buildPe({ certificates: winCertificate(Buffer.from([0x30, 0x80, 0, 0])) }),
    'too short for an entry': buildPe({ certificates: Buffer.concat([TABLE, Buffer.alloc(4)]) }),
  },
  'pe-table-foreign': {
    'an X.509 entry': buildPe({ certificates: winCertificate(SIGNATURE, { type: 1 }) }),
    'revision 1.0': buildPe({ certificates: winCertificate(SIGNATURE, { revision: 0x100 }) }),
  },
};

describe('a PE file is refused', () => {
  for (const [code, cases] of Object.entries(REFUSED))
    for (const [why, bytes] of Object.entries(cases))
      it(`${code}: ${why}`, async () => {
        const refusal = { code, kind: 'invalid', message: /^program\.exe: / };
        await assert.rejects(openSignableFile(source(bytes)), refusal);
      });

  it('pe-header-misplaced: inside the DOS header', async () => {
    await assert.rejects(openPe(source(poke(WELL, 0x3c, 4))), { code: 'pe-header-misplaced' });
  });

  it('pe-too-large: more than 4 GiB, signed or to be signed', async () => {
    await assert.rejects(openSignableFile(vast(WELL, 0x1_0000_0000)), { code: 'pe-too-large' });
    const opened = await openSignableFile(vast(WELL, 0xffffffff));
    await assert.rejects(opened.embed(SIGNATURE), { code: 'pe-too-large' });
  });

  it('pe-table-too-large: a table of more than 16 MiB', async () => {
    const size = 1536 + 0x1000008;
    const claim = buildPe({ certificateDirectory: { offset: 1536, size: 0x1000008 } });
    await assert.rejects(openSignableFile(vast(claim, size)), { code: 'pe-table-too-large' });
  });

  it('pe-table-too-large: a signature that makes a table which could not be read again', async () => {
    const signature = Buffer.alloc(MAX_TABLE - 8);
    Buffer.from('3083', 'hex').copy(signature);
    signature.writeUIntBE(signature.length - 5, 2, 3);
    const file = await open(buildPe());
    const largest = await open(await bytesOf(await file.embed(signature)));
    assert.equal(largest.signatures[0]?.length, signature.length);
    const more = Buffer.concat([signature, Buffer.alloc(8)]);
    more.writeUIntBE(more.length - 5, 2, 3);
    await assert.rejects(file.embed(more), { code: 'pe-table-too-large' });
  });

  it('pe-not-signed: no signature to remove', async () => {
    const opened = await open(WELL);
    await assert.rejects(opened.remove(), { code: 'pe-not-signed' });
  });
});

/** A fixed sequence of numbers below a bound, each run the same. */
function sequence(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** Opens, or refuses with an error of its own; what it opens it can also sign, and read back. */
async function opensOrRefuses(bytes: Buffer): Promise<boolean> {
  try {
    const opened = await open(bytes);
    const digest = await opened.digest('sha256');
    const again = await open(await bytesOf(await opened.embed(SIGNATURE)));
    assert.deepEqual(again.signatures, [SIGNATURE]);
    assert.deepEqual(await again.digest('sha256'), digest);
    return true;
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    assert.equal(error.kind, 'invalid');
    return false;
  }
}

describe('a broken PE file is only refused', () => {
  const signed = buildPe({ overlay: filler(8), certificates: TABLE });

  it('cut anywhere', async () => {
    for (let length = 0; length < signed.length; length++)
      assert.equal(await opensOrRefuses(signed.subarray(0, length)), false, `at ${length}`);
  });

  it('with bytes of its headers and its table changed at random', async () => {
    const next = sequence(20);
    let opened = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(signed);
      for (let changes = 1 + next(3); changes > 0; changes--) {
        const at = next(2) ? next(AT.sectionTable + 40) : bytes.length - 1 - next(TABLE.length);
        bytes[at] = next(4) ? next(256) : ([0, 1, 0x7f, 0x80, 0xff][next(5)] ?? 0);
      }
      if (await opensOrRefuses(bytes)) opened++;
    }
    assert.ok(opened > 300 && opened < 2990, `${opened} of 3000 opened`);
  });
});

describe('osslsigncode computes the same checksum', () => {
  it('in a file with an embedded signature', async () => {
    await inFolder(async (folder) => {
      const file = join(folder, 'signed.exe');
      for (let extra = 0; extra < 8; extra++) {
        const opened = await open(buildPe({ overlay: filler(extra) }));
        const bytes = await bytesOf(await opened.embed(SIGNATURE));
        await writeFile(file, bytes);
        const { text } = await tool('osslsigncode', 'verify', '-in', file);
        const stored = bytes.readUInt32LE(AT.checksum).toString(16).toUpperCase().padStart(8, '0');
        assert.match(text, new RegExp(`^PE checksum   : ${stored}$`, 'm'));
      }
    });
  });
});
