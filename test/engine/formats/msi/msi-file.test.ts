import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { proveOnlySignatureAdded } from '../../../../src/engine/authenticode/only-signature-added.ts';
import { signProgram, type SignOptions } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { openMsi, type MsiFile } from '../../../../src/engine/formats/msi/msi-file.ts';
import { METADATA_NAME, SIGNATURE_NAME } from '../../../../src/engine/formats/msi/signature-streams.ts';
import { openSignableFile, recognize } from '../../../../src/engine/formats/recognize.ts';
import { BufferSource } from '../../../../src/lib/bytes/byte-source.ts';
import { openCompoundFile } from '../../../../src/lib/compound-file/compound-file.ts';
import { updateCompoundFile } from '../../../../src/lib/compound-file/update.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { checkStructure } from '../../../lib/compound-file/check-structure.ts';
import { ROOT_CLSID, type MadeFile } from '../../../lib/compound-file/make-compound-file.ts';
import {
  bytesOf,
  inFolder,
  must,
  OpensslTimestamper,
  osslsigncode,
  osslsigncodeVerify,
  SIGNATURE_OK,
  source,
  TIMESTAMP_OK,
  tool,
  writeIdentity,
} from '../../authenticode/tools.ts';
import {
  buildMsi,
  filler,
  makeMsi,
  makeMsp,
  makeMst,
  packageRoot,
  ROOT_TIME,
  transform,
} from './make-msi.ts';

let pki: TestPki;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: true });
});

const open = (bytes: Buffer): Promise<MsiFile> => openMsi(source(bytes, 'setup.msi'));

async function sign(bytes: Buffer, options: Partial<SignOptions> = {}): Promise<Buffer> {
  const key = testSigningKey(pki.codeSigning);
  return bytesOf((await signProgram(await open(bytes), { key, timestamper: null, ...options })).content);
}

const problemsOf = async (bytes: Buffer): Promise<string[]> =>
  (await verifySignableFile(await open(bytes))).problems.map(({ code }) => code);

const edit = async (bytes: Buffer, write: Record<string, Buffer>): Promise<Buffer> => {
  const contents = Object.entries(write).map(([name, content]) => ({
    name,
    content: new BufferSource(content, name),
  }));
  return bytesOf(await updateCompoundFile(await openCompoundFile(source(bytes)), { write: contents }));
};

const rename = (bytes: Buffer, before: string, after: string): Buffer => {
  const changed = Buffer.from(bytes);
  changed.write(after, changed.indexOf(Buffer.from(before, 'utf16le')), 'utf16le');
  return changed;
};

describe('recognition', () => {
  const files: [what: string, bytes: () => Buffer][] = [
    ['a package', makeMsi],
    ['a patch', makeMsp],
    ['a transform', makeMst],
    // The directory then lies behind the cabinet, beyond the first 4 KiB.
    ['a package of version 4', () => makeMsi({ version: 4 })],
  ];
  for (const [what, bytes] of files)
    it(`is by the root, whatever the name: ${what}`, async () => {
      assert.equal((await openSignableFile(source(bytes(), 'file.bin'))).format, 'msi');
    });

  it('leaves documents of Office alone', async () => {
    const document = makeMsi({ root: packageRoot({ clsid: ROOT_CLSID.other }) });
    assert.equal(await recognize(source(document, 'letter.doc')), null);
    await assert.rejects(openSignableFile(source(document, 'letter.doc')), { code: 'not-signable' });
  });

  it('cfb-truncated: a package that is cut short is told from other files by its name', async () => {
    const cut = makeMsi().subarray(0, 3000);
    await assert.rejects(openSignableFile(source(cut, 'setup.msi')), { code: 'cfb-truncated' });
    await assert.rejects(openSignableFile(source(cut, 'letter.doc')), { code: 'not-signable' });
  });
});

describe('the digest of a package', () => {
  it('is this one, with names in the order of their bytes, and metadata first', async () => {
    assert.equal((await (await open(makeMsi())).digest('sha256')).toString('hex'), DIGESTS.msi);
    assert.equal((await (await open(makeMsp())).digest('sha256')).toString('hex'), DIGESTS.msp);
    assert.equal(
      (await (await open(makeMsp({ version: 4, list: true }))).digest('sha256')).toString('hex'),
      DIGESTS.msp,
    );
  });

  it('covers names, times, state bits and CLSIDs', async () => {
    const digests = new Set<string>();
    const [first, ...others] = packageRoot().children;
    const changes: Partial<MadeFile['root']>[] = [
      {},
      { clsid: ROOT_CLSID.msp },
      { state: 1 },
      { children: [{ ...first, name: '\u0005SummaryInformatioM' } as typeof first & object, ...others] },
      ...(['created', 'modified'] as const).map((field) => ({
        children: [...packageRoot().children, { ...transform, [field]: 5n }],
      })),
      ...[{ state: 5 }, { clsid: ROOT_CLSID.msi }, { name: '#RTM.2' }, {}].map((change) => ({
        children: [...packageRoot().children, { ...transform, ...change }],
      })),
    ];
    for (const change of changes)
      digests.add(
        (await (await open(makeMsi({ root: packageRoot(change) }))).digest('sha256')).toString('hex'),
      );
    assert.equal(digests.size, changes.length);
  });

  it('does not cover the time of the root', async () => {
    const other = makeMsi({ root: packageRoot({ modified: ROOT_TIME + 5n }) });
    assert.deepEqual(
      await (await open(other)).digest('sha256'),
      await (await open(makeMsi())).digest('sha256'),
    );
  });
});

