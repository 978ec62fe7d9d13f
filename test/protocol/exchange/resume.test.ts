import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import { NetworkProxy } from '../../bench/network-proxy.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';
import { deliverFile } from './deliver-file.ts';

const MIB = 2 ** 20;
const BIG = randomBytes(24 * MIB);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const expected = { size: BIG.length, sha256: sha256(BIG) };

/** What SSH adds to what is carried; generously. */
const OVERHEAD = 1.1;

describe('an sftp:// transfer whose connection is cut', () => {
  let sshd: Sshd;
  let network: NetworkProxy;
  let exchange: Exchange;
  let remote = '';
  let local = '';

  const open = (resumeAfter: number): Promise<Exchange> =>
    openExchange({
      url: sshd.url(remote).replace(`:${sshd.port}`, `:${network.port}`),
      ssh: { identity: sshd.clientKey, knownHosts: join(sshd.folder, 'known_line'), connectTimeoutMs: 5000 },
      resumeAfter,
    });

  before(async () => {
    sshd = await startSshd();
    network = await NetworkProxy.open({ port: sshd.port });
    const known = await readFile(sshd.knownHosts, 'utf8');
    await writeFile(
      join(sshd.folder, 'known_line'),
      known
        .replaceAll(`:${sshd.port} `, `:${network.port} `)
        .replaceAll(`]:${sshd.port}`, `]:${network.port}`),
    );
  });
  beforeEach(async () => {
    remote = join(sshd.folder, `exchange-${randomBytes(3).toString('hex')}`);
    local = `${remote}-local`;
    await Promise.all([mkdir(remote), mkdir(local)]);
    await writeFile(join(remote, 'in.zip'), BIG);
    await writeFile(join(local, 'out.zip'), BIG);
    exchange = await open(4 * MIB);
  });
  after(async () => {
    await network.close();
    await sshd.stop();
  });

  const fetchIn = (options: { onProgress?: (done: number) => void } = {}): Promise<{ sha256: string }> =>
    exchange.fetch('in.zip', join(local, 'in.zip'), { limit: BIG.length, ...options });

  /** The bytes that pass the proxy while something is done. */
  async function carried(action: () => Promise<unknown>): Promise<number> {
    const start = network.total;
    await action();
    return network.total - start;
  }

  it('goes on with a download within the same call', async () => {
    network.cutAfter(14 * MIB);
    const bytes = await carried(async () => assert.equal((await fetchIn()).sha256, expected.sha256));
    assert.ok(bytes < (BIG.length + 5 * MIB) * OVERHEAD, `${bytes} bytes passed`);
    assert.ok((await readFile(join(local, 'in.zip'))).equals(BIG));
    assert.deepEqual((await readdir(local)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('goes on with a download in another process, into the same place', async () => {
    await exchange.close();
    exchange = await open(4 * MIB);
    let cut = false;
    const refuseAll = (done: number): void => {
      if (cut || done < 12 * MIB) return;
      cut = true;
      void exchange.close(); // As when the process ends: nothing is connected anew.
      network.cut();
    };
    await assert.rejects(fetchIn({ onProgress: refuseAll }), { retryable: false, code: 'exchange-closed' });
    const kept = await readdir(local);
    assert.equal(
      kept.filter((name) => /^\.in\.zip\.[0-9a-f]{16}\.partial$/.test(name)).length,
      1,
      kept.join(),
    );
    exchange = await open(4 * MIB);
    const bytes = await carried(async () => assert.equal((await fetchIn()).sha256, expected.sha256));
    assert.ok(bytes < (BIG.length - 11 * MIB) * OVERHEAD, `${bytes} bytes passed`);
    assert.deepEqual((await readdir(local)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('begins a download anew when the file is another by then', async () => {
    const other = randomBytes(BIG.length);
    let changed = false;
    const change = (done: number): void => {
      if (changed || done < 12 * MIB) return;
      changed = true;
      network.cut();
    };
    await writeFile(join(remote, 'new.zip'), other);
    await utimes(join(remote, 'new.zip'), 1_000_000, 1_000_000);
    const fetching = fetchIn({ onProgress: change });
    const swap = setInterval(() => {
      if (changed) void rename(join(remote, 'new.zip'), join(remote, 'in.zip')).catch(() => {});
    }, 1);
    const got = await fetching.finally(() => clearInterval(swap));
    // Swapped before or after the new connection looked: one file or the other, and never a mixture.
    assert.ok([expected.sha256, sha256(other)].includes(got.sha256));
    assert.deepEqual((await readdir(local)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('never takes what is left of another file for its own', async () => {
    const stale = join(local, '.in.zip.0123456789abcdef.partial');
    await writeFile(stale, randomBytes(8 * MIB));
    assert.equal((await fetchIn()).sha256, expected.sha256);
    assert.deepEqual((await readdir(local)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('keeps nothing of a download that had hardly begun', async () => {
    network.cutAfter(1 * MIB);
    await assert.rejects(fetchIn(), { code: 'connection-lost', retryable: true });
    assert.deepEqual(await readdir(local), ['out.zip']);
    await exchange.close();
  });

  it('goes on with an upload within the same call', async () => {
    network.cutAfter(16 * MIB);
    const bytes = await carried(() =>
      deliverFile(exchange, join(local, 'out.zip'), 'signed/out.zip', expected),
    );
    assert.ok(bytes < (BIG.length + 7 * MIB) * OVERHEAD, `${bytes} bytes passed`);
    assert.ok((await readFile(join(remote, 'signed/out.zip'))).equals(BIG));
    assert.deepEqual(await readdir(join(remote, 'signed')), ['out.zip']);
    await exchange.close();
  });

  /** Cuts an upload so that its rest is left to a later call. */
  async function cutUpload(): Promise<void> {
    await exchange.close();
    exchange = await open(4 * MIB);
    let cut = false;
    const onProgress = (done: number): void => {
      if (cut || done < 14 * MIB) return;
      cut = true;
      network.cut();
      refusing = true;
    };
    let refusing = false;
    // Meanwhile no new connection comes about, so that the call cannot go on by itself.
    const refuse = setInterval(() => void (refusing && network.cut()), 1);
    try {
      await assert.rejects(
        deliverFile(exchange, join(local, 'out.zip'), 'out.zip', { ...expected, onProgress }),
        {
          retryable: true,
        },
      );
    } finally {
      clearInterval(refuse);
    }
    const left = (await readdir(remote)).filter((name) => name.endsWith('.part'));
    assert.equal(left.length, 1);
  }

  it('goes on with an upload in the next call, under the same temporary name', async () => {
    await cutUpload();
    const bytes = await carried(() => deliverFile(exchange, join(local, 'out.zip'), 'out.zip', expected));
    assert.ok(bytes < (BIG.length - 6 * MIB) * OVERHEAD, `${bytes} bytes passed`);
    assert.ok((await readFile(join(remote, 'out.zip'))).equals(BIG));
    assert.deepEqual((await readdir(remote)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('begins an upload anew where what was stored is shorter, gone, or a link by then', async () => {
    const meddlings: ((path: string) => Promise<void>)[] = [
      (path) => writeFile(path, BIG.subarray(0, 5 * MIB)),
      (path) => rm(path),
      async (path) => {
        await rm(path);
        await writeFile(join(local, 'victim'), 'untouched');
        await symlink(join(local, 'victim'), path);
      },
    ];
    for (const meddle of meddlings) {
      await cutUpload();
      const part = (await readdir(remote)).find((name) => name.endsWith('.part'));
      assert.ok(part);
      await meddle(join(remote, part));
      await deliverFile(exchange, join(local, 'out.zip'), 'out.zip', expected);
      assert.ok((await readFile(join(remote, 'out.zip'))).equals(BIG));
      assert.deepEqual((await readdir(remote)).sort(), ['in.zip', 'out.zip']);
    }
    assert.equal(await readFile(join(local, 'victim'), 'utf8'), 'untouched');
    await exchange.close();
  });

  it('exchange-verify-failed: what was stored before the cut is not what was sent', async () => {
    await cutUpload();
    const part = (await readdir(remote)).find((name) => name.endsWith('.part')) ?? '';
    const stored = await readFile(join(remote, part));
    await writeFile(join(remote, part), Buffer.alloc(stored.length));
    await assert.rejects(deliverFile(exchange, join(local, 'out.zip'), 'out.zip', expected), {
      code: 'exchange-verify-failed',
      retryable: true,
    });
    assert.deepEqual(await readdir(remote), ['in.zip']);
    await deliverFile(exchange, join(local, 'out.zip'), 'out.zip', expected);
    await exchange.close();
  });

  it('exchange-local-file: what is delivered is another before the cut than after it', async () => {
    await cutUpload();
    const other = Buffer.from(BIG);
    other.writeUInt8(other.readUInt8(BIG.length - 1) ^ 1, BIG.length - 1);
    await writeFile(join(local, 'out.zip'), other);
    await assert.rejects(deliverFile(exchange, join(local, 'out.zip'), 'out.zip', expected), {
      code: 'exchange-local-file',
      retryable: false,
    });
    assert.deepEqual(await readdir(remote), ['in.zip']);
    await exchange.close();
  });

  it('takes away what was left of an upload when it is closed', async () => {
    await cutUpload();
    await exchange.close();
    assert.deepEqual(await readdir(remote), ['in.zip']);
  });
});
