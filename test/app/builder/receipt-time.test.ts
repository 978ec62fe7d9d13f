/** A retired receipt key, and what a thief of it can still do with control of the Git host and the exchange. */
import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { before, describe, it } from 'node:test';
import { startHostile } from '../../world/hostile.ts';
import { assertRefused } from '../../world/site.ts';

const { world, host } = await startHostile();
/** The key that was valid until the beginning of 2026. */
let retired: string;
let genuine: string;
/** The signer's receipt for it. */
let genuineReceipt: string;
before(async () => {
  genuine = await host.request('genuine.zip');
  await world.poll();
  genuineReceipt = await world.git('show', 'signed:receipt.json');
  const key = await host.key('receipts-old');
  retired = key.path;
  const line = `signer-old namespaces="git",valid-before="20260101Z" ${key.line}\n`;
  await appendFile(world.at('keys', 'receipt_signers'), line);
});

/** Puts the thief's answer to a request on the branch, with any date. */
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

describe('wait refuses a receipt of a retired key', () => {
  it('receipt-backdated: it answers a request of today and claims to be older', async () => {
    const request = await host.request('today.zip');
    await forge(request, 'today.zip', '2025-12-01T00:00:00Z');
    assertRefused(await world.wait(request), 3, 'receipt-backdated');
  });

  it('commit-signer-expired: it answers the request and has the true date', async () => {
    const request = await host.request('honest-date.zip');
    await forge(request, 'honest-date.zip', new Date().toISOString());
    assertRefused(await world.wait(request), 3, 'commit-signer-expired');
  });

  it('commit-signer-expired: it arrives for an old request while wait is waiting', async () => {
    const request = await host.request('old.zip', { date: '2025-11-01T00:00:00Z' });
    const waiting = world.wait(request);
    await sleep(3000);
    await forge(request, 'old.zip', '2025-12-01T00:00:00Z');
    assertRefused(await waiting, 3, 'commit-signer-expired');
  });
});

describe('wait accepts a receipt of a retired key', () => {
  it('that existed before, and is newer than its request', async () => {
    const request = await host.request('archived.zip', { date: '2025-11-01T00:00:00Z' });
    await forge(request, 'archived.zip', '2025-12-01T00:00:00Z');
    const { stderr } = await world.wait(request);
    assert.doesNotMatch(stderr, /receipt-backdated|commit-signer-expired/);
  });
});