/** osslsigncode computes the same, see `judged by others`. */
const DIGESTS = {
  msi: 'eb82b49170bb05bc990b4a2190d5439da02b101b3e0b7ae791f1aa7786468099',
  msp: '635dcdbf6432a88454161e45ff04c418562fa5c520798ad86017ab97476ca4e9',
};

describe('signing a package', () => {
  const files: [what: string, bytes: () => Buffer | Promise<Buffer>][] = [
    ['of version 3', () => buildMsi()],
    ['of version 4', () => buildMsi({ version: 4 })],
    ['with free places', () => makeMsi({ freeSectors: 20, freeMiniSectors: 40, unusedEntries: 5 })],
    [
      'without any small stream',
      () => makeMsi({ root: packageRoot({ children: [{ name: 'x', content: filler(9000) }] }) }),
    ],
    ['without any stream', () => makeMsi({ root: packageRoot({ children: [] }) })],
    ['a patch', () => makeMsp()],
  ];
  for (const [what, bytes] of files)
    for (const large of [false, true])
      it(`gives a sound file: ${what}, signature of ${large ? 'more' : 'fewer'} than 4096 bytes`, async () => {
        const original = await bytes();
        const signed = await sign(
          original,
          large ? { name: 'N'.repeat(1000), url: `https://a.example/${'u'.repeat(900)}` } : {},
        );
        const { streams } = checkStructure(signed);
        assert.equal((streams.get(SIGNATURE_NAME)?.length ?? 0) > 4096, large);
        assert.deepEqual(await problemsOf(signed), []);
        await proveOnlySignatureAdded(await open(original), await open(signed));
        streams.delete(SIGNATURE_NAME);
        assert.equal(streams.get(METADATA_NAME)?.length, 32);
        streams.delete(METADATA_NAME);
        assert.deepEqual(streams, checkStructure(original).streams);
        const removed = await bytesOf(await (await open(signed)).remove());
        assert.deepEqual(checkStructure(removed).streams, streams);
      });

  it('puts the time that is given into the root, else that of the timestamp, else of signing, else the old one', async () => {
    const time = new Date('2026-02-03T04:05:06.789Z');
    const rootTime = async (bytes: Buffer): Promise<number> =>
      Number((await open(bytes)).file.root.modified.readBigUInt64LE() / 10_000n) - 11_644_473_600_000;
    assert.equal(
      await rootTime(await sign(makeMsi(), { containerTime: time, signingTime: new Date(0) })),
      time.getTime(),
    );
    const second = new Date('2026-02-03T04:05:06Z');
    assert.equal(await rootTime(await sign(makeMsi(), { signingTime: second })), second.getTime());
    assert.equal(await rootTime(await sign(makeMsi())), await rootTime(makeMsi()));
    const stamped = await sign(makeMsi(), { timestamper: new OpensslTimestamper(pki.timestamping) });
    assert.ok(Math.abs((await rootTime(stamped)) - Date.now()) < 100_000);
    for (const bytes of [stamped, await sign(makeMsi(), { containerTime: time })]) {
      const file = await open(bytes);
      const detached = await file.detached(file.signatures[0] ?? assert.fail());
      assert.deepEqual(await bytesOf(await (await open(makeMsi())).attach(detached)), bytes);
    }
  });

  it('gives the same file when the signature is replaced by the same one', async () => {
    const original = await buildMsi({ version: 4 });
    const signed = await sign(original);
    const file = await open(signed);
    assert.deepEqual(await bytesOf(await file.embed(file.signatures[0] ?? assert.fail())), signed);
  });

  it('knows the unsigned file again, if its root had no time or the same one', async () => {
    const original = await buildMsi({ unusedEntries: 7 }, packageRoot({ modified: 0n }));
    const signed = await sign(original, { containerTime: new Date('2026-02-03T04:05:06Z') });
    const forms = await (await open(signed)).unsignedForms(original.length);
    assert.ok((await Promise.all(forms.map(bytesOf))).some((form) => form.equals(original)));
    assert.deepEqual(await (await open(signed)).unsignedForms(original.length + 1), []);
  });

  it('adds the metadata digest when it replaces a signature that had none; appended, it keeps without', async () => {
    const bytes = (await theirs(makeMsi(), [])).signed;
    assert.deepEqual(await problemsOf(bytes), []);
    const replaced = await sign(bytes, { existing: 'replace' });
    const appended = await sign(bytes, { existing: 'append' });
    for (const each of [replaced, appended]) assert.deepEqual(await problemsOf(each), []);
    assert.equal(checkStructure(replaced).streams.has(METADATA_NAME), true);
    assert.equal(checkStructure(appended, { redBlack: false }).streams.has(METADATA_NAME), false);
  });

  it('msi-append-digest: another algorithm beside the first', async () => {
    const signed = await sign(makeMsi());
    await assert.rejects(sign(signed, { existing: 'append', hash: 'sha384' }), { code: 'msi-append-digest' });
    assert.deepEqual(await problemsOf(await sign(signed, { existing: 'replace', hash: 'sha384' })), []);
  });
});

