import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { truncateSync } from 'node:fs';
import {
  appendFile,
  link,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { AssembleOptions, Exchange, NewBytes } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import { RemoteFile } from '../../../src/protocol/exchange/remote-file.ts';
import type { Delta, DeltaSpan } from '../../../src/lib/bytes/delta.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import type { SignpipeError } from '../../../src/lib/errors.ts';
import { withFile } from '../../../src/lib/bytes/byte-source.ts';
import { NetworkProxy } from '../../bench/network-proxy.ts';
import { startSshd, type Sshd, type SshdOptions } from '../../world/sshd.ts';

const MIB = 2 ** 20;
const OLD = randomBytes(40 * MIB + 12_345);
/** More than is read back if the host cannot hash, and more than one write. */
const FRESH = randomBytes(3 * MIB + 77);

const span = (from: DeltaSpan['from'], start: number, end: number): DeltaSpan => ({ from, start, end });

/** Old bytes between new ones, as in a signed zip. */
const DELTA: Delta = {
  spans: [
    span('source', 0, 1000),
    span('fresh', 0, 2 * MIB),
    span('source', 5000, 35 * MIB),
    span('fresh', 2 * MIB, 2 * MIB + 10),
    span('source', 36 * MIB, OLD.length),
    span('fresh', 2 * MIB + 10, FRESH.length),
  ],
  size: 1000 + 35 * MIB - 5000 + OLD.length - 36 * MIB + FRESH.length,
};
const RESULT = Buffer.concat(
  DELTA.spans.map(({ from, start, end }) => (from === 'source' ? OLD : FRESH).subarray(start, end)),
);

interface World {
  readonly sshd: Sshd;
  readonly network: NetworkProxy;
  readonly exchange: Exchange;
  readonly remote: string;
  readonly fresh: string;
  stop(): Promise<void>;
}

async function startWorld(options: SshdOptions = {}): Promise<World> {
  const sshd = await startSshd(options);
  const network = await NetworkProxy.open({ port: sshd.port });
  const remote = join(sshd.folder, 'exchange');
  const fresh = join(sshd.folder, 'fresh');
  await mkdir(remote);
  await writeFile(fresh, FRESH);
  const known = join(sshd.folder, 'known_line');
  await writeFile(
    known,
    (await readFile(sshd.knownHosts, 'utf8')).replaceAll(`:${sshd.port}`, `:${network.port}`),
  );
  const url = sshd.url(remote).replace(`:${sshd.port}`, `:${network.port}`);
  const exchange = await openExchange({ url, ssh: { identity: sshd.clientKey, knownHosts: known } });
  const stop = async (): Promise<void> => {
    await exchange.close();
    await network.close();
    await sshd.stop();
  };
  return { sshd, network, exchange, remote, fresh, stop };
}

const newBytes = (path: string, content: Buffer): NewBytes => ({
  sha256: sha256Hex(content),
  use: (send) => withFile(path, send),
});

/** Puts the old file on the exchange; returns the options for `assemble`. */
async function prepare({ exchange, remote, fresh }: World): Promise<AssembleOptions> {
  for (const name of await readdir(remote)) await rm(join(remote, name), { recursive: true });
  await writeFile(join(remote, 'old.zip'), OLD);
  const source = await exchange.stat('old.zip');
  assert(source);
  return { source, delta: DELTA, fresh: newBytes(fresh, FRESH) };
}

const refuses = (
  refusal: Partial<SignpipeError>,
  { exchange }: World,
  ...request: Parameters<Exchange['assemble']>
): Promise<void> => assert.rejects(exchange.assemble(...request), refusal);

describe('a file assembled on an sftp:// exchange', () => {
  let world: World;
  let options: AssembleOptions;
  before(async () => {
    world = await startWorld();
  });
  beforeEach(async () => {
    options = await prepare(world);
  });
  after(() => world.stop());

  const there = (): Promise<string[]> => readdir(world.remote, { recursive: true });

  it('has the right bytes, and only the new ones are sent', async () => {
    assert.equal(await world.exchange.canAssemble(), true);
    const before = world.network.total;
    const seen: [number, number][] = [];
    const onProgress = (done: number, total: number): void => void seen.push([done, total]);
    await world.exchange.assemble('old.zip', 'signed/new.zip', { ...options, onProgress });
    assert.ok((await readFile(join(world.remote, 'signed/new.zip'))).equals(RESULT));
    assert.ok((await readFile(join(world.remote, 'old.zip'))).equals(OLD));
    assert.ok(
      world.network.total - before < FRESH.length * 1.05 + 64 * 1024,
      `${world.network.total - before}`,
    );
    assert.deepEqual((await there()).sort(), ['old.zip', 'signed', 'signed/new.zip']);
    assert.deepEqual(seen.at(-1), [RESULT.length, RESULT.length]);
  });

  it('may replace its source', async () => {
    await world.exchange.assemble('old.zip', 'old.zip', options);
    assert.ok((await readFile(join(world.remote, 'old.zip'))).equals(RESULT));
    assert.deepEqual(await there(), ['old.zip']);
  });

  it('is complete if the result replaced its source before a crash', async () => {
    await world.exchange.assemble('old.zip', 'old.zip', options);
    const { mtimeMs, ino } = await stat(join(world.remote, 'old.zip'));
    await world.exchange.assemble('old.zip', 'old.zip', options);
    const now = await stat(join(world.remote, 'old.zip'));
    assert.deepEqual([now.mtimeMs, now.ino], [mtimeMs, ino]);
  });

  it('requests no new bytes if it is complete', async () => {
    await world.exchange.assemble('old.zip', 'new.zip', options);
    await rm(join(world.remote, 'old.zip'));
    const use = (): Promise<never> => Promise.reject(new Error('they are gone'));
    const fresh = { ...options.fresh, use };
    await world.exchange.assemble('old.zip', 'new.zip', { ...options, fresh });
    await writeFile(join(world.remote, 'old.zip'), OLD);
  });

  it('is complete although its source was removed since', async () => {
    await world.exchange.assemble('old.zip', 'new.zip', options);
    await rm(join(world.remote, 'old.zip'));
    await world.exchange.assemble('old.zip', 'new.zip', options);
  });

  it('exchange-file-changed: the target has the same size, but not all new bytes', async () => {
    const wrong = Buffer.from(RESULT);
    wrong[1000 + MIB] = (wrong[1000 + MIB] ?? 0) ^ 1;
    await writeFile(join(world.remote, 'old.zip'), wrong);
    await refuses({ code: 'exchange-file-changed', kind: 'invalid' }, world, 'old.zip', 'old.zip', options);
    assert.ok((await readFile(join(world.remote, 'old.zip'))).equals(wrong));
  });

  const changes: readonly [string, (path: string) => Promise<void>][] = [
    ['it grew', (path) => appendFile(path, 'x')],
    ['it shrank: a copy beyond its end would report success', (path) => truncate(path, OLD.length - 1)],
    ['its time changed', (path) => utimes(path, 1_000_000, 1_000_000)],
    ['it is gone', (path) => rm(path)],
    ['it became a folder', (path) => rm(path).then(() => mkdir(path))],
  ];
  for (const [what, change] of changes)
    it(`exchange-file-changed: ${what}`, async () => {
      await change(join(world.remote, 'old.zip'));
      await refuses({ code: 'exchange-file-changed', kind: 'invalid' }, world, 'old.zip', 'new.zip', options);
      assert.deepEqual(
        (await there()).filter((name) => name !== 'old.zip'),
        [],
      );
    });

  it('exchange-file-changed: its source shrinks while it is copied', async () => {
    let changed = false;
    const onProgress = (): void => {
      if (changed) return;
      changed = true;
      // Synchronously: on a busy machine it would happen too late.
      truncateSync(join(world.remote, 'old.zip'), 100);
    };
    const assembling = world.exchange.assemble('old.zip', 'new.zip', { ...options, onProgress });
    await assert.rejects(assembling, { code: 'exchange-file-changed' });
    assert.deepEqual(await there(), ['old.zip']);
  });

  it('writes to a new file although the target is a hard link of the source', async () => {
    await link(join(world.remote, 'old.zip'), join(world.remote, 'new.zip'));
    const source = await world.exchange.stat('old.zip');
    assert(source);
    await world.exchange.assemble('old.zip', 'new.zip', { ...options, source });
    assert.ok((await readFile(join(world.remote, 'new.zip'))).equals(RESULT));
    assert.ok((await readFile(join(world.remote, 'old.zip'))).equals(OLD));
  });

  it('assembly-unsound: numbers that a server would misinterpret', async () => {
    const wrong: DeltaSpan[][] = [
      [span('source', 5, 5), span('fresh', 0, FRESH.length)],
      [span('source', OLD.length - 1, OLD.length + 1), span('fresh', 0, FRESH.length)],
    ];
    for (const spans of wrong) {
      const size = spans.reduce((sum, { start, end }) => sum + end - start, 0);
      const delta = { spans, size };
      await refuses({ code: 'assembly-unsound' }, world, 'old.zip', 'new.zip', { ...options, delta });
    }
    assert.deepEqual(await there(), ['old.zip']);
  });

  it('exchange-local-file: the new bytes are not the announced ones', async () => {
    const fresh = { ...newBytes(world.fresh, FRESH), sha256: sha256Hex('other') };
    await refuses({ code: 'exchange-local-file', kind: 'local' }, world, 'old.zip', 'new.zip', {
      ...options,
      fresh,
    });
    assert.deepEqual(await there(), ['old.zip']);
  });

  it('connection-lost: a cut leaves nothing, and the next call succeeds', async () => {
    world.network.cutAfter(MIB);
    await refuses({ code: 'connection-lost', retryable: true }, world, 'old.zip', 'new.zip', options);
    await world.exchange.assemble('old.zip', 'new.zip', options);
    assert.ok((await readFile(join(world.remote, 'new.zip'))).equals(RESULT));
    assert.deepEqual((await there()).sort(), ['new.zip', 'old.zip']);
  });

  it('removes leftovers of a crash under the same temporary name', async () => {
    await writeFile(join(world.remote, '.new.zip.0123456789ab.part'), 'left');
    await world.exchange.assemble('old.zip', 'new.zip', { ...options, temporary: '0123456789ab' });
    assert.deepEqual((await there()).sort(), ['new.zip', 'old.zip']);
  });

  it('exchange-path-outside: the source or the target', async () => {
    for (const [from, to] of [
      ['../old.zip', 'new.zip'],
      ['old.zip', '../new.zip'],
    ] as const)
      await assert.rejects(world.exchange.assemble(from, to, options), { code: 'exchange-path-outside' });
  });
});

describe('a file assembled on a host that runs no commands', () => {
  it('is verified by reading some of its new bytes back, and nothing else is sent', async () => {
    const world = await startWorld({ config: ['ForceCommand internal-sftp'] });
    try {
      const options = await prepare(world);
      const before = world.network.total;
      await world.exchange.assemble('old.zip', 'new.zip', options);
      assert.ok((await readFile(join(world.remote, 'new.zip'))).equals(RESULT));
      assert.ok(world.network.total - before < FRESH.length * 1.05 + 512 * 1024);
      await world.exchange.assemble('old.zip', 'old.zip', options);
      await world.exchange.assemble('old.zip', 'old.zip', options);
      const wrong = Buffer.from(RESULT);
      wrong[1000 + MIB] = (wrong[1000 + MIB] ?? 0) ^ 1;
      await writeFile(join(world.remote, 'old.zip'), wrong);
      await refuses({ code: 'exchange-file-changed' }, world, 'old.zip', 'old.zip', options);
    } finally {
      await world.stop();
    }
  });
});

/** Changes a byte that is only copied, without changing size or time. */
async function changeUnseen(remote: string, { source }: AssembleOptions): Promise<void> {
  const path = join(remote, 'old.zip');
  const bytes = await readFile(path);
  bytes[20 * MIB] = (bytes[20 * MIB] ?? 0) ^ 1;
  await writeFile(path, bytes);
  await utimes(path, source.modified, source.modified);
}

for (const [where, config] of [
  ['on a host that can hash', []],
  ['on a host from which it must be read back', ['ForceCommand internal-sftp']],
] as const)
  describe(`a file assembled with the SHA-256 of the whole, ${where}`, () => {
    let world: World;
    let options: AssembleOptions;
    before(async () => {
      world = await startWorld({ config: [...config] });
    });
    beforeEach(async () => {
      options = { ...(await prepare(world)), sha256: sha256Hex(RESULT) };
    });
    after(() => world.stop());

    it('is verified against it, also if it was complete before', async () => {
      await world.exchange.assemble('old.zip', 'old.zip', options);
      assert.ok((await readFile(join(world.remote, 'old.zip'))).equals(RESULT));
      await world.exchange.assemble('old.zip', 'old.zip', options);
    });

    it('exchange-verify-failed: a copied byte differs from the one that was read', async () => {
      await changeUnseen(world.remote, options);
      await refuses({ code: 'exchange-verify-failed' }, world, 'old.zip', 'new.zip', options);
      assert.deepEqual(await readdir(world.remote), ['old.zip']);
      const { sha256: _known, ...less } = options;
      await world.exchange.assemble('old.zip', 'new.zip', less);
    });

    it('exchange-file-changed: the target differs in a copied byte', async () => {
      await changeUnseen(world.remote, options);
      const { sha256: _known, ...less } = options;
      await world.exchange.assemble('old.zip', 'old.zip', less);
      await refuses({ code: 'exchange-file-changed' }, world, 'old.zip', 'old.zip', options);
    });
  });

describe('an exchange that cannot assemble files', () => {
  it('exchange-no-copy: a server without copy-data, before anything is written', async () => {
    const world = await startWorld({ sftpCommand: 'internal-sftp -P copy-data' });
    try {
      const options = await prepare(world);
      assert.equal(await world.exchange.canAssemble(), false);
      await refuses({ code: 'exchange-no-copy', kind: 'usage' }, world, 'old.zip', 'new.zip', options);
      assert.deepEqual(await readdir(world.remote), ['old.zip']);
    } finally {
      await world.stop();
    }
  });

  for (const scheme of ['scp', 'file'] as const)
    it(`exchange-no-copy: ${scheme}://`, async () => {
      const world = await startWorld();
      const { sshd, remote } = world;
      const ssh = { identity: sshd.clientKey, knownHosts: sshd.knownHosts };
      const url = scheme === 'scp' ? sshd.url(remote, 'scp') : `file://${remote}`;
      const exchange = await openExchange({ url, ssh });
      try {
        const options = await prepare(world);
        assert.equal(await exchange.canAssemble(), false);
        await assert.rejects(exchange.assemble('old.zip', 'n.zip', options), { code: 'exchange-no-copy' });
      } finally {
        await exchange.close();
        await world.stop();
      }
    });
});

describe('a remote file', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
    await prepare(world);
  });
  after(() => world.stop());

  const RANGES = [
    { start: 1000, end: 5 * MIB },
    { start: 6 * MIB, end: 6 * MIB + 10 },
    { start: 20 * MIB, end: 30 * MIB },
  ];
  const once = <T>(action: () => Promise<T>): Promise<T> => action();
  const twice = <T>(action: () => Promise<T>): Promise<T> => action().catch(() => action());

  async function openRemote(retry: typeof once): Promise<RemoteFile> {
    const cache = join(world.sshd.folder, `cache-${randomBytes(4).toString('hex')}`);
    const file = await RemoteFile.open(world.exchange, 'old.zip', { cache, retry, name: 'old.zip' });
    assert(file);
    return file;
  }

  const isRead = async (file: RemoteFile, start: number, end: number): Promise<void> =>
    assert.ok((await file.read(start, end - start)).equals(OLD.subarray(start, end)), `${start} to ${end}`);

  it('is read from the cache where it was prefetched, otherwise over the connection', async () => {
    const file = await openRemote(once);
    assert.equal(file.size, OLD.length);
    file.prefetch(RANGES);
    for (const { start, end } of RANGES) await isRead(file, start, end);
    const before = world.network.total;
    for (const { start, end } of RANGES) await isRead(file, start + 3, end - 2);
    await isRead(file, 20 * MIB + 5, 20 * MIB + 5);
    assert.equal(world.network.total, before);
    for (const [at, length] of [
      [0, 1000],
      [5 * MIB - 5, 10],
      [6 * MIB + 5, 10],
      [15 * MIB, 3],
      [OLD.length - 9, 9],
    ] as const)
      assert.ok((await file.read(at, length)).equals(OLD.subarray(at, at + length)), `${at}`);
    await file.close();
  });

  it('is prefetched in the order of the calls', async () => {
    const file = await openRemote(once);
    const [first, then] = [[{ start: 35 * MIB, end: 35 * MIB + 100 }], [{ start: 100, end: 20 * MIB }]];
    const before = world.network.total;
    for (const ranges of [first, then]) file.prefetch(ranges);
    await isRead(file, 35 * MIB + 10, 35 * MIB + 20);
    assert.ok(world.network.total - before < 6 * MIB, 'it does not wait for later ranges');
    await isRead(file, 100, 20 * MIB);
    assert.equal(file.bytesFetched, 20 * MIB - 100 + 100);
    await file.close();
  });

  it('resumes after a cut, and fetches nothing twice', async () => {
    const file = await openRemote(twice);
    world.network.cutAfter(9 * MIB);
    const before = world.network.total;
    file.prefetch(RANGES);
    for (const { start, end } of RANGES) await isRead(file, start, end);
    const wanted = RANGES.reduce((sum, { start, end }) => sum + end - start, 0);
    assert.ok(world.network.total - before < wanted * 1.05 + 5 * MIB);
    assert.equal(file.bytesFetched, wanted);
    await file.close();
  });

  it('exchange-file-changed: reads that wait for prefetched bytes fail', async () => {
    const file = await openRemote(twice);
    await utimes(join(world.remote, 'old.zip'), 2_000_000, 2_000_000);
    world.network.cut();
    file.prefetch(RANGES);
    for (const { start, end } of RANGES)
      await assert.rejects(file.read(start, end - start), { code: 'exchange-file-changed' });
    await file.close();
  });

  it('exchange-file-changed: it is another file when it is opened again', async () => {
    const file = await openRemote(twice);
    world.network.cut();
    await utimes(join(world.remote, 'old.zip'), 1_000_000, 1_000_000);
    await assert.rejects(file.read(0, 10), { code: 'exchange-file-changed' });
    await file.close();
  });
});
