import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { before, describe, it } from 'node:test';
import { makeSample } from '../../../src/sandbox/sample-release.ts';
import { startWorld } from '../../world/site.ts';

/** The inodes of a process's own sockets (proc(5)). */
async function socketsOf(pid: number): Promise<Set<string>> {
  const folder = `/proc/${pid}/fd`;
  const links = await Promise.all(
    (await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => '')),
  );
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
}

interface TcpSocket {
  readonly inode: string;
  readonly listening: boolean;
  /** Port of the other side. */
  readonly peer: number;
}

/** Every TCP socket of this network namespace, over IPv4 and IPv6. */
async function tcpSockets(): Promise<TcpSocket[]> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  return tables.flatMap((table) =>
    table
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => {
        const fields = line.trim().split(/\s+/);
        const peer = Number.parseInt(fields[2]?.split(':')[1] ?? '0', 16);
        return { inode: fields[9] ?? '', listening: fields[3] === '0A', peer };
      }),
  );
}

const world = await startWorld();

describe('a signer at work', () => {
  before(async () => {
    await makeSample(world.at('product.zip'));
  });

  it('listens on no port, and talks to the Git host, the exchange and the timestamp authority alone', async () => {
    const main = resolve(import.meta.dirname, '../../../dist/main.js');
    const signer = spawn(process.execPath, [main, 'watch', '-c', world.site.signerConfig], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const peers = new Set<number>();
    let listened = 0;
    let looks = 0;
    const look = async (): Promise<void> => {
      const own = await socketsOf(signer.pid ?? 0);
      for (const { listening, peer } of (await tcpSockets()).filter((each) => own.has(each.inode))) {
        if (listening) listened += 1;
        else peers.add(peer);
      }
      looks += 1;
    };
    let output = '';
    signer.stdout.on('data', (data: Buffer) => (output += data.toString()));
    const request = await world.submit([world.at('product.zip')]);
    for (let tries = 0; tries < 2000 && !output.includes(`answered ${request.slice(0, 12)}`); tries += 1)
      await look();
    assert.match(output, new RegExp(`answered ${request.slice(0, 12)}: signed`));
    signer.kill('SIGTERM');
    await once(signer, 'close');
    assert.ok(looks > 20, `${looks} looks`);
    assert.equal(listened, 0);
    const authority = Number(new URL(world.authority.url).port);
    assert.deepEqual(
      [...peers].filter((port) => port !== world.sshd.port && port !== authority),
      [],
    );
    assert.ok(peers.has(world.sshd.port));
  });
});
