import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { createTestCertificate, keyToPem, testSigningKey, toPem } from '../../../src/sandbox/certificates.ts';
import { bytesOf, openBytes } from '../../engine/authenticode/tools.ts';
import { program, soundZip, startSigner } from './test-signer.ts';

const DAY = 86_400_000;

const signer = await startSigner({
  lines: 'channels: { brief: { signing: { certificate: keys/brief.pem, key: keys/brief.key } } }',
  prepare: async (world) => {
    const brief = await createTestCertificate({
      commonName: 'Brief publisher',
      purpose: 'code-signing',
      key: 'p256',
      issuer: world.site.pki.root,
      notAfter: new Date(Date.now() + DAY),
    });
    await writeFile(world.at('keys', 'brief.pem'), toPem([brief.certificate]));
    await writeFile(world.at('keys', 'brief.key'), keyToPem(brief.key));
  },
});

describe('requests that would keep the signer from answering others', () => {
  for (const [what, date, text] of [
    ['of the year 12000', '@316516464000 +0000', '12000-'],
    ['of a time beyond what Git itself can show', '@99999999999 +0000', '5138-11-16T09:46:39.000Z'],
  ] as const)
    it(`request-in-future: a commit ${what} waits, and others are answered`, async () => {
      const request = await signer.send('future.zip', soundZip(1), { date });
      await signer.signsNext();
      assert.deepEqual(await signer.receiptsFor(request), []);
      const waits = signer.logged.find(({ msg }) => msg.startsWith(`${request.slice(0, 12)}: it is dated`));
      assert.ok(waits?.msg.includes(text), waits?.msg);
    });

  it('a kept program whose signer has a name of 3,400 letters is reported with a shorter name', async () => {
    const verbose = await createTestCertificate({
      commonName: 'x'.repeat(3400),
      purpose: 'code-signing',
      key: 'p256',
      issuer: signer.world.site.pki.root,
    });
    const { content } = await signProgram(await openBytes(program(2)), {
      key: testSigningKey(verbose),
      timestamper: null,
    });
    const kept = { name: 'third-party/verbose.dll', content: await bytesOf(content) };
    const request = await signer.send('verbose.zip', soundZip(2, [kept]));
    await signer.signsNext();
    const { receipt } = await signer.receiptFor(request);
    assert.equal(receipt.outcome, 'signed', receipt.reason?.message);
    assert.match(receipt.files[0]?.kept[0]?.signer ?? '', /CN=x{300,}…$/);
  });

  it('internal-error: a bug of ours is reported in the receipt, its stack trace only in our log', async () => {
    const undo = signer.breakFetch('buggy.zip', () => {
      throw new TypeError("Cannot read properties of undefined (reading 'secret')");
    });
    await signer.refuses(await signer.send('buggy.zip', soundZip(4)), {
      outcome: 'failed',
      code: 'internal-error',
      says: /^the signer met an unexpected TypeError$/,
      hint: /a bug.*submit a new request/,
    });
    undo();
    const logged = signer.logged.find(({ code }) => code === 'internal-error');
    assert.match(JSON.stringify(logged), /Cannot read properties.*refusals-poison/);
  });

  it('signer-machine: a full disk of the signer is named, its paths are not', async () => {
    const undo = signer.breakFetch('large.zip', () => {
      const error = new Error("ENOSPC: no space left on device, write '/srv/signer/state'");
      throw Object.assign(error, { code: 'ENOSPC', syscall: 'write' });
    });
    await signer.refuses(await signer.send('large.zip', soundZip(5)), {
      outcome: 'failed',
      code: 'signer-machine',
      says: /^the signer's machine could not go on: ENOSPC$/,
      hint: /operator/,
    });
    undo();
  });

  it("certificate-expired: a channel's key expired while the signer ran; others are answered, the request waits", async () => {
    const undo = signer.setClock(() => new Date(Date.now() + 2 * DAY));
    const request = await signer.send('brief.zip', soundZip(6), { message: 'Sign it\n\nChannel: brief\n' });
    const sound = await signer.sendSound();
    const before = await signer.delivered();
    assert.equal((await signer.poll()).answered, 1);
    assert.equal((await signer.poll()).answered, 0);
    const said = signer.logged.filter(({ code }) => code === 'certificate-expired');
    assert.deepEqual(
      said.map(({ level }) => level),
      [50, 30],
      'an error for the channel and why the request waits, each once',
    );
    await signer.assertSigned(sound, before);
    assert.deepEqual(await signer.receiptsFor(request), []);
    undo();
    await signer.signs(request);
  });
});
