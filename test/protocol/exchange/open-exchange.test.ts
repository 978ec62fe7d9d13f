import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, truncateSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import type { SshOptions } from '../../../src/lib/ssh/options.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';
import { deliverFile } from './deliver-file.ts';

const run = promisify(execFile);
const LIMIT = 64 * 1024 * 1024;

const ssh = (sshd: Sshd): SshOptions => ({
  identity: sshd.clientKey,
  knownHosts: sshd.knownHosts,
  connectTimeoutMs: 5000,
  keepAliveMs: 250,
  keepAliveCount: 3,
});

/** An exchange, its folder, and a folder for local files. */
interface World {
  readonly exchange: Exchange;
  readonly remote: string;
  readonly local: string;
  readonly sshd: Sshd;
  stop(): Promise<void>;
}

type Protocol = 'sftp' | 'scp' | 'file';

async function startWorld(protocol: Protocol, config: readonly string[] = []): Promise<World> {
  const sshd = await startSshd({ sftp: protocol === 'sftp', config });
  const remote = join(sshd.folder, 'an exchange');
  const local = join(sshd.folder, 'local');
  await Promise.all([mkdir(remote), mkdir(local)]);
  const url = protocol === 'file' ? `file://${encodeURI(remote)}` : sshd.url(remote, protocol);
  const exchange = await openExchange({ url, ssh: ssh(sshd), stallTimeoutMs: 5000 });
  const stop = async (): Promise<void> => {
    await exchange.close();
    await sshd.stop();
  };
  return { exchange, remote, local, sshd, stop };
}

async function put(path: string, bytes: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}

/** Writes bytes to a local file and delivers it. */
async function deliver(world: World, path: string, bytes: Buffer, onProgress?: () => void): Promise<void> {
  const file = join(world.local, `out-${randomBytes(4).toString('hex')}`);
  await writeFile(file, bytes);
  const expected = { size: bytes.length, sha256: sha256Hex(bytes) };
  await deliverFile(world.exchange, file, path, onProgress ? { ...expected, onProgress } : expected);
}

/** Fetches a file; returns its bytes. */
async function fetched(world: World, path: string, onProgress?: () => void): Promise<Buffer> {
  const destination = join(world.local, `in-${randomBytes(4).toString('hex')}`);
  const options = onProgress ? { limit: LIMIT, onProgress } : { limit: LIMIT };
  const answer = await world.exchange.fetch(path, destination, options);
  const bytes = await readFile(destination);
  assert.deepEqual(answer, { size: bytes.length, sha256: sha256Hex(bytes) });
  return bytes;
}

/** Asserts that there are no new files in `local` and no temporary files on the exchange. */
async function leftBehind(world: World): Promise<string[]> {
  const names = [...(await readdir(world.remote, { recursive: true })), ...(await readdir(world.local))];
  return names.filter((name) => name.endsWith('.part'));
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (!done) action();
    done = true;
  };
}

