/** A receipt key that was retired, and what its thief can still do with the Git host and the exchange in hand. */
import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'node:test';
import { Hostile } from '../../world/hostile.ts';
import { World, type Ended } from '../../world/site.ts';

let world: World;
let host: Hostile;
/** The key that was good until the year 2026 began. */
let retired: string;
let genuine: string;
/** What the signer said of it. */
let genuineReceipt: string;
before(async () => {
  world = await World.start();
  await world.withoutSsh();
  host = new Hostile(world);
  genuine = await host.request('genuine.zip');
  await world.poll();
  genuineReceipt = await world.git('show', 'signed:receipt.json');
  const key = await host.key('receipts-old');
  retired = key.path;
  const line = `signer-old namespaces="git",valid-before="20260101Z" ${key.line}\n`;
  await appendFile(world.at('keys', 'receipt_signers'), line);
});
after(() => world.stop());

/** Puts the thief's answer to a request on the branch, dated as the thief likes. */
async function forge(request: string, name: string, date: string): Promise<void> {
  const model = genuineReceipt.replaceAll(genuine, request).replaceAll('genuine.zip', name);
  const receipt = JSON.parse(model) as { files: { input: { sha256: string } }[] };
  const line = await world.git('show', `${request}:zipname`);
  const [file] = receipt.files;
  assert.ok(file);
  file.input.sha256 = line.slice(0, 64);
  await host.commit({
    branch: 'signed',
    parents: [(await host.tip('signed')) ?? '', request],
    files: { 'receipt.json': JSON.stringify(receipt) },
    key: retired,
    date,
  });
  await writeFile(world.exchange('signed', name), await readFile(world.exchange('signed', 'genuine.zip')));
}

const refusedWith = (ended: Ended, code: string): void => {
  assert.equal(ended.status, 3, ended.stderr);
  assert.match(ended.stderr, new RegExp(`\\[${code}\\]`));
};

describe('wait takes no receipt of a retired key', () => {
  it('receipt-backdated: that answers a request of today and claims to be older', async () => {
    const request = await host.request('today.zip');
    await forge(request, 'today.zip', '2025-12-01T00:00:00Z');
    refusedWith(await world.wait(request), 'receipt-backdated');
  });

  it('commit-signer-expired: that answers it and says so', async () => {
    const request = await host.request('honest-date.zip');
    await forge(request, 'honest-date.zip', new Date().toISOString());
    refusedWith(await world.wait(request), 'commit-signer-expired');
  });

  it('commit-signer-expired: that comes for an old request while wait waits', async () => {
    const request = await host.request('old.zip', { date: '2025-11-01T00:00:00Z' });
    const waiting = world.wait(request);
    await sleep(3000);
    await forge(request, 'old.zip', '2025-12-01T00:00:00Z');
    refusedWith(await waiting, 'commit-signer-expired');
  });
});

describe('wait takes a receipt of a retired key', () => {
  it('that was there before, and is younger than its request', async () => {
    const request = await host.request('archived.zip', { date: '2025-11-01T00:00:00Z' });
    await forge(request, 'archived.zip', '2025-12-01T00:00:00Z');
    const { stderr } = await world.wait(request);
    assert.doesNotMatch(stderr, /receipt-backdated|commit-signer-expired/);
  });
});
