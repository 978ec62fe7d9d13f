import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createZip } from '../../../src/lib/zip/create-zip.ts';
import { sha256Hex, sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { createTestCertificate } from '../../../src/sandbox/certificates.ts';
import { moduleProcesses } from '../../engine/keys/pkcs11/token-world.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { Hostile, receiptFor } from '../../world/hostile.ts';
import { World } from '../../world/site.ts';
import { PIN, SoftHsm } from '../../world/softhsm.ts';

const main = resolve(import.meta.dirname, '../../../dist/main.js');

/** Programs in the zip of a request that is interrupted: enough for the token to be busy for a while. */
const PROGRAMS = 20;

let hsm: SoftHsm;
let world: World;
let host: Hostile;
const codesign = { label: 'codesign', id: '01', type: 'rsa:2048' };
before(async () => {
  [hsm, world] = await Promise.all([SoftHsm.create(), World.start()]);
  host = new Hostile(world);
  await world.withoutSsh();
  await hsm.makeKey(codesign);
  await hsm.certify(codesign, {
    issuer: await createTestCertificate({ commonName: 'Root', purpose: 'authority' }),
  });
  await useToken('token=release;object=codesign');
});
after(() => Promise.all([hsm.remove(), world.stop()]));

const useToken = (path: string): Promise<void> =>
  world.reconfigure((text) =>
    text
      .replace(/^ {2}(?:pfx|key): (?:keys\/codesign|"pkcs11).*$/m, `  key: ${JSON.stringify(hsm.uri(path))}`)
      .replace(/^ {2}passphraseFile: keys\/passphrase\n/m, ''),
  );

/** A request for a zip with many programs. */
async function requestMany(name: string, seed: number): Promise<string> {
  const folder = world.at(`many-${seed}`);
  await mkdir(folder);
  const names = Array.from({ length: PROGRAMS }, (_, i) => `p${i}.exe`);
  for (const [i, each] of names.entries())
    await writeFile(
      join(folder, each),
      buildPe({ sections: [{ name: '.text', data: filler(600, seed * 1000 + i) }] }),
    );
  const zip = world.exchange('incoming', name);
  await createZip(
    names.map((each) => ({ name: each, path: join(folder, each) })),
    zip,
  );
  await rm(folder, { recursive: true });
  return host.commit({ files: { zipname: `${sha256Hex(await readFile(zip))}  ${name}\n` } });
}

async function assertSigned(request: string): Promise<void> {
  const receipt = await receiptFor(world, request);
  assert.equal(receipt.outcome, 'signed', JSON.stringify(receipt.reason));
  const [file] = receipt.files;
  assert.equal(await sha256OfFile(world.exchange('signed', file?.output?.name ?? '')), file?.output?.sha256);
}

const start = (): ChildProcess =>
  spawn(process.execPath, [main, 'watch', '-c', world.site.signerConfig, '--once'], { stdio: 'ignore' });

describe('a signer whose key is on a token', () => {
  it('that is killed while the token signs answers once, and leaves no process', async () => {
    for (const [point, delay] of [0, 100].entries()) {
      const request = await requestMany(`killed-${point}.zip`, point + 1);
      const signer = start();
      const exited = once(signer, 'exit');
      while (moduleProcesses(signer.pid).length === 0 && signer.exitCode === null) await sleep(5);
      const [child] = moduleProcesses(signer.pid);
      await sleep(delay);
      signer.kill('SIGKILL');
      await exited;
      await world.poll();
      await assertSigned(request);
      const left = await readFile(`/proc/${child?.pid}/cmdline`, 'latin1').catch(() => '');
      assert.doesNotMatch(left, /pkcs11-module/);
    }
  });

  it('goes on if the process of the module is killed in the middle of a request', async () => {
    const request = await requestMany('module-killed.zip', 10);
    await world.withSigner(async (signer) => {
      const polling = signer.poll();
      await sleep(100);
      for (const { pid } of moduleProcesses()) process.kill(pid, 'SIGKILL');
      await polling;
    });
    await assertSigned(request);
  });

  it('pin-wrong: fails a request if the PIN was changed meanwhile, and says what to do', async () => {
    const other = { token: 'other', label: 'codesign', id: '01', type: 'EC:secp256r1' };
    await hsm.addToken('other');
    await hsm.makeKey(other);
    await hsm.certify(other, {
      issuer: await createTestCertificate({ commonName: 'Root', purpose: 'authority' }),
    });
    await useToken('token=other');
    const request = await host.request('changed.zip');
    await world.withSigner(async (signer) => {
      await hsm.tool('other', '--change-pin', '--new-pin', '55667788');
      for (const { pid } of moduleProcesses()) process.kill(pid, 'SIGKILL');
      await signer.poll();
    });
    const { outcome, reason } = await receiptFor(world, request);
    assert.deepEqual([outcome, reason?.code], ['failed', 'pin-wrong']);
    assert.match(reason?.hint ?? '', /restarted/);
  });

  it('writes its PIN nowhere', async () => {
    const written = [
      JSON.stringify(world.logged),
      await world.git('log', '-p', '--all'),
      await readFile(world.site.signerConfig, 'utf8'),
    ].join('\n');
    assert.ok(!written.includes(PIN));
  });
});
