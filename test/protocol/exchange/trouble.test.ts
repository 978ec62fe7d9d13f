import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import type { SshOptions } from '../../../src/lib/ssh/options.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { startSshd, type Sshd, type SshdOptions } from '../../world/sshd.ts';
import { deliverFile } from './deliver-file.ts';

const BIG = Buffer.alloc(48_000_000, 'signpipe');
const expected = { size: BIG.length, sha256: sha256Hex(BIG) };

const ssh = (sshd: Sshd): SshOptions => ({
  identity: sshd.clientKey,
  knownHosts: sshd.knownHosts,
  connectTimeoutMs: 1000,
  keepAliveMs: 250,
  keepAliveCount: 3,
});

interface World {
  readonly sshd: Sshd;
  readonly exchange: Exchange;
  /** The exchange's folder. */
  readonly remote: string;
  /** A local file with the content BIG. */
  readonly file: string;
}

async function startWorld(scheme: 'sftp' | 'scp', options: SshdOptions = {}): Promise<World> {
  const sshd = await startSshd({ sftp: scheme === 'sftp', ...options });
  const remote = join(sshd.folder, 'exchange');
  const file = join(sshd.folder, 'big');
  await mkdir(remote);
  await writeFile(file, BIG);
  const exchange = await openExchange({ url: sshd.url(remote, scheme), ssh: ssh(sshd) });
  return { sshd, exchange, remote, file };
}

async function stopWorld({ exchange, sshd }: World): Promise<void> {
  await exchange.close();
  await sshd.stop();
}

async function signalSessions(sshd: Sshd, signal: NodeJS.Signals): Promise<void> {
  for (const pid of await sshd.sessions()) process.kill(pid, signal);
}

/** A progress callback that signals the connection's server, once, when the transfer has begun. */
async function whenBegun(sshd: Sshd, signal: NodeJS.Signals): Promise<() => void> {
  const pids = new Set(await sshd.sessions());
  return () => {
    for (const pid of pids) process.kill(pid, signal);
    pids.clear();
  };
}

for (const scheme of ['sftp', 'scp'] as const)
  describe(`a ${scheme} connection in trouble`, () => {
    let world: World;
    before(async () => {
      world = await startWorld(scheme);
    });
    after(() => stopWorld(world));

    it('connection-lost: an upload that was cut leaves nothing, and the next one works', async () => {
      const { sshd, exchange, remote, file } = world;
      const onProgress = await whenBegun(sshd, 'SIGKILL');
      const delivering = deliverFile(exchange, file, 'signed/big.zip', { ...expected, onProgress });
      await assert.rejects(delivering, { code: 'connection-lost', kind: 'unavailable', retryable: true });
      assert.equal(await exchange.stat('signed/big.zip'), null);
      await deliverFile(exchange, file, 'signed/big.zip', expected);
      assert.deepEqual(await readdir(join(remote, 'signed')), ['big.zip']);
      assert((await readFile(join(remote, 'signed/big.zip'))).equals(BIG));
    });

    it('connection-lost: a download that was cut leaves nothing, and the next call connects again', async () => {
      const { sshd, exchange, remote } = world;
      await writeFile(join(remote, 'in.zip'), BIG);
      const folder = join(sshd.folder, 'downloads');
      await mkdir(folder);
      const onProgress = await whenBegun(sshd, 'SIGKILL');
      const options = { limit: BIG.length, onProgress };
      await assert.rejects(exchange.fetch('in.zip', join(folder, 'in.zip'), options), {
        code: 'connection-lost',
      });
      assert.deepEqual(await readdir(folder), []);
      const { sha256 } = await exchange.fetch('in.zip', join(folder, 'in.zip'), { limit: BIG.length });
      assert.equal(sha256, expected.sha256);
    });

    it('connects again after the connection was cut while idle', async () => {
      await world.exchange.stat('any.zip');
      await signalSessions(world.sshd, 'SIGKILL');
      await sleep(200);
      assert.equal(await world.exchange.stat('any.zip'), null);
    });

    it('connection-lost: a frozen server is noticed within seconds', async () => {
      const { sshd, exchange } = world;
      const onProgress = await whenBegun(sshd, 'SIGSTOP');
      const started = Date.now();
      const fetching = exchange.fetch('in.zip', join(sshd.folder, 'frozen'), {
        limit: BIG.length,
        onProgress,
      });
      await assert.rejects(fetching, { code: 'connection-lost', kind: 'unavailable' });
      assert(Date.now() - started < 5000);
      await signalSessions(sshd, 'SIGKILL');
      assert.equal((await exchange.stat('in.zip'))?.size, BIG.length);
    });
  });

