/** What `wait` accepts without the original, and what it compares with it: a request may pin less than a whole file. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { after, before, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { Hostile, receiptFor } from '../../world/hostile.ts';
import { assertRefused, World, type Ended } from '../../world/site.ts';

const run = promisify(execFile);
const program = (seed: number): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(2000, seed) }] });

let world: World;
let host: Hostile;
before(async () => {
  world = await World.start();
  // This exchange cannot copy within itself, so a zip of pinned programs is transferred whole.
  await world.withoutSsh();
  await world.reconfigure((text) => text.replace(/^trust:\n/m, 'trust:\n  pins: accept-unpinned\n'));
  host = new Hostile(world);
});
after(() => world.stop());
beforeEach(() => rm(world.at('out'), { recursive: true, force: true }));

const nothingTaken = async (): Promise<void> =>
  assert.deepEqual(await readdir(world.at('out')).catch(() => []), []);

async function assertNothing(ended: Ended, code: string, says: RegExp): Promise<void> {
  assertRefused(ended, 3, code, says);
  await nothingTaken();
}

/** A zip of the builder, and its path. */
async function makeZip(name: string, seed: number): Promise<string> {
  const path = world.at(name);
  await writeFile(path, await host.zip(seed));
  return path;
}

/** The owner of the exchange adds a script to a zip there. */
async function slipIn(name: string): Promise<void> {
  await writeFile(world.at('install.cmd'), 'echo evil\r\n');
  await run('zip', ['-q', world.exchange('incoming', name), 'install.cmd'], { cwd: world.at() });
}

/** A request that pins only the programs of a zip; `change` alters the exchange before the signer polls. */
async function sparsely(name: string, seed: number, change?: () => Promise<void>): Promise<[string, string]> {
  const zip = await makeZip(name, seed);
  const request = await world.submit([zip], '--sparse');
  await change?.();
  await world.poll();
  const receipt = await receiptFor(world, request);
  assert.equal(receipt.outcome, 'signed', receipt.reason?.message);
  return [request, zip];
}

/** A request that names a file and pins nothing of it. */
async function bare(name: string, path: string): Promise<string> {
  await mkdir(world.exchange('incoming'), { recursive: true });
  await copyFile(path, world.exchange('incoming', name));
  const request = await host.commit({ files: { zipname: `${name}\n` } });
  await host.signs(request);
  return request;
}

describe('wait, if the request pins programs and not their zip', () => {
  it('original-needed: also if the signer saw the whole zip, since it may not be the one submitted', async () => {
    const [request, zip] = await sparsely('slipped.zip', 1, () => slipIn('slipped.zip'));
    const { files } = (await receiptFor(world, request)) as unknown as { files: { seen: string }[] };
    assert.equal(files[0]?.seen, 'whole');
    await assertNothing(await world.wait(request), 'original-needed', /--original FILE/);
    const proved = await world.wait(request, '--original', zip);
    await assertNothing(proved, 'signed-file-differs', /the signer fetched another file/);
  });

  it('pins what the signer says it signs, unless --files names other files', async () => {
    const files = (patterns: string): Promise<void> =>
      world.reconfigure((text) => text.replace(/^signing:\n(?: {2}files: .*\n)?/m, `signing:\n${patterns}`));
    await files("  files: ['**/*.exe', '**/*.sys']\n");
    await world.poll();
    await writeFile(world.at('driver.sys'), program(9));
    await writeFile(world.at('driver.zip'), await host.zip(9));
    await run('zip', ['-q', 'driver.zip', 'driver.sys'], { cwd: world.at() });
    await world.submit([world.at('driver.zip')], '--sparse');
    const pinned = (await world.git('show', 'main:zipname')).match(/(?<=!\/).*/g);
    assert.deepEqual(pinned?.sort(), ['app.exe', 'driver.sys']);
    await world.poll();
    assert.match(await world.git('log', '-1', '--format=%s', 'signed'), /signed driver\.zip: 2 of 3 files/);
    await files('');
  });

  it('accepts it with the submitted original', async () => {
    const [request, zip] = await sparsely('honest.zip', 2);
    const ended = await world.wait(request, '--original', zip);
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, /proved/);
  });

  it('receipt-other-bytes: the receipt is about another program than the pinned one', async () => {
    const [request, zip] = await sparsely('program.zip', 3);
    const text = await world.git('show', 'signed:receipt.json');
    const receipt = JSON.parse(text) as { files: { signed: { before: { sha256: string } }[] }[] };
    const pin = receipt.files[0]?.signed[0]?.before.sha256 ?? '';
    assert.ok((await world.git('show', 'main:zipname')).includes(pin));
    const genuine = await world.git('rev-parse', 'signed');
    await host.commit({
      branch: 'signed',
      parents: [await world.git('rev-parse', 'signed~1'), request],
      files: { 'receipt.json': text.replaceAll(pin, 'ab'.repeat(32)) },
      key: world.at('keys', 'receipts_ed25519'),
    });
    const ended = await world.wait(request, '--original', zip);
    await host.set('signed', genuine);
    await assertNothing(ended, 'receipt-other-bytes', /program\.zip!\/app\.exe.*pinned/);
  });
});

