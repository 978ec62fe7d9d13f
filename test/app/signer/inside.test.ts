/** A channel that signs inside of containers: receipts, delivery, wait, attach, audit and provenance. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { verifyFile } from '../../../src/engine/artifact/verify-file.ts';
import { shownPlace } from '../../../src/engine/artifact/inside/place.ts';
import type { Receipt, ReceiptFile } from '../../../src/protocol/control/receipt-schema.ts';
import { cabOf } from '../../fixtures/cab.ts';
import { forge, LIMITS } from '../../lib/zip/zips.ts';
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

/** A file to submit, and how. */
interface Submitted {
  readonly name: string;
  readonly bytes: Buffer;
  readonly channel?: string;
  readonly flags?: readonly string[];
}

/** All of it is submitted before the signer's only poll. */
const REQUESTS: readonly Submitted[] = [
  {
    name: 'sparse.zip',
    bytes: release(10),
    flags: ['--sparse', ...['**/*.exe', '**/*.cab', 'tools.zip'].flatMap((each) => ['--files', each])],
  },
  { name: 'alone.cab', bytes: cabOf('a.exe', program(30)), channel: 'stated', flags: ['--no-pack'] },
  {
    name: 'paged.zip',
    bytes: zipOf({ 'app.exe': program(40) }),
    channel: 'paged',
    flags: ['--sparse', '--files', '**/*.exe'],
  },
  { name: 'managed.exe', bytes: managed(), channel: 'paged', flags: ['--no-pack'] },
  {
    name: 'twice.zip',
    bytes: zipOf({ 'a.cab': cabOf('a.exe', program(50)), 'b.cab': cabOf('a.exe', program(50)) }),
    channel: 'only-a',
  },
  { name: 'reported.zip', bytes: release(1), channel: 'reports' },
];

const CONFIGURATION = `
channels:
  stated: { provenance: true }
  paged: { signing: { pageHashes: true } }
  only-a: { signing: { files: ['a.cab!/*', '*.cab'] } }
  reports: { signing: { inside: report } }
`;

/** A program with a CLI header, which page hashes are not written for. */
function managed(): Buffer {
  const bytes = program(50);
  bytes.writeUInt32LE(0x2000, bytes.readUInt32LE(0x3c) + 24 + 32);
  return bytes;
}