/** What osslsigncode signs. */
const theirs = (bytes: Buffer, options: readonly string[]): Promise<{ signed: Buffer }> =>
  inFolder(async (folder) => {
    await writeIdentity(folder, 'key', pki.codeSigning);
    const key = ['-certs', join(folder, 'key.crt'), '-key', join(folder, 'key.key')];
    return { signed: await osslsigncode('sign', bytes, '-h', 'sha256', ...options, ...key) };
  });

describe('a signed package is bad', () => {
  const cases: [code: string, what: string, change: (signed: Buffer) => Buffer | Promise<Buffer>][] = [
    ['file-digest-differs', 'another stream', (signed) => edit(signed, { new: filler(10) })],
    [
      'msi-metadata-digest',
      'another metadata digest',
      (signed) => edit(signed, { [METADATA_NAME]: filler(32) }),
    ],
    [
      'msi-metadata-digest',
      'a short metadata digest',
      (signed) => edit(signed, { [METADATA_NAME]: filler(20) }),
    ],
    [
      'msi-metadata-digest',
      'its metadata digest under a name that comes first',
      (signed) => rename(signed, METADATA_NAME, '\u0004'),
    ],
    ['msi-trailing-bytes', 'bytes behind its end', (signed) => Buffer.concat([signed, Buffer.from('a JAR')])],
    [
      'msi-trailing-bytes',
      'a whole sector behind its end',
      (signed) => Buffer.concat([signed, Buffer.alloc(512, 1)]),
    ],
    [
      'msi-hidden-zip',
      'the end of a zip in a free sector',
      (signed) => {
        const changed = Buffer.from(signed);
        changed.write('PK\u0005\u0006', 600, 'latin1');
        return changed;
      },
    ],
    ['msi-root', 'another name of the root', (signed) => rename(signed, 'Root Entry', 'R0ot')],
    [
      'msi-signature-trailing',
      'bytes behind the signature',
      async (signed) =>
        edit(signed, {
          [SIGNATURE_NAME]: Buffer.concat([
            (await open(signed)).signatures[0] ?? assert.fail(),
            Buffer.alloc(3),
          ]),
        }),
    ],
  ];
  let signed: Buffer;
  before(async () => {
    // Sectors stay free, since the mini stream has room.
    signed = await sign(makeMsi({ freeSectors: 9, freeMiniSectors: 40, unusedEntries: 3 }));
  });
  for (const [code, what, change] of cases)
    it(`${code}: ${what}`, async () => {
      const problems = await problemsOf(await change(signed));
      assert.ok(problems.includes(code), problems.join());
    });

  it('strip-unused-differs: something was written into a free sector', async () => {
    const original = makeMsi({ freeSectors: 9, freeMiniSectors: 40, unusedEntries: 3 });
    const changed = Buffer.from(signed);
    changed.write('hello', 600, 'latin1');
    assert.deepEqual(await problemsOf(changed), []);
    await assert.rejects(proveOnlySignatureAdded(await open(original), await open(changed)), {
      code: 'strip-unused-differs',
    });
  });
});

