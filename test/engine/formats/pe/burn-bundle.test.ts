import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { signFile } from '../../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions, SignedFile } from '../../../../src/engine/artifact/signed-artifact.ts';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { openPe, type PeFile } from '../../../../src/engine/formats/pe/pe-file.ts';
import { BufferSource } from '../../../../src/lib/bytes/byte-source.ts';
import { DEFAULT_LIMITS } from '../../../../src/lib/zip/limits.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildBundle, runEngine, type BurnOptions } from '../../../fixtures/burn.ts';
import { filler, peChecksum, peLayout } from '../../../fixtures/pe.ts';
import { bytesOf, inFolder, must, source, writeIdentity } from '../../authenticode/tools.ts';

const FIRST = filler(3001, 7);
const ATTACHED = [filler(2000, 8), filler(1001, 9)];

let pki: TestPki;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: false });
});

const open = (bytes: Buffer): Promise<PeFile> => openPe(source(bytes, 'setup.exe'));

async function signed(bytes: Buffer): Promise<Buffer> {
  const key = testSigningKey(pki.codeSigning);
  return bytesOf(
    (await signProgram(await open(bytes), { key, timestamper: null, existing: 'replace' })).content,
  );
}

/** The engine of a bundle, as it is taken out. */
async function engineOf(bundle: Buffer): Promise<Buffer> {
  const container = (await (await open(bundle)).container?.()) ?? assert.fail();
  const parts: Buffer[] = [];
  for await (const { content } of container.read(() => true))
    for await (const chunk of content) parts.push(chunk);
  return Buffer.concat(parts);
}

/** The bundle with another engine. */
async function withEngine(bundle: Buffer, engine: Buffer): Promise<Buffer> {
  const container = (await (await open(bundle)).container?.()) ?? assert.fail();
  return bytesOf(await container.replace(new Map([['engine.exe', new BufferSource(engine, 'engine.exe')]])));
}

const statusOf = async (bytes: Buffer): Promise<string> =>
  (await verifySignableFile(await open(bytes))).status;

describe('a bundle of WiX Burn', () => {
  it('has its engine inside: the stub with the first container, byte for byte', async () => {
    const bundle = buildBundle();
    const container = (await (await open(bundle)).container?.()) ?? assert.fail();
    assert.deepEqual(container.members, [{ path: 'engine.exe', size: 1536 + 3001 }]);
    assert.deepEqual(await engineOf(bundle), bundle.subarray(0, 1536 + 3001));
  });

  it('whose engine is signed, attached and signed, runs: the engine finds all containers and its own signature', async () => {
    for (const version of [2, 3]) {
      const bundle = buildBundle({ version });
      const engine = await signed(await engineOf(bundle));
      const attached = await withEngine(bundle, engine);
      for (const bytes of [attached, await signed(attached)]) {
        const { containers, cached, engineSize } = runEngine(bytes);
        assert.deepEqual(containers, [FIRST, ...ATTACHED]);
        assert.deepEqual(cached, engine, 'what Burn runs elevated is the engine as it was signed');
        assert.equal(engineSize, engine.length);
      }
      assert.equal(await statusOf(await signed(attached)), 'intact');
    }
  });

  it('has its engine attached as insignia does: fields in the section, none in the headers', async () => {
    const bundle = buildBundle();
    const engine = await signed(await engineOf(bundle));
    const attached = await withEngine(bundle, engine);
    const { checksum, certificateEntry } = peLayout();
    const expected = Buffer.concat([engine, ...ATTACHED]);
    engine.copy(expected, 1024 + 28, checksum, checksum + 4);
    engine.copy(expected, 1024 + 32, certificateEntry, certificateEntry + 8);
    expected.fill(0, checksum, checksum + 4).fill(0, certificateEntry, certificateEntry + 8);
    assert.deepEqual(attached, expected);
    assert.equal(expected.readUInt32LE(1024 + 28), peChecksum(engine));
  });

  it('without its engine signed would not run: burn-bundle', async () => {
    const broken = await bytesOf(await (await open(buildBundle())).embed(Buffer.from('3003020101', 'hex')));
    assert.notDeepEqual(runEngine(broken).containers[1], ATTACHED[0]);
    await assert.rejects(signed(buildBundle()), { code: 'burn-bundle', message: /engine/ });
  });

  it('without other containers, and an engine alone, are signed as any program', async () => {
    const lone = buildBundle({ attached: [] });
    const { containers } = runEngine(await signed(lone));
    assert.deepEqual(containers, [FIRST]);
    assert.equal((await open(lone)).container, undefined);
    assert.equal((await open(await engineOf(buildBundle()))).container, undefined);
  });

  it('that is signed gives its engine, which may be signed again', async () => {
    const bundle = buildBundle();
    const engine = await signed(await engineOf(bundle));
    const whole = await signed(await withEngine(bundle, engine));
    assert.deepEqual(await engineOf(whole), engine);
    assert.equal(await statusOf(await engineOf(whole)), 'intact');
    assert.deepEqual(
      await withEngine(whole, engine),
      await withEngine(bundle, engine),
      'without its signature',
    );
    const again = await signed(await engineOf(whole));
    assert.deepEqual(runEngine(await signed(await withEngine(whole, again))).cached, again);
  });

  it('whose engine another tool signed takes it in the same way', () =>
    inFolder(async (folder) => {
      await writeIdentity(folder, 'key', pki.codeSigning);
      const at = (name: string): string => join(folder, name);
      await writeFile(at('engine.exe'), await engineOf(buildBundle()));
      const key = ['-certs', at('key.crt'), '-key', at('key.key'), '-h', 'sha256'];
      await must('osslsigncode', 'sign', ...key, '-in', at('engine.exe'), '-out', at('signed.exe'));
      const engine = await readFile(at('signed.exe'));
      const whole = await signed(await withEngine(buildBundle(), engine));
      assert.deepEqual(runEngine(whole).cached, engine);
      assert.equal(await statusOf(whole), 'intact');
    }));

  it('takes no other engine: burn-bundle if it is not signed, else strip-…', async () => {
    const bundle = buildBundle();
    await assert.rejects(withEngine(bundle, await engineOf(bundle)), { code: 'burn-bundle' });
    const other = await engineOf(buildBundle({ first: filler(3001, 70) }));
    await assert.rejects(withEngine(bundle, await signed(other)), { code: 'strip-body-differs' });
    const longer = await engineOf(buildBundle({ first: filler(4001, 70) }));
    await assert.rejects(withEngine(bundle, await signed(longer)), { code: 'strip-length-differs' });
  });
});

