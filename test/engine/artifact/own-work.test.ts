/** Signing what the same key has signed before, and verifying programs with several signers. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { requireNoExtraContent } from '../../../src/engine/authenticode/unauthenticated-data.ts';
import type { Timestamper } from '../../../src/engine/timestamp/client.ts';
import { addNested, parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../src/sandbox/certificates.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { verifyFile } from '../../../src/engine/artifact/verify-file.ts';
import { forge, LIMITS } from '../../lib/zip/zips.ts';
import { openBytes, OpensslTimestamper, osslsigncodeVerify, SIGNATURE_OK } from '../authenticode/tools.ts';
import { osslSigned, roots, trusting, withSignature } from '../authenticode/verify-maker.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { makeAuthority, makeCodeSigner } from '../../lib/x509/certificate-maker.ts';

const PROGRAM = buildPe({ checksum: 'right' });

let folder = '';
let rsa: TestPki;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-own-'));
  rsa = await createTestPki({ key: 'rsa2048', intermediate: true });
});
after(() => rm(folder, { recursive: true }));

type Options = Partial<SignArtifactOptions>;

const signing = (): SignArtifactOptions => ({
  key: testSigningKey(rsa.codeSigning),
  hash: 'sha256',
  timestamper: null,
  alreadySigned: 'keep',
  limits: LIMITS,
  scratch: folder,
  isOurs: () => true,
  roots: [rsa.root.certificate],
});

/** The program as signFile signs it, without a timestamp unless one is asked for. */
async function sign(program: Buffer, options: Options): Promise<Buffer> {
  const [input, output] = [join(folder, 'in.exe'), join(folder, 'out.exe')];
  await writeFile(input, program);
  await signFile(input, output, { ...signing(), ...options });
  return readFile(output);
}

const stamped = (): Options => ({
  timestamper: new OpensslTimestamper(rsa.timestamping),
  timestampRoots: [rsa.root.certificate],
});

const partsOf = async (program: Buffer): Promise<ReturnType<typeof parseSignature>> =>
  parseSignature((await openBytes(program)).signatures[0] ?? assert.fail(), 'it');

describe('signing again with the RSA key that signed before', () => {
  for (const first of ['untimestamped', 'timestamped'])
    for (const second of ['untimestamped', 'timestamped']) {
      const [was, is] = [first, second].map((each) => (each === 'timestamped' ? stamped : () => ({})));
      it(`replaces a signature: ${first}, then ${second}`, async () => {
        assert.ok(was && is);
        const signed = await sign(PROGRAM, was());
        const again = await sign(signed, { ...is(), alreadySigned: 'replace' });
        const { signer, timestamps, nested } = await partsOf(again);
        assert.deepEqual(signer.signature, (await partsOf(signed)).signer.signature);
        assert.equal(timestamps.length, second === 'timestamped' ? 1 : 0);
        assert.equal(nested.length, 0);
        assert.match(await osslsigncodeVerify(again, rsa.root), SIGNATURE_OK);
      });

      it(`appends to its own signature: ${first}, then ${second}`, async () => {
        assert.ok(was && is);
        const signed = await sign(PROGRAM, was());
        const again = await sign(signed, { ...is(), alreadySigned: 'append' });
        const { timestamps, nested } = await partsOf(again);
        const [one, another] = nested;
        assert.ok(one && !another);
        assert.equal(timestamps.length, first === 'timestamped' ? 1 : 0);
        assert.equal(parseSignature(one, 'it').timestamps.length, second === 'timestamped' ? 1 : 0);
        const output = await osslsigncodeVerify(again, rsa.root);
        assert.equal(output.match(new RegExp(SIGNATURE_OK, 'gm'))?.length, 2);
      });
    }
});

describe('a timestamper', () => {
  for (const name of ['app.exe', 'app.zip'])
    it(`is asked to refuse tokens with extra content: ${name}`, async () => {
      const [input, output] = [join(folder, name), join(folder, `signed-${name}`)];
      await writeFile(
        input,
        name.endsWith('.zip') ? forge([{ name: 'app.exe', content: PROGRAM }]) : PROGRAM,
      );
      const authority = new OpensslTimestamper(rsa.timestamping);
      const checks: unknown[] = [];
      const timestamper: Timestamper = {
        timestamp: (data, hash, check) => {
          checks.push(check);
          return authority.timestamp(data, hash);
        },
      };
      await signFile(input, output, { ...signing(), timestamper });
      assert.deepEqual(checks, [requireNoExtraContent]);
    });
});

describe('a program in a zip, verified with roots', () => {
  const ours = osslSigned({ program: PROGRAM });
  const theirs = osslSigned({
    program: PROGRAM,
    signer: makeCodeSigner({ name: 'Stranger', by: makeAuthority({ name: 'Elsewhere' }) }),
    chain: [],
    hash: 'sha1',
  });
  const signatureOf = async (program: Buffer): Promise<Buffer> =>
    (await openBytes(program)).signatures[0] ?? assert.fail();
  const inZip = async (program: Buffer): Promise<ReturnType<typeof verifyFile>> => {
    const path = join(folder, 'in.zip');
    await writeFile(path, forge([{ name: 'app.exe', content: program }]));
    return verifyFile(path, { ...trusting, roots: [...roots], limits: LIMITS, scratch: folder });
  };

  it('is another signer’s if none of its signatures leads to them', async () => {
    const { status, programs } = await inZip(await theirs);
    assert.equal(status, 'intact');
    assert.equal(programs[0]?.stranger, true);
  });

  it('is bad if another signer’s signature was added to ours, on either side', async () => {
    for (const [outer, inner] of [
      [await ours, await theirs],
      [await theirs, await ours],
    ] as const) {
      const both = addNested(await signatureOf(outer), await signatureOf(inner), 'it');
      const { status, programs } = await inZip(await withSignature(PROGRAM, both));
      assert.equal(status, 'bad');
      assert.deepEqual(
        programs.map(({ stranger, problems }) => [stranger, problems.map(({ code }) => code)]),
        [[undefined, ['certificate-chain-incomplete']]],
      );
    }
  });
});
