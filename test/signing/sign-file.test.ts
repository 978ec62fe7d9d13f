import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sha256OfFile } from '../../src/io/hash.ts';
import { createTestCertificate, testSigningKey } from '../../src/sandbox/certificates.ts';
import type { SignFileOptions } from '../../src/signing/sign-entries.ts';
import { signFile } from '../../src/signing/sign-file.ts';
import { buildPe, filler } from '../fixtures/pe.ts';

describe('signing a lone program', () => {
  let folder: string;
  let options: SignFileOptions;
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
      limits: { archive: 1e9, entries: 10, entry: 1e9, ratio: 200 },
      scratch: folder,
    };
  });
  after(() => rm(folder, { recursive: true }));

  it('says the digest of the file that it wrote', async () => {
    const [input, output] = [join(folder, 'a.exe'), join(folder, 'a.signed.exe')];
    await writeFile(input, buildPe({ overlay: filler(3_000_001) }));
    const signed = await signFile(input, output, options);
    assert.equal(signed.output.sha256, await sha256OfFile(output));
    assert.deepEqual(signed.output, signed.signed[0]?.after);
  });

  it('own-signature-bad: the program was written to between verification and delivery', async () => {
    const input = join(folder, 'b.exe');
    await writeFile(input, buildPe({ overlay: filler(3_000_001) }));
    const meddle = (done: number): void => {
      if (done !== 1) return;
      const file = openSync(input, 'r+');
      writeSync(file, 'x', 2_000_000);
      closeSync(file);
    };
    await assert.rejects(signFile(input, join(folder, 'b.signed.exe'), { ...options, onProgress: meddle }), {
      code: 'own-signature-bad',
    });
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes('b.signed')),
      [],
    );
  });
});