describe('wait, if the request names a file and pins nothing', () => {
  it('original-needed: of a zip', async () => {
    const zip = await makeZip('bare.zip', 4);
    const request = await bare('bare.zip', zip);
    await assertNothing(await world.wait(request), 'original-needed', /--original FILE/);
    assert.equal((await world.wait(request, '--original', zip)).status, 0);
  });

  it('original-needed: of a single program', async () => {
    const path = world.at('bare.exe');
    await writeFile(path, program(5));
    const request = await bare('bare.exe', path);
    await assertNothing(await world.wait(request), 'original-needed', /--original FILE/);
    assert.equal((await world.wait(request, '--original', path)).status, 0);
  });

  it('signed-file-differs: the exchange replaced a single program before the signer fetched it', async () => {
    const [mine, theirs] = [world.at('swapped.exe'), world.at('theirs.exe')];
    await writeFile(mine, program(6));
    await writeFile(theirs, program(7));
    const request = await bare('swapped.exe', theirs);
    const ended = await world.wait(request, '--original', mine);
    await assertNothing(ended, 'signed-file-differs', /another file than .*swapped\.exe/);
  });

  it('receipt-other-file: the receipt leaves out a file that the request names', async () => {
    const zip = await makeZip('one.zip', 8);
    await copyFile(zip, world.exchange('incoming', 'one.zip'));
    const request = await host.commit({ files: { zipname: 'one.zip\ntwo.zip\n' } });
    await copyFile(zip, world.exchange('incoming', 'two.zip'));
    await world.poll();
    const text = JSON.parse(await world.git('show', 'signed:receipt.json')) as { files: unknown[] };
    const genuine = await world.git('rev-parse', 'signed');
    await host.commit({
      branch: 'signed',
      parents: [await world.git('rev-parse', 'signed~1'), request],
      files: { 'receipt.json': JSON.stringify({ ...text, files: text.files.slice(0, 1) }) },
      key: world.at('keys', 'receipts_ed25519'),
    });
    const ended = await world.wait(request, '--original', zip);
    await host.set('signed', genuine);
    await assertNothing(ended, 'receipt-other-file', /does not name two\.zip/);
  });
});

describe('wait, with a program that unpacks to more than the default limits allow', () => {
  it('refuses it, and accepts it if the limits of builder.yaml are raised like the signer’s', async () => {
    const zip = world.at('bulky.zip');
    const bulky = buildPe({ sections: [{ name: '.text', data: Buffer.alloc(4_000_000) }] });
    await writeFile(world.at('bulky.exe'), bulky);
    await run('zip', ['-q', '-9', zip, 'bulky.exe'], { cwd: world.at() });
    const raised = 'limits: { ratio: 5000 }\n';
    await world.configure(raised);
    const request = await world.submit([zip], '--sparse', '--files', '**/*.exe').catch(() => null);
    assert.equal(request, null, 'the builder’s own limits hold for --sparse');
    await appendFile(world.site.builderConfig, raised);
    const accepted = await world.submit([zip], '--sparse', '--files', '**/*.exe');
    await world.poll();
    const taken = await world.wait(accepted, '--original', zip);
    assert.equal(taken.status, 0, taken.stderr);
  });
});