describe('a package is refused', () => {
  const inStorage = (name: string): Buffer =>
    makeMsi({
      root: packageRoot({ children: [{ ...transform, children: [{ name, content: filler(9) }] }] }),
    });
  const cases: [code: string, what: string, bytes: () => Buffer | Promise<Buffer>][] = [
    ['msi-signature-place', 'with a signature in a storage', () => inStorage(SIGNATURE_NAME)],
    ['msi-signature-place', 'with a metadata digest in a storage', () => inStorage(METADATA_NAME)],
    [
      'msi-signature-place',
      'with a signature in other letters',
      () => edit(makeMsi(), { '\u0005dIGITALsIGNATURE': filler(9) }),
    ],
    [
      'msi-signature-place',
      'with a storage of that name',
      () => makeMsi({ root: packageRoot({ children: [{ ...transform, name: SIGNATURE_NAME }] }) }),
    ],
    [
      'msi-signature-too-large',
      'with a signature of 5 MB',
      () => edit(makeMsi(), { [SIGNATURE_NAME]: Buffer.alloc(5_000_000) }),
    ],
    [
      'der-malformed',
      'with a signature that is none',
      () => edit(makeMsi(), { [SIGNATURE_NAME]: Buffer.from('3005', 'hex') }),
    ],
    [
      'der-malformed',
      'with an empty signature',
      () => edit(makeMsi(), { [SIGNATURE_NAME]: Buffer.alloc(0) }),
    ],
  ];
  for (const [code, what, bytes] of cases)
    it(`${code}: ${what}`, async () => assert.rejects(open(await bytes()), { code }));

  it('msi-not-signed: nothing to remove', async () =>
    assert.rejects((await open(makeMsi())).remove(), { code: 'msi-not-signed' }));

  for (const [code, detached] of [
    ['msi-detached', Buffer.from('30000402ffff', 'hex')],
    ['msi-detached', Buffer.from('30000500', 'hex')],
    ['der-malformed', Buffer.from('3005', 'hex')],
    ['der-malformed', Buffer.from('3000', 'hex')],
  ] as const)
    it(`${code}: attaching ${detached.toString('hex')}`, async () =>
      assert.rejects((await open(makeMsi())).attach(detached), { code }));
});

describe('judged by others', () => {
  it('osslsigncode verifies ours, and we what it signs, with and without metadata digest', async () => {
    const stamped = await sign(makeMsi({ version: 4 }), {
      timestamper: new OpensslTimestamper(pki.timestamping),
    });
    const text = await osslsigncodeVerify(stamped, pki.root);
    assert.match(text, SIGNATURE_OK);
    assert.match(text, TIMESTAMP_OK);
    for (const bytes of [makeMsi(), makeMsp({ version: 4 })])
      for (const options of [[], ['-add-msi-dse']]) {
        const { signed } = await theirs(bytes, options);
        assert.deepEqual(await problemsOf(signed), [], options.join());
        await proveOnlySignatureAdded(await open(bytes), await open(signed));
      }
  });

  it('msitools, libgsf and 7z read what we sign of a package by wixl; the database is the same', () =>
    inFolder(async (folder) => {
      const at = (name: string): string => join(folder, name);
      await writeFile(at('a.wxs'), WXS);
      await must('wixl', '-o', at('a.msi'), at('a.wxs'));
      const built = await readFile(at('a.msi'));
      const signed = await sign(built);
      assert.deepEqual(await problemsOf(signed), []);
      assert.deepEqual(await bytesOf(await (await open(signed)).remove()), built);
      await writeFile(at('s.msi'), signed);
      const dumps: string[] = [];
      for (const name of ['a', 's']) {
        await must('mkdir', at(name));
        await must(
          'sh',
          '-c',
          `cd '${at(name)}' && msidump -t -s ../${name}.msi && msiinfo suminfo ../${name}.msi > info`,
        );
        await must(
          'sh',
          '-c',
          `cd '${at(name)}' && rm -f _Streams/*DigitalSignature* && find . -type f ! -name '_Streams.idt' | sort | xargs sha256sum > ../${name}.sums`,
        );
        dumps.push(await readFile(at(`${name}.sums`), 'utf8'));
      }
      assert.ok((dumps[0]?.split('\n').length ?? 0) > 10);
      assert.equal(dumps[1], dumps[0]);
      assert.match(await must('7z', 't', at('s.msi')), /Everything is Ok/);
      const { text } = await tool('msiinfo', 'streams', at('s.msi'));
      assert.match(text, /DigitalSignature$/m);
      assert.match(text, /MsiDigitalSignatureEx$/m);
    }));
});

const WXS = `<?xml version="1.0"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi"><Product Id="12345678-1234-1234-1234-333333333333"
 UpgradeCode="12345678-1234-1234-1234-111111111111" Name="Example" Version="0.0.1" Manufacturer="Ex" Language="1033">
<Package InstallerVersion="200" Compressed="yes"/><Media Id="1" Cabinet="product.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="INSTALLDIR" Name="Example">
<Component Id="A" Guid="12345678-1234-1234-1234-222222222222"><File Id="F" Source="a.wxs"/></Component></Directory></Directory>
<Feature Id="D" Level="1"><ComponentRef Id="A"/></Feature></Product></Wix>
`;
