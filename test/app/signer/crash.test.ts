import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { access, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import type { Misbehaviour } from '../../../src/sandbox/timestamp-misbehaviour.ts';
import { Hostile, receiptFor, receiptsFor } from '../../world/hostile.ts';
import type { Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import { World } from '../../world/site.ts';

const run = promisify(execFile);
const main = resolve(import.meta.dirname, '../../../dist/main.js');

/** The number of points at which the real process is killed, spread over all of its work. */
const POINTS = 25;

let world: World;
let host: Hostile;
/** How the timestamp authority misbehaves now; it does not if undefined. */
let stamps: Misbehaviour | undefined;
before(async () => {
  world = await World.start({ timestamp: { misbehave: () => stamps } });
  host = new Hostile(world);
});
after(() => world.stop());

/** `watch --once` in a process of its own. */
function start(): ChildProcess {
  return spawn(process.execPath, [main, 'watch', '-c', world.site.signerConfig, '--once'], {
    stdio: 'ignore',
  });
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Kills the process once something has happened; fails if it ended before. */
async function killWhen(child: ChildProcess, what: string, happened: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!happened()) {
    assert.ok(child.exitCode === null && Date.now() < deadline, `it never came to this: ${what}`);
    await sleep(1);
  }
  await kill(child);
}

interface JournalRecord {
  readonly stage: string;
  readonly request: string;
  readonly receipt: Receipt;
}

/** The requests in the journal. */
const records = async (): Promise<readonly JournalRecord[]> => {
  const text = await readFile(world.at('signer-state', 'journal.json'), 'utf8').catch(() => '{"records":[]}');
  return (JSON.parse(text) as { records: readonly JournalRecord[] }).records;
};

/** The only request in the journal. */
async function journal(): Promise<JournalRecord> {
  const [record, ...more] = await records();
  assert.ok(record && more.length === 0, 'one request is in hand');
  return record;
}

/** Temporary names, incomplete packs and the like, in all folders of a signer. */
async function temporaryFiles(): Promise<string[]> {
  const state = await readdir(world.at('signer-state'), { recursive: true });
  const exchange = await readdir(world.exchange(), { recursive: true });
  return [
    ...state.filter((name) => /\.part$|\.lock$|(^|\/)(tmp_|lock|journal)|^work\/./.test(name)),
    ...exchange.filter((name) => name.endsWith('.part')),
  ];
}

/** Asserts what must be true after a signer has finished a request that a crash interrupted. */
async function assertAnsweredOnce(request: string, outgoing = 'signed'): Promise<Receipt> {
  const receipt = await receiptFor(world, request);
  assert.equal(receipt.outcome, 'signed', JSON.stringify(receipt.reason));
  const [file] = receipt.files;
  assert.equal(await sha256OfFile(world.exchange(outgoing, file?.output?.name ?? '')), file?.output?.sha256);
  assert.deepEqual(await temporaryFiles(), []);
  return receipt;
}

const sameFolder = (yes: boolean): Promise<void> =>
  world.reconfigure((text) =>
    text.replace(/^exchange:\n(?: {2}(?:incoming|outgoing): .*\n)*/m, () =>
      yes ? 'exchange:\n  incoming: incoming\n  outgoing: incoming\n' : 'exchange:\n',
    ),
  );

/** Waits until the process has locked its state folder: before that it has only loaded modules and keys. */
async function locked(child: ChildProcess): Promise<void> {
  const path = world.at('signer-state', 'lock');
  while (!(await readFile(path, 'utf8').catch(() => '')).startsWith(`${child.pid} `)) {
    assert.equal(child.exitCode, null, 'it ended before it took its state folder');
    await sleep(1);
  }
}

/** Hooks for a group of tests without SSH. */
function locally(): { enter: () => Promise<void>; leave: () => Promise<void> } {
  let overSsh = '';
  return {
    enter: async () => {
      overSsh = await readFile(world.site.signerConfig, 'utf8');
      await world.withoutSsh();
    },
    leave: () => writeFile(world.site.signerConfig, overSsh),
  };
}

describe('a signer that is killed', () => {
  // Without the time that SSH takes, more of the kills fall into the signer's work.
  const { enter, leave } = locally();
  before(async () => {
    await enter();
    // Signatures of this key are random: those of a second try would differ.
    await run('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-f', world.at('keys', 'checksums_ecdsa')]);
    await world.configure('checksums: { ssh: { key: keys/checksums_ecdsa } }');
  });
  after(leave);

  it(`at any of ${POINTS} points of its work answers each request once, with the file that the receipt names`, async (t) => {
    await host.request('warm.zip');
    const warm = start();
    await locked(warm);
    const begun = Date.now();
    await once(warm, 'exit');
    const whole = Date.now() - begun;
    const states = new Map<string, number>();
    for (let point = 0; point < POINTS; point += 1) {
      // Every second time the signed zip replaces the unsigned one: a delivered file must not be signed again.
      const outgoing = point % 2 === 0 ? 'signed' : 'incoming';
      await sameFolder(outgoing === 'incoming');
      // Half of the time two requests: while one is delivered and its receipt pushed, the other is signed.
      const requests = [await host.request(`point-${point}.zip`)];
      if (point % 4 >= 2) requests.push(await host.request(`second-${point}.zip`));
      const child = start();
      await locked(child);
      // A little beyond the end: on a busy machine some runs take longer.
      await sleep((1.25 * whole * point) / POINTS);
      await kill(child);
      const left = await records();
      const answered = (await Promise.all(requests.map((each) => receiptsFor(world, each)))).flat().length;
      const name = `journal: ${left.map(({ stage }) => stage).join(' and ') || 'none'}, receipts: ${answered}`;
      states.set(name, (states.get(name) ?? 0) + 1);
      await world.poll();
      for (const request of requests) {
        const { files } = await assertAnsweredOnce(request, outgoing);
        const attachments = files.flatMap((file) => file.attachments ?? []);
        assert.equal(attachments.length, 2);
        for (const { name, sha256 } of attachments)
          assert.equal(await sha256OfFile(world.exchange(outgoing, name)), sha256);
        const journaled = left.find((record) => record.request === request)?.receipt;
        if (journaled)
          assert.deepEqual(files, journaled.files, 'no other signatures than those in the journal');
      }
    }
    t.diagnostic(`left at: ${[...states].map(([name, times]) => `${name} (${times} times)`).join('; ')}`);
    await world.git('fsck', '--strict', '--no-dangling');
  });
});

describe('a signer that is killed at a chosen moment', () => {
  it('while it fetches, begins again', async () => {
    await writeFile(world.exchange('incoming', 'large.zip'), await largeZip());
    const digest = await sha256OfFile(world.exchange('incoming', 'large.zip'));
    const request = await host.commit({ files: { zipname: `${digest}  large.zip\n` } });
    const folder = world.at('signer-state', 'work', request);
    const child = start();
    await killWhen(child, 'fetching', () =>
      listed(folder).some((name) => name.startsWith('.in-0.') && name.endsWith('.part')),
    );
    assert.equal((await journal()).stage, 'begun');
    await world.poll();
    await assertAnsweredOnce(request);
  });

  it('while it waits for a timestamp, begins again', async () => {
    const request = await host.request('stamped.zip');
    stamps = 'hang';
    const seen = world.authority.requests.length;
    const child = start();
    await killWhen(child, 'asking for a timestamp', () => world.authority.requests.length > seen);
    stamps = undefined;
    assert.equal((await journal()).stage, 'begun');
    await world.poll();
    await assertAnsweredOnce(request);
    assert.ok(!(await readdir(world.exchange('signed'))).some((name) => name.startsWith('.')));
  });

  it('while it delivers, delivers the same bytes again and deletes the incomplete file', async () => {
    const digest = await sha256OfFile(world.exchange('incoming', 'large.zip'));
    await rm(world.exchange('signed', 'large.zip'));
    const request = await host.commit({ files: { zipname: `# again\n${digest}  large.zip\n` } });
    const child = start();
    const half = (): string | undefined =>
      listed(world.exchange('signed')).find((name) => name.startsWith('.large.zip.'));
    await killWhen(child, 'delivering', () => half() !== undefined);
    const left = half();
    assert.equal((await journal()).stage, 'signed');
    const { receipt } = await journal();
    await world.poll();
    const answer = await assertAnsweredOnce(request);
    assert.equal(answer.files[0]?.output?.sha256, receipt.files[0]?.output?.sha256);
    assert.ok(left === undefined || !existsSync(world.exchange('signed', left)));
  });

  it('while it delivers, and whose state is restored after a newer release, delivers nothing old', async () => {
    const [incoming, signed] = [
      world.exchange('incoming', 'large.zip'),
      world.exchange('signed', 'large.zip'),
    ];
    await rm(signed);
    const old = await host.commit({
      files: { zipname: `# old\n${await sha256OfFile(incoming)}  large.zip\n` },
    });
    await killWhen(start(), 'delivering', () =>
      listed(world.exchange('signed')).some((name) => name.startsWith('.large.zip.')),
    );
    assert.equal((await journal()).stage, 'signed');
    await run('cp', ['-a', world.at('signer-state'), world.at('backup')]);
    await world.poll();
    await assertAnsweredOnce(old);
    await rename(incoming, world.at('large.zip'));
    await writeFile(incoming, await host.zip(99));
    const newer = await host.commit({ files: { zipname: `${await sha256OfFile(incoming)}  large.zip\n` } });
    await world.poll();
    await assertAnsweredOnce(newer);
    const release = await sha256OfFile(signed);
    await rm(world.at('signer-state'), { recursive: true });
    await rename(world.at('backup'), world.at('signer-state'));
    await world.poll();
    assert.equal(await sha256OfFile(signed), release);
    assert.deepEqual(await temporaryFiles(), []);
    await rename(world.at('large.zip'), incoming);
  });

  for (const outgoing of ['signed', 'incoming'])
    describe(`between delivery and receipt, with the results in ${outgoing}/`, () => {
      const { enter, leave } = locally();
      if (outgoing === 'incoming') {
        before(async () => {
          await enter();
          await sameFolder(true);
        });
        after(leave);
      }

      it('sends the same receipt if the host then refuses the push', async () => {
        const { request, release } = await killedInHook(`refused-${outgoing}.zip`, 'pre-receive', 1);
        const delivered = await sha256OfFile(world.exchange(outgoing, `refused-${outgoing}.zip`));
        await release();
        await world.poll();
        const { files } = await assertAnsweredOnce(request, outgoing);
        assert.equal(files[0]?.output?.sha256, delivered);
      });

      it('finds the receipt or wins the race if the push continues by itself', async () => {
        const { request, release } = await killedInHook(`orphan-${outgoing}.zip`, 'pre-receive', 0);
        await release();
        await world.poll();
        await assertAnsweredOnce(request, outgoing);
      });

      it('finds the receipt if the push was accepted without its knowing', async () => {
        const { request, release } = await killedInHook(`accepted-${outgoing}.zip`, 'post-receive', 0);
        assert.equal((await receiptsFor(world, request)).length, 1);
        await release();
        await world.poll();
        await assertAnsweredOnce(request, outgoing);
      });
    });
});

const listed = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

/** A zip of one program and 40 MB of noise, so that moving it takes a while. */
async function largeZip(): Promise<Buffer> {
  const folder = world.at('large');
  await mkdir(folder);
  await run('sh', ['-c', 'head -c 40000000 /dev/urandom > noise.bin'], { cwd: folder });
  await writeFile(join(folder, 'small.zip'), await host.zip(1000));
  await run('unzip', ['-q', 'small.zip', 'app.exe'], { cwd: folder });
  await run('zip', ['-q', '-0', 'large.zip', 'app.exe', 'noise.bin'], { cwd: folder });
  return readFile(join(folder, 'large.zip'));
}

/** Kills the signer while the host's hook holds the push of its receipt; the hook then ends with `status`. */
async function killedInHook(
  name: string,
  hook: string,
  status: number,
): Promise<{ request: string; release: () => Promise<void> }> {
  const request = await host.request(name);
  const [at, hold] = [join(world.control, 'at-hook'), join(world.control, 'hold')];
  const path = join(world.control, 'hooks', hook);
  await writeFile(hold, '');
  await writeFile(
    path,
    `#!/bin/sh\ntouch '${at}'\nwhile [ -e '${hold}' ]; do sleep 0.05; done\nexit ${status}\n`,
    { mode: 0o755 },
  );
  const child = start();
  await killWhen(child, `${hook} hook`, () => existsSync(at));
  assert.deepEqual([(await journal()).stage, (await journal()).request], ['answered', request]);
  const release = async (): Promise<void> => {
    await rm(path);
    await rm(at);
    await rm(hold);
  };
  return { request, release };
}

describe('the state folder', () => {
  const { enter, leave } = locally();
  before(enter);
  after(leave);

  it('state-in-use: is refused to a second signer while the first one lives', async () => {
    stamps = 'hang';
    const request = await host.request('in-hand.zip');
    const seen = world.authority.requests.length;
    const child = start();
    while (world.authority.requests.length === seen) await sleep(5);
    const ended = await world.watchOnce();
    assert.equal(ended.status, 2);
    assert.match(ended.stderr, new RegExp(`another signer \\(process ${child.pid}\\).*\\[state-in-use\\]`));
    assert.match(ended.stderr, /stop it first/);
    await kill(child);
    stamps = undefined;
    // Its lock file is still there, but no process has the lock.
    assert.match(await readFile(world.at('signer-state', 'lock'), 'utf8'), new RegExp(`^${child.pid} `));
    await world.poll();
    await assertAnsweredOnce(request);
  });

  it('whose lock names a process number that another program has by now, is free', async () => {
    await writeFile(world.at('signer-state', 'lock'), `${process.pid} 1\n`);
    await world.poll();
  });

  it('is cleaned: incomplete files and the locks of a killed git are deleted', async () => {
    const leftovers = [
      '.journal.json.0123456789ab.part',
      '.witness.0123456789ab.part',
      '.landmark.0123456789ab.part',
      '.answered.0123456789ab.part',
      '.waiting.json.0123456789ab.part',
      'lock.99999.01234567',
      'control.git/refs/remote/main.lock',
      'control.git/packed-refs.lock',
      'control.git/config.lock',
      'control.git/objects/pack/tmp_pack_a1B2c3',
      'work/0000000000000000000000000000000000000000/in-0',
    ];
    await mkdir(world.at('signer-state', 'work', '0'.repeat(40)), { recursive: true });
    for (const name of leftovers) await writeFile(world.at('signer-state', ...name.split('/')), 'half');
    const request = await host.request('tidy.zip');
    await world.poll();
    await assertAnsweredOnce(request);
    for (const name of leftovers)
      await assert.rejects(access(world.at('signer-state', ...name.split('/'))), { code: 'ENOENT' }, name);
  });

  it('journal-damaged: with a damaged journal nothing is signed until a person has dealt with it', async () => {
    const path = world.at('signer-state', 'journal.json');
    const request = await host.request('after-damage.zip');
    await writeFile(path, '{"version":1,"request":"x","stage":"eaten","outputs":[]}');
    await assert.rejects(world.poll(), { code: 'journal-damaged' });
    await writeFile(path, '{"version":1,');
    const ended = await world.watchOnce();
    assert.equal(ended.status, 1);
    assert.match(ended.stdout, /"code":"journal-damaged"/);
    assert.match(ended.stdout, /check whether the requests in it were answered/);
    assert.deepEqual(await receiptsFor(world, request), []);
    await rm(path);
    await world.poll();
    await assertAnsweredOnce(request);
  });
});