// The commands of the tests run beside each other, only for speed.
describe('a channel with signing.inside: sign', { concurrency: 3 }, () => {
  let world: World;
  const requests = new Map<string, string>();
  const receipts = new Map<string, Receipt>();

  before(async () => {
    world = await World.start();
    // Only for speed, Git does not go through SSH, which concerns no container; the files do.
    for (const path of [world.site.signerConfig, world.site.builderConfig]) {
      const text = await readFile(path, 'utf8');
      await writeFile(path, text.replace(/^ {2}url: ssh:.*$/m, `  url: file://${world.control}`));
    }
    const signing = "signing:\n  inside: sign\n  files: ['**/*.exe', '**/*.cab']\n";
    await world.reconfigure((text) => text.replace(/^signing:\n/m, signing).concat(CONFIGURATION));
    for (const { name, bytes, channel = 'default', flags = [] } of REQUESTS) {
      await writeFile(world.at(name), bytes);
      requests.set(name, await world.submit([world.at(name)], ...flags, '--channel', channel));
    }
    await world.poll();
    for (const [index, { name }] of REQUESTS.entries())
      receipts.set(name, await world.receipt(REQUESTS.length - 1 - index));
  });
  after(() => world.stop());

  const requestOf = (name: string): string => requests.get(name) ?? assert.fail();
  const receiptOf = (name: string): Receipt => receipts.get(name) ?? assert.fail();

  /** The receipt's only file. */
  function signedFile(name: string): ReceiptFile {
    const { outcome, reason, files } = receiptOf(name);
    assert.equal(outcome, 'signed', reason?.message ?? '');
    return files[0] ?? assert.fail();
  }

  /** The subject of a receipt's commit. */
  const subjectOf = (name: string): Promise<string> =>
    world.git(
      'log',
      '-1',
      '--format=%s',
      `signed~${REQUESTS.length - 1 - REQUESTS.findIndex((each) => each.name === name)}`,
    );

  /** The builder accepts the file. */
  async function accept(name: string): Promise<void> {
    const ended = await world.wait(requestOf(name), '--original', world.at(name));
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, /proved/);
  }

  /** The signatures, attached to the unsigned file, give the signed one. */
  async function assertAttaches(name: string): Promise<void> {
    const attached = await world.attach(world.at(name), requestOf(name), world.at(`again-${name}`));
    assert.equal(attached.status, 0, attached.stderr);
    assert.deepEqual(
      await readFile(world.at(`again-${name}`)),
      await readFile(world.exchange('signed', name)),
    );
  }

  it('takes pinned containers, reads nothing else, and names programs by the containers around them', async () => {
    const file = signedFile('sparse.zip');
    assert.equal(file.seen, 'entries');
    assert.deepEqual(file.signed.map(shownPlace), PLACES);
    assert.deepEqual(
      file.signed.map(({ inside }) => inside),
      [[], ['tools.zip'], ['drivers.cab'], []],
    );
    assert.deepEqual(file.leftAlone, [{ path: 'other.zip', why: 'nested-zip' }]);
    assert.match(await subjectOf('sparse.zip'), /2 of 4 files, and 2 inside$/m);
    await accept('sparse.zip');
    await assertAttaches('sparse.zip');
  });

  it('takes a container that is not in a zip; provenance speaks of what is inside, and verify checks it', async () => {
    assert.deepEqual(
      signedFile('alone.cab').signed.map(({ path, inside }) => [path, inside]),
      [
        ['a.exe', []],
        ['', []],
      ],
    );
    assert.match(await subjectOf('alone.cab'), /signed alone\.cab, and 1 inside$/m);
    await accept('alone.cab');
    const signed = world.exchange('signed', 'alone.cab');
    const verified = await signpipe([
      ...['verify', signed, '--provenance', `${signed}.intoto.jsonl`, '--json'],
      ...['--receipt-signers', world.at('keys', 'receipt_signers')],
    ]);
    assert.equal(verified.status, 0, verified.stdout);
    assert.match(await world.git('show', 'signed:policy.json'), /"inside": "sign"/);
  });

  it('and signing.pageHashes: true signs them in each PE file, also if only its bytes are read', async () => {
    assert.equal(signedFile('paged.zip').seen, 'entries');
    await accept('paged.zip');
    const { programs } = await verifyFile(world.exchange('signed', 'paged.zip'), {
      limits: LIMITS,
      scratch: world.at(),
    });
    const details = programs.flatMap(({ signatures }) => signatures).flatMap(({ checks }) => checks);
    const stated = 'the file has the sha256 digest and the page hashes (sha256)';
    assert.equal(details.filter(({ detail }) => detail.startsWith(stated)).length, 1);
    await assertAttaches('paged.zip');
  });

  it('page-hashes-layout: rejects a program for which they cannot be written', () => {
    const { outcome, reason } = receiptOf('managed.exe');
    assert.deepEqual([outcome, reason?.code], ['rejected', 'page-hashes-layout']);
    assert.match(reason?.message ?? '', /managed\.exe/);
  });

  it('inside-ambiguous: the same container twice, with something ours in one of them only', () => {
    const { outcome, reason } = receiptOf('twice.zip');
    assert.deepEqual([outcome, reason?.code], ['rejected', 'inside-ambiguous']);
  });

  it('with report, names unsigned programs in signed containers: in log, receipt and wait', async () => {
    const { unsignedInside } = signedFile('reported.zip');
    assert.deepEqual(unsignedInside, [{ path: 'driver.exe', inside: ['drivers.cab'] }]);
    const says = 'reported.zip: containers in it hold unsigned programs';
    assert.ok(world.logged.some(({ msg }) => msg === says));
    const ended = await world.wait(requestOf('reported.zip'));
    assert.match(ended.stdout, /drivers\.cab!\/driver\.exe {2}NOT SIGNED, inside of a container/);
  });

  it('audit finds nothing wrong with all that', async () => {
    const audit = await signpipe([
      ...['audit', '--repo', world.control],
      ...['--allowed-signers', world.at('keys', 'audit_signers')],
    ]);
    assert.equal(audit.status, 0, audit.stdout + audit.stderr);
  });
});
