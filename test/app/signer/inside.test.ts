/** A channel that signs inside of containers: receipts, delivery, wait, attach, audit and provenance. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { shownPlace } from '../../../src/engine/artifact/inside/place.ts';
import type { ReceiptFile } from '../../../src/protocol/control/receipt-schema.ts';
import { cabOf } from '../../fixtures/cab.ts';
import { forge } from '../../lib/zip/zips.ts';
import { signpipe, World } from '../../world/site.ts';
import { program } from './test-signer.ts';

const zipOf = (files: Record<string, Buffer>): Buffer =>
  forge(Object.entries(files).map(([name, content]) => ({ name, content })));

const release = (seed: number): Buffer =>
  zipOf({
    'app.exe': program(seed),
    'tools.zip': zipOf({ 'bin/tool.exe': program(seed + 1), 'readme.txt': Buffer.from('read me') }),
    'drivers.cab': cabOf('driver.exe', program(seed + 2)),
    'other.zip': zipOf({ 'other.exe': program(seed + 3) }),
  });

const PLACES = ['app.exe', 'tools.zip!/bin/tool.exe', 'drivers.cab!/driver.exe', 'drivers.cab'];

describe('a channel with signing.inside: sign', () => {
  let world: World;
  before(async () => {
    world = await World.start();
    await world.reconfigure((text) =>
      text.replace(/^signing:\n/m, "signing:\n  inside: sign\n  files: ['**/*.exe', '**/*.cab']\n"),
    );
  });
  after(() => world.stop());

  /** Submits a file, polls, and returns the receipt's only file. */
  async function send(
    name: string,
    bytes: Buffer,
    ...flags: string[]
  ): Promise<{ request: string; file: ReceiptFile }> {
    await writeFile(world.at(name), bytes);
    const request = await world.submit([world.at(name)], ...flags);
    await world.poll();
    const receipt = await world.receipt();
    assert.equal(receipt.outcome, 'signed', receipt.reason?.message ?? '');
    const [file] = receipt.files;
    assert.ok(file);
    return { request, file };
  }

  /** The builder accepts the file. */
  async function accept(name: string, request: string): Promise<void> {
    const ended = await world.wait(request, '--original', world.at(name));
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, /proved/);
  }

  it('takes pinned containers, reads nothing else, and names programs by the containers around them', async () => {
    const flags = ['**/*.exe', '**/*.cab', 'tools.zip'].flatMap((each) => ['--files', each]);
    const { request, file } = await send('sparse.zip', release(10), '--sparse', ...flags);
    assert.equal(file.seen, 'entries');
    assert.deepEqual(file.signed.map(shownPlace), PLACES);
    assert.deepEqual(
      file.signed.map(({ inside }) => inside),
      [[], ['tools.zip'], ['drivers.cab'], []],
    );
    assert.deepEqual(file.leftAlone, [{ path: 'other.zip', why: 'nested-zip' }]);
    assert.match(await world.git('log', '-1', '--format=%s', 'signed'), /2 of 4 files, and 2 inside$/m);
    await accept('sparse.zip', request);
    const attached = await world.attach(world.at('sparse.zip'), request, world.at('again.zip'));
    assert.equal(attached.status, 0, attached.stderr);
    assert.deepEqual(
      await readFile(world.at('again.zip')),
      await readFile(world.exchange('signed', 'sparse.zip')),
    );
  });

  it('takes a container that is not in a zip; provenance speaks of what is inside, and verify checks it', async () => {
    await world.reconfigure((text) => `${text}provenance: true\n`);
    const { request, file } = await send('alone.cab', cabOf('a.exe', program(30)), '--no-pack');
    assert.deepEqual(
      file.signed.map(({ path, inside }) => [path, inside]),
      [
        ['a.exe', []],
        ['', []],
      ],
    );
    assert.match(await world.git('log', '-1', '--format=%s', 'signed'), /signed alone\.cab, and 1 inside$/m);
    await accept('alone.cab', request);
    const signed = world.exchange('signed', 'alone.cab');
    const verified = await signpipe([
      ...['verify', signed, '--provenance', `${signed}.intoto.jsonl`, '--json'],
      ...['--receipt-signers', world.at('keys', 'receipt_signers')],
    ]);
    assert.equal(verified.status, 0, verified.stdout);
    assert.match(await world.git('show', 'signed:policy.json'), /"inside": "sign"/);
  });

  it('and signing.pageHashes: true signs them in each PE file, also if only its bytes are read', async () => {
    await world.reconfigure((text) => text.replace(/^signing:\n/m, 'signing:\n  pageHashes: true\n'));
    const { request } = await send('paged.zip', zipOf({ 'app.exe': program(40) }), '--sparse');
    await accept('paged.zip', request);
    const verified = await signpipe([
      'verify',
      '--any-signer',
      '--json',
      world.exchange('signed', 'paged.zip'),
    ]);
    assert.equal(
      verified.stdout.match(/"the file has the sha256 digest and the page hashes \(sha256\)/g)?.length,
      1,
    );
    const attached = await world.attach(world.at('paged.zip'), request, world.at('paged-again.zip'));
    assert.equal(attached.status, 0, attached.stderr);
  });

  it('page-hashes-layout: rejects a program for which they cannot be written', async () => {
    const managed = program(50);
    managed.writeUInt32LE(0x2000, managed.readUInt32LE(0x3c) + 24 + 32);
    await writeFile(world.at('managed.exe'), managed);
    await world.submit([world.at('managed.exe')], '--no-pack');
    await world.poll();
    const { outcome, reason } = await world.receipt();
    assert.deepEqual([outcome, reason?.code], ['rejected', 'page-hashes-layout']);
    assert.match(reason?.message ?? '', /managed\.exe/);
  });

  it('inside-ambiguous: the same container twice, with something ours in one of them only', async () => {
    await world.reconfigure((text) =>
      text.replace("files: ['**/*.exe', '**/*.cab']", "files: ['a.cab!/*', '*.cab']"),
    );
    const cab = cabOf('a.exe', program(50));
    await writeFile(world.at('twice.zip'), zipOf({ 'a.cab': cab, 'b.cab': cab }));
    await world.submit([world.at('twice.zip')]);
    await world.poll();
    const { outcome, reason } = await world.receipt();
    assert.deepEqual([outcome, reason?.code], ['rejected', 'inside-ambiguous']);
  });

  it('audit finds nothing wrong with all that', async () => {
    const audit = await signpipe([
      ...['audit', '--repo', world.control],
      ...['--allowed-signers', world.at('keys', 'audit_signers')],
    ]);
    assert.equal(audit.status, 0, audit.stdout + audit.stderr);
  });
});

describe('a channel with the default, report', () => {
  let world: World;
  before(async () => {
    world = await World.start({ ssh: false });
    await world.reconfigure((text) =>
      text.replace(/^signing:\n/m, "signing:\n  files: ['**/*.exe', '**/*.cab']\n"),
    );
  });
  after(() => world.stop());

  it('names unsigned programs in signed containers: in log, receipt and wait', async () => {
    await writeFile(world.at('a.zip'), release(1));
    const request = await world.submit([world.at('a.zip')]);
    await world.poll();
    const [file] = (await world.receipt()).files;
    assert.deepEqual(file?.unsignedInside, [{ path: 'driver.exe', inside: ['drivers.cab'] }]);
    assert.ok(world.logged.some(({ msg }) => msg === 'a.zip: containers in it hold unsigned programs'));
    const ended = await world.wait(request);
    assert.match(ended.stdout, /drivers\.cab!\/driver\.exe {2}NOT SIGNED, inside of a container/);
  });
});
