import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { NetworkProxy } from '../../bench/network-proxy.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';
import { deliverFile } from './deliver-file.ts';

const MIB = 2 ** 20;
const BIG = randomBytes(24 * MIB);
const expected = { size: BIG.length, sha256: sha256Hex(BIG) };

/** An upper limit of the bytes that SSH adds. */
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

  /** The bytes that pass over the connection during an action. */
  async function carried(action: () => Promise<unknown>): Promise<number> {
    const start = network.total;
    await action();
    return network.total - start;
  }

  it('resumes a download within the same call', async () => {
    network.cutAfter(14 * MIB);
    const bytes = await carried(async () => assert.equal((await fetchIn()).sha256, expected.sha256));
    assert.ok(bytes < (BIG.length + 5 * MIB) * OVERHEAD, `${bytes} bytes passed`);
    assert.ok((await readFile(join(local, 'in.zip'))).equals(BIG));
    assert.deepEqual((await readdir(local)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('resumes a download in another process, to the same destination', async () => {
    await exchange.close();
    exchange = await open(4 * MIB);
    let cut = false;
    const refuseAll = (done: number): void => {
      if (cut || done < 12 * MIB) return;
      cut = true;
      void exchange.close(); // As when the process ends: no new connection is opened.
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

  it('restarts a download if the file has changed', async () => {
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
    // Swapped before or after the new connection checked it: one file or the other, never a mixture.
    assert.ok([expected.sha256, sha256Hex(other)].includes(got.sha256));
    assert.deepEqual((await readdir(local)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('never resumes with the bytes of another file', async () => {
    const stale = join(local, '.in.zip.0123456789abcdef.partial');
    await writeFile(stale, randomBytes(8 * MIB));
    assert.equal((await fetchIn()).sha256, expected.sha256);
    assert.deepEqual((await readdir(local)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('keeps nothing of a download with few bytes', async () => {
    network.cutAfter(1 * MIB);
    await assert.rejects(fetchIn(), { code: 'connection-lost', retryable: true });
    assert.deepEqual(await readdir(local), ['out.zip']);
    await exchange.close();
  });

  it('resumes an upload within the same call', async () => {
    network.cutAfter(16 * MIB);
    const bytes = await carried(() =>
      deliverFile(exchange, join(local, 'out.zip'), 'signed/out.zip', expected),
    );
    assert.ok(bytes < (BIG.length + 7 * MIB) * OVERHEAD, `${bytes} bytes passed`);
    assert.ok((await readFile(join(remote, 'signed/out.zip'))).equals(BIG));
    assert.deepEqual(await readdir(join(remote, 'signed')), ['out.zip']);
    await exchange.close();
  });

  /** Cuts an upload so that a later call has to resume it. */
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
    // No new connection succeeds in the meantime, so that the call cannot resume by itself.
    const refuse = setInterval(() => void (refusing && network.cut()), 1);
    try {
      await assert.rejects(
        deliverFile(exchange, join(local, 'out.zip'), 'out.zip', { ...expected, onProgress }),
        { retryable: true },
      );
    } finally {
      clearInterval(refuse);
    }
    const left = (await readdir(remote)).filter((name) => name.endsWith('.part'));
    assert.equal(left.length, 1);
  }

  it('resumes an upload in the next call, under the same temporary name', async () => {
    await cutUpload();
    const bytes = await carried(() => deliverFile(exchange, join(local, 'out.zip'), 'out.zip', expected));
    assert.ok(bytes < (BIG.length - 6 * MIB) * OVERHEAD, `${bytes} bytes passed`);
    assert.ok((await readFile(join(remote, 'out.zip'))).equals(BIG));
    assert.deepEqual((await readdir(remote)).sort(), ['in.zip', 'out.zip']);
    await exchange.close();
  });

  it('restarts an upload if the stored file is shorter, gone, or a link', async () => {
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

  it('exchange-verify-failed: the bytes stored before the cut differ from those sent', async () => {
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

  it('exchange-local-file: the content changes at the cut', async () => {
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

  it('removes the leftovers of an upload when it is closed', async () => {
    await cutUpload();
    await exchange.close();
    assert.deepEqual(await readdir(remote), ['in.zip']);
  });
});
