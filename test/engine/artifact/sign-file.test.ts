import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sha256Hex, sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { createTestCertificate, testSigningKey } from '../../../src/sandbox/certificates.ts';
import type { SigningKey } from '../../../src/engine/keys/signing-key.ts';
import { proveFile } from '../../../src/engine/artifact/prove-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import { verifyFile } from '../../../src/engine/artifact/verify-file.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';

const limits = { archive: 1e9, entries: 10, entry: 1e9, ratio: 200 };

describe('signing a program that is not in a zip', () => {
  let folder: string;
  let options: SignArtifactOptions;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-sign-'));
    const identity = await createTestCertificate({
      commonName: 'Signer',
      purpose: 'code-signing',
      key: 'p256',
    });
    options = {
      key: testSigningKey(identity),
      hash: 'sha256',
      timestamper: null,
      alreadySigned: 'reject',
      isOurs: () => true,
      limits,
      scratch: folder,
    };
  });
  after(() => rm(folder, { recursive: true }));

  it('returns the digest of the file that it wrote', async () => {
    const [input, output] = [join(folder, 'a.exe'), join(folder, 'a.signed.exe')];
    await writeFile(input, buildPe({ overlay: filler(3_000_001) }));
    const signed = await signFile(input, output, options);
    assert.equal(signed.output.sha256, await sha256OfFile(output));
    assert.deepEqual(signed.output, signed.signed[0]?.after);
  });

  const changes = (path: string): void => {
    const file = openSync(path, 'r+');
    writeSync(file, 'x', 200_000);
    closeSync(file);
  };

  const leftBy = async (output: string): Promise<string[]> =>
    (await readdir(folder)).filter((name) => name.includes(output));

  /** A key that changes the program after it was hashed and before it is written. */
  const meddling = (input: string): SigningKey => {
    const { key } = options;
    return {
      certificates: key.certificates,
      algorithm: key.algorithm,
      sign: (hash, data) => {
        changes(input);
        return key.sign(hash, data);
      },
      close: () => key.close(),
    };
  };

  for (const hashed of [true, false])
    it(`own-signature-bad: the program was written to while it was signed${hashed ? '' : ', without a SHA-256'}`, async () => {
      const input = join(folder, 'b.exe');
      await writeFile(input, buildPe({ overlay: filler(3_000_001) }));
      const meddled = { ...options, hashed, key: meddling(input) };
      await assert.rejects(signFile(input, join(folder, 'b.signed.exe'), meddled), {
        code: 'own-signature-bad',
      });
      assert.deepEqual(await leftBy('b.signed'), []);
    });

  it('signs a small program as it was at the beginning, even if it is changed meanwhile', async () => {
    const [input, output, before] = ['f.exe', 'f.signed.exe', 'f.before.exe'].map((name) =>
      join(folder, name),
    );
    assert.ok(input && output && before);
    await writeFile(input, buildPe({ overlay: filler(300_001) }));
    await copyFile(input, before);
    const signed = await signFile(input, output, { ...options, key: meddling(input) });
    assert.notEqual(await sha256OfFile(input), await sha256OfFile(before));
    assert.equal(signed.signed[0]?.before.sha256, await sha256OfFile(before));
    assert.equal(signed.output.sha256, await sha256OfFile(output));
    await proveFile(before, output, options);
    assert.equal((await verifyFile(output, { limits, scratch: folder })).status, 'intact');
  });

  it('signs a large program the same way without its SHA-256', async () => {
    const [input, output] = [join(folder, 'g.exe'), join(folder, 'g.signed.exe')];
    await writeFile(input, buildPe({ overlay: filler(3_000_001) }));
    const { signed } = await signFile(input, output, { ...options, hashed: false });
    assert.deepEqual(
      signed.map(({ path }) => path),
      [''],
    );
    await proveFile(input, output, options);
    assert.equal((await verifyFile(output, { limits, scratch: folder })).status, 'intact');
  });

  it('delivers what it verified, even if the program is changed afterwards', async () => {
    const [input, output] = [join(folder, 'c.exe'), join(folder, 'c.signed.exe')];
    const program = buildPe({ overlay: filler(3_000_001) });
    await writeFile(input, program);
    const onProgress = (done: number): void => (done === 1 ? changes(input) : undefined);
    const signed = await signFile(input, output, { ...options, onProgress });
    assert.equal(signed.signed[0]?.before.sha256, sha256Hex(program));
    assert.equal(signed.output.sha256, await sha256OfFile(output));
    assert.equal((await verifyFile(output, { limits, scratch: folder })).status, 'intact');
  });

  it('leaves nothing of a longer signature that it replaces', async () => {
    const [input, first, second] = [join(folder, 'd.exe'), join(folder, 'd1.exe'), join(folder, 'd2.exe')];
    await writeFile(input, buildPe({ overlay: filler(300_001) }));
    const longer = await signFile(input, first, { ...options, name: 'long name '.repeat(90) });
    const signed = await signFile(first, second, { ...options, alreadySigned: 'replace' });
    assert.ok(signed.output.size < longer.output.size - 900);
    assert.equal((await verifyFile(second, { limits, scratch: folder })).status, 'intact');
    await proveFile(input, second, options);
  });

  it('signs a program onto itself', async () => {
    const input = join(folder, 'e.exe');
    await writeFile(input, buildPe({ overlay: filler(300_001) }));
    const signed = await signFile(input, input, options);
    assert.equal(signed.output.sha256, await sha256OfFile(input));
    assert.notEqual(signed.output.sha256, signed.signed[0]?.before.sha256);
  });
});