describe('an sftp:// exchange on an unusual server', () => {
  it('reads the upload back if no shell can hash it', async () => {
    const world = await startWorld('sftp', { config: ['ForceCommand internal-sftp'] });
    try {
      await deliverFile(world.exchange, world.file, 'big.zip', expected);
      assert((await readFile(join(world.remote, 'big.zip'))).equals(BIG));
    } finally {
      await stopWorld(world);
    }
  });

  it('exchange-no-sftp: the subsystem is off', async () => {
    const sshd = await startSshd({ sftp: false });
    try {
      const opening = openExchange({ url: sshd.url('/tmp'), ssh: ssh(sshd) });
      await assert.rejects(opening, { code: 'exchange-no-sftp', kind: 'usage', hint: /scp:\/\// });
    } finally {
      await sshd.stop();
    }
  });

  it('exchange-stalled: the subsystem starts but sends nothing', async () => {
    const sshd = await startSshd({ sftpCommand: '/bin/sleep 20' });
    try {
      const opening = openExchange({ url: sshd.url('/tmp'), ssh: { ...ssh(sshd), connectTimeoutMs: 400 } });
      await assert.rejects(opening, { code: 'exchange-stalled', kind: 'unavailable' });
    } finally {
      await sshd.stop();
    }
  });

  it('exchange-refused: reading is permitted, writing is not', async () => {
    const world = await startWorld('sftp', { sftpCommand: 'internal-sftp -R' });
    try {
      await assert.rejects(deliverFile(world.exchange, world.file, 'big.zip', expected), {
        code: /^exchange-(refused|permission-denied)$/,
        kind: 'unavailable',
      });
    } finally {
      await stopWorld(world);
    }
  });

  it('replaces a file in two steps without posix-rename', async () => {
    const world = await startWorld('sftp', { sftpCommand: 'internal-sftp -P posix-rename' });
    const { exchange, remote, file } = world;
    try {
      await deliverFile(exchange, file, 'big.zip', expected);
      await writeFile(join(remote, 'old.zip'), 'old');
      await deliverFile(exchange, file, 'old.zip', expected);
      assert.deepEqual((await readdir(remote)).sort(), ['big.zip', 'old.zip']);
      assert((await readFile(join(remote, 'old.zip'))).equals(BIG));
    } finally {
      await stopWorld(world);
    }
  });
});

/** Fetches over scp from a host that runs `script` instead of any command. */
async function fetchFrom(script: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-scp-'));
  const path = join(folder, 'force.sh');
  await writeFile(path, script);
  const sshd = await startSshd({ sftp: false, config: [`ForceCommand sh ${path}`] });
  const exchange = await openExchange({ url: sshd.url('/x', 'scp'), ssh: ssh(sshd), stallTimeoutMs: 1000 });
  try {
    await exchange.fetch('a.zip', join(folder, 'a.zip'), { limit: 100 });
  } finally {
    await exchange.close();
    await sshd.stop();
    await rm(folder, { recursive: true });
  }
}

describe('an scp:// exchange on a server that violates the protocol', () => {
  const cases: readonly [string, string, string][] = [
    ['exchange-protocol', 'the login shell greets', 'echo "Welcome to build.example.org"'],
    [
      'exchange-protocol',
      'another file than was asked for',
      String.raw`printf 'C0644 3 b.zip\nabc\0'; sleep 1`,
    ],
    ['exchange-protocol', 'a size that is not a number', String.raw`printf 'C0644 -3 a.zip\n'; sleep 1`],
    ['exchange-protocol', 'a line without an end', "head -c 100000 /dev/zero | tr '\\0' C; sleep 1"],
    ['exchange-refused', 'an end in the middle', String.raw`printf 'C0644 3 a.zip\nab'`],
    ['exchange-refused', 'an error of its own', String.raw`printf '\1disk on fire\n'; sleep 1`],
    ['exchange-stalled', 'silence', 'sleep 3'],
  ];
  for (const [code, what, script] of cases)
    it(`${code}: ${what}`, async () => {
      await assert.rejects(fetchFrom(script), { code, kind: 'unavailable' });
    });
});

describe('openExchange', () => {
  it('exchange-ssh-missing: no identity for an SSH url', async () => {
    const failure = { code: 'exchange-ssh-missing', kind: 'usage' };
    await assert.rejects(openExchange({ url: 'sftp://u@h/x' }), failure);
  });

  it('exchange-url-invalid: ssh:// does not say how files are transferred', async () => {
    await assert.rejects(openExchange({ url: 'ssh://u@h/x' }), {
      code: 'exchange-url-invalid',
      kind: 'usage',
    });
    await assert.rejects(openExchange({ url: 'file://elsewhere/x' }), { code: 'exchange-url-invalid' });
  });

  it('exchange-closed: any call after close', async () => {
    const sshd = await startSshd();
    try {
      const exchange = await openExchange({ url: sshd.url('/tmp'), ssh: ssh(sshd) });
      await exchange.close();
      await exchange.close();
      await assert.rejects(exchange.stat('x'), { code: 'exchange-closed', kind: 'local' });
    } finally {
      await sshd.stop();
    }
  });
});