describe('a bundle whose section .wixburn is not as WiX writes it', () => {
  const cases: Readonly<Record<string, BurnOptions>> = {
    'another magic': { magic: 0x00f14301 },
    'version 1': { version: 1 },
    'version 4': { version: 4 },
    'another format of containers': { format: 2 },
    'no container': { count: 0 },
    'more containers than the section has room for': { count: 117 },
    'vastly many containers': { count: 0xffffffff },
    'one container less than there are': { count: 2 },
    'one container more than there are': {
      count: 4,
      attached: [filler(8), filler(8), filler(8)],
      after: filler(9),
    },
    'a stub that ends before its sections': { stub: 1535 },
    'a stub beyond the file': { stub: 0xffffffff },
    'a stub that is longer than it is': { stub: 1600 },
    'bytes behind the containers': { after: filler(8) },
    'other bytes than zeros where padding would be': { after: filler(6) },
    'a signature before the end of the engine': { original: [1, 4528, 64] },
    'a signature far behind the engine': { original: [1, 4552, 64] },
    'a signature not at a multiple of eight': { original: [1, 4539, 64] },
    'a signature that is too short': { original: [1, 4544, 7] },
    'a signature that reaches beyond the file': { original: [1, 4544, 0xffffffff] },
    'a size of a signature without its offset': { original: [1, 0, 64] },
    'a section without room': { sectionSize: 51 },
  };
  for (const [what, options] of Object.entries(cases))
    it(`burn-bundle: ${what}`, async () => {
      const bundle = buildBundle({ ...options, pe: options.sectionSize ? { fileAlignment: 4 } : {} });
      const file = await open(bundle);
      assert.throws(() => file.requireSignable(), { code: 'burn-bundle' });
      assert.equal(file.container, undefined);
      await file.digest('sha256');
    });

  it('burn-bundle: a bundle cut anywhere behind its stub', async () => {
    const bundle = buildBundle();
    for (const size of [1536, 1600, 4536, 4546, 5000, bundle.length - 1])
      assert.throws(
        (await open(bundle.subarray(0, size))).requireSignable.bind(await open(bundle.subarray(0, size))),
        {
          code: 'burn-bundle',
        },
      );
  });
});

describe('signing a bundle', () => {
  const sign = (bundle: Buffer, options: Partial<SignArtifactOptions> = {}): Promise<[SignedFile, Buffer]> =>
    inFolder(async (folder) => {
      const at = (name: string): string => join(folder, name);
      await writeFile(at('setup.exe'), bundle);
      const signing: SignArtifactOptions = {
        key: testSigningKey(pki.codeSigning),
        hash: 'sha256',
        timestamper: null,
        alreadySigned: 'keep',
        inside: 'sign',
        isOurs: compilePatterns(['**/*.exe']),
        limits: DEFAULT_LIMITS,
        scratch: folder,
        ...options,
      };
      const result = await signFile(at('setup.exe'), at('out.exe'), signing);
      return [result, await readFile(at('out.exe'))];
    });

  it('signs its engine first, if what is inside is to be signed', async () => {
    const [{ signed: programs }, bytes] = await sign(buildBundle());
    assert.deepEqual(
      programs.map(({ path, inside }) => [path, inside]),
      [
        ['engine.exe', undefined],
        ['', undefined],
      ],
    );
    assert.deepEqual(runEngine(bytes).containers, [FIRST, ...ATTACHED]);
    assert.equal(await statusOf(runEngine(bytes).cached), 'intact');
    assert.equal(await statusOf(bytes), 'intact');
  });

  it('keeps an engine that is signed already', async () => {
    const bundle = buildBundle();
    const engine = await signed(await engineOf(bundle));
    const [{ signed: programs, kept }, bytes] = await sign(await withEngine(bundle, engine));
    assert.deepEqual([programs.length, kept.map(({ path }) => path)], [1, ['engine.exe']]);
    assert.deepEqual(runEngine(bytes).cached, engine);
  });

  it('burn-bundle: if the engine is not to be signed, and is not', async () => {
    for (const options of [
      { inside: 'report' },
      { inside: 'ignore' },
      { isOurs: compilePatterns(['**/setup.exe']) },
    ] as const)
      await assert.rejects(sign(buildBundle(), options), { code: 'burn-bundle' });
  });
});