const PROTOCOLS: readonly Protocol[] = ['sftp', 'scp', 'file'];
for (const protocol of PROTOCOLS)
  describe(`an exchange over ${protocol}://`, () => {
    let world: World;
    before(async () => {
      world = await startWorld(protocol);
    });
    after(() => world.stop());

    for (const [what, size] of [
      ['an empty file', 0],
      ['one byte', 1],
      ['a file of 5,000,001 bytes', 5_000_001],
    ] as const)
      it(`delivers and fetches ${what}`, async () => {
        const bytes = randomBytes(size);
        await deliver(world, `signed/${size}.zip`, bytes);
        assert(bytes.equals(await readFile(join(world.remote, `signed/${size}.zip`))));
        assert(bytes.equals(await fetched(world, `signed/${size}.zip`)));
        assert.deepEqual(await leftBehind(world), []);
      });

    it('supports every character that a request may use in names', async () => {
      const name = 'a-Z_0.9/+b@c=d/_.-+@=';
      await deliver(world, name, Buffer.from('odd'));
      assert.equal((await fetched(world, name)).toString(), 'odd');
    });

    it('replaces an existing file', async () => {
      await put(join(world.remote, 'again.zip'), Buffer.from('the old and longer content'));
      await deliver(world, 'again.zip', Buffer.from('new'));
      assert.equal(await readFile(join(world.remote, 'again.zip'), 'utf8'), 'new');
    });

    it('removes leftovers of a crash of the same delivery, and follows no link in their place', async () => {
      const bytes = Buffer.from('delivered again');
      const expected = { size: bytes.length, sha256: sha256Hex(bytes), temporary: '0123456789ab' };
      const file = join(world.local, 'again');
      await writeFile(file, bytes);
      const left = join(world.remote, '.cut.zip.0123456789ab.part');
      await put(left, Buffer.alloc(100_000));
      await deliverFile(world.exchange, file, 'cut.zip', expected);
      assert.equal(await readFile(join(world.remote, 'cut.zip'), 'utf8'), 'delivered again');
      const victim = join(world.local, 'victim');
      await writeFile(victim, 'untouched');
      await symlink(victim, left);
      await deliverFile(world.exchange, file, 'cut.zip', expected);
      assert.equal(await readFile(victim, 'utf8'), 'untouched');
      assert.equal(await readFile(join(world.remote, 'cut.zip'), 'utf8'), 'delivered again');
      assert.deepEqual(await leftBehind(world), []);
    });

    it('reports size and time', async () => {
      await put(join(world.remote, 'stat.zip'), Buffer.alloc(1234));
      const attributes = await world.exchange.stat('stat.zip');
      assert.equal(attributes?.size, 1234);
      assert(
        Math.abs(attributes.modified.getTime() - (await stat(join(world.remote, 'stat.zip'))).mtimeMs) < 1001,
      );
      assert.equal(await world.exchange.stat('nothing.zip'), null);
      assert.equal(await world.exchange.stat('no/such/folder.zip'), null);
    });

    it('reports progress up to the end', async () => {
      const bytes = randomBytes(1_000_000);
      const seen: [number, number][] = [];
      const file = join(world.local, 'progress');
      await writeFile(file, bytes);
      const onProgress = (done: number, total: number): void => void seen.push([done, total]);
      await deliverFile(world.exchange, file, 'p.zip', {
        size: bytes.length,
        sha256: sha256Hex(bytes),
        onProgress,
      });
      assert.deepEqual(seen.at(-1), [1_000_000, 1_000_000]);
      seen.length = 0;
      await world.exchange.fetch('p.zip', file, { limit: LIMIT, onProgress });
      assert.deepEqual(seen.at(-1), [1_000_000, 1_000_000]);
    });

    it('fetches and delivers several files concurrently', async () => {
      const files = [1, 2, 3, 4].map((n) => ({ name: `parallel/${n}.zip`, bytes: randomBytes(n * 700_000) }));
      await Promise.all(files.map(({ name, bytes }) => deliver(world, name, bytes)));
      const back = await Promise.all(files.map(({ name }) => fetched(world, name)));
      for (const [index, { bytes }] of files.entries()) assert(back[index]?.equals(bytes));
    });

    it('opens files for random access, except over the legacy protocol', async () => {
      const bytes = randomBytes(4_000_000);
      await put(join(world.remote, 'random.zip'), bytes);
      const file = await world.exchange.openRead('random.zip');
      if (protocol === 'scp') return assert.equal(file, null);
      assert(file);
      assert.equal(file.size, bytes.length);
      for (const [at, length] of [
        [3_999_990, 10],
        [0, 100],
        [100, 50],
        [150, 50],
        [2_000_000, 1_500_000],
        [0, 0],
      ] as const)
        assert(bytes.subarray(at, at + length).equals(await file.read(at, length)), `${at}+${length}`);
      await assert.rejects(file.read(3_999_999, 2), { code: 'source-out-of-range' });
      await file.close();
    });

    it('exchange-file-missing: no file of that name', async () => {
      const failure = { code: 'exchange-file-missing', kind: 'invalid' };
      await assert.rejects(fetched(world, 'nothing.zip'), failure);
      await assert.rejects(fetched(world, 'no/such/folder.zip'), failure);
    });

    it('exchange-not-a-file: a folder, and a pipe without a writer', async () => {
      await mkdir(join(world.remote, 'folder.zip'), { recursive: true });
      await run('mkfifo', [join(world.remote, 'pipe.zip')]);
      for (const name of ['folder.zip', 'pipe.zip'])
        await assert.rejects(fetched(world, name), { code: 'exchange-not-a-file', kind: 'invalid' }, name);
      await symlink('pipe.zip', join(world.remote, 'link.zip'));
      const code = protocol === 'file' ? 'exchange-link' : 'exchange-not-a-file';
      await assert.rejects(fetched(world, 'link.zip'), { code });
    });

    it('exchange-file-too-large: before the first byte', async () => {
      await put(join(world.remote, 'large.zip'), Buffer.alloc(1001));
      const destination = join(world.local, 'large');
      const fetching = world.exchange.fetch('large.zip', destination, { limit: 1000 });
      await assert.rejects(fetching, { code: 'exchange-file-too-large', kind: 'not-allowed' });
      await assert.rejects(stat(destination), { code: 'ENOENT' });
      assert.deepEqual(await leftBehind(world), []);
      await world.exchange.fetch('large.zip', destination, { limit: 1001 });
    });

    for (const path of ['../x', 'a/../../x', '/etc/passwd', 'a//b', './a', '-rf', 'a b', "a'b", 'a\nb', ''])
      it(`exchange-path-outside: ${JSON.stringify(path)}`, async () => {
        await assert.rejects(fetched(world, path), { code: 'exchange-path-outside', kind: 'invalid' });
        await assert.rejects(deliver(world, path, Buffer.from('x')), { code: 'exchange-path-outside' });
      });

    it('exchange-file-changed: it grows while it is read', async () => {
      const path = join(world.remote, 'grows.zip');
      await put(path, randomBytes(20_000_000));
      const growing = fetched(
        world,
        'grows.zip',
        once(() => appendFileSync(path, 'more')),
      );
      await assert.rejects(growing, { code: 'exchange-file-changed', kind: 'invalid' });
      assert.deepEqual(await leftBehind(world), []);
    });

    it('exchange-file-changed: it shrinks while it is read', async () => {
      const path = join(world.remote, 'shrinks.zip');
      await put(path, randomBytes(40_000_000));
      const shrinking = fetched(
        world,
        'shrinks.zip',
        once(() => truncateSync(path, 100)),
      );
      await assert.rejects(shrinking, { code: 'exchange-file-changed', kind: 'invalid' });
      assert.deepEqual(await leftBehind(world), []);
      await rm(path);
    });

    it('exchange-local-file: the file to deliver is not the announced one', async () => {
      const file = join(world.local, 'other');
      await writeFile(file, 'other');
      const failure = { code: 'exchange-local-file', kind: 'local' };
      const wrongHash = deliverFile(world.exchange, file, 'x.zip', {
        size: 5,
        sha256: sha256Hex(Buffer.from('b')),
      });
      await assert.rejects(wrongHash, failure);
      const wrongSize = deliverFile(world.exchange, file, 'x.zip', {
        size: 6,
        sha256: sha256Hex(Buffer.from('other')),
      });
      await assert.rejects(wrongSize, failure);
      assert.equal(await world.exchange.stat('x.zip'), null);
      assert.deepEqual(await leftBehind(world), []);
    });

    it('does not replace a folder', async () => {
      await mkdir(join(world.remote, 'taken.zip'), { recursive: true });
      await assert.rejects(deliver(world, 'taken.zip', Buffer.from('x')), { kind: 'unavailable' });
      assert.deepEqual(await readdir(join(world.remote, 'taken.zip')), []);
      assert.deepEqual(await leftBehind(world), []);
    });

    it("exchange-folder-missing: the exchange itself is missing, which is not the request's fault", async () => {
      const gone = `${world.remote}/gone`;
      await mkdir(gone);
      const url = protocol === 'file' ? `file://${encodeURI(gone)}` : world.sshd.url(gone, protocol);
      const exchange = await openExchange({ url, ssh: ssh(world.sshd) });
      await rm(gone, { recursive: true });
      const failure = { code: 'exchange-folder-missing', kind: 'unavailable' };
      try {
        await assert.rejects(exchange.fetch('a.zip', join(world.local, 'a'), { limit: 1 }), failure);
        await assert.rejects(exchange.stat('a.zip'), failure);
        await assert.rejects(deliver({ ...world, exchange }, 'in/a.zip', Buffer.from('x')), failure);
      } finally {
        await exchange.close();
      }
    });
  });
