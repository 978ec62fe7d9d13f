/** What may be on the exchange instead of the file, and exchanges that do not accept the signed file. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { makeKey } from '../../world/sshd.ts';
import { TestSigner, refusesAll, sha256, soundZip } from './test-signer.ts';

const run = promisify(execFile);
const HEX = 'ab'.repeat(32);

refusesAll('files that are not there, or are none', {}, [
  {
    what: 'nothing of that name',
    make: (signer) => signer.ask(`${HEX}  missing.zip\n`),
    code: 'exchange-file-missing',
    says: /^incoming\/missing\.zip: no such file on the exchange$/,
    hint: /upload the file before you push the request/,
  },
  {
    what: 'no folder of that name',
    make: (signer) => signer.ask(`${HEX}  nightly/missing.zip\n`),
    code: 'exchange-file-missing',
    says: /^incoming\/nightly\/missing\.zip: no such file/,
    hint: /upload the file before you push the request/,
  },
  {
    what: 'a folder',
    make: async (signer) => {
      await mkdir(signer.world.exchange('incoming', 'folder.zip'));
      return signer.ask(`${HEX}  folder.zip\n`);
    },
    code: 'exchange-not-a-file',
    says: /^incoming\/folder\.zip: not a regular file/,
    hint: /name a file/,
  },
  {
    what: 'a pipe that is never written to',
    make: async (signer) => {
      await run('mkfifo', [signer.world.exchange('incoming', 'pipe.zip')]);
      return signer.ask(`${HEX}  pipe.zip\n`);
    },
    code: 'exchange-not-a-file',
    says: /^incoming\/pipe\.zip: not a regular file/,
    hint: /pipe/,
  },
  {
    what: 'a link to a device that never ends',
    make: async (signer) => {
      await symlink('/dev/zero', signer.world.exchange('incoming', 'device.zip'));
      return signer.ask(`${HEX}  device.zip\n`);
    },
    code: 'exchange-not-a-file',
    says: /^incoming\/device\.zip: not a regular file/,
    hint: /device/,
  },
  {
    what: 'a link to nowhere',
    make: async (signer) => {
      await symlink('/nowhere/at/all.zip', signer.world.exchange('incoming', 'nowhere.zip'));
      return signer.ask(`${HEX}  nowhere.zip\n`);
    },
    code: 'exchange-file-missing',
    says: /^incoming\/nowhere\.zip: no such file/,
    hint: /upload the file before you push the request/,
  },
  {
    what: 'a link to a file of the host, which no digest pins',
    make: async (signer) => {
      await symlink('/etc/passwd', signer.world.exchange('incoming', 'passwd.zip'));
      return signer.ask(`${HEX}  passwd.zip\n`);
    },
    code: 'digest-differs',
    says: /^passwd\.zip: /,
    hint: /upload the very bytes/,
  },
]);

describe('signed files that the exchange does not accept', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open();
  });
  after(() => signer.close());

  it('are not signed at all if the outgoing folder is no folder', async () => {
    const [outgoing, aside] = [signer.world.exchange('signed'), signer.world.exchange('aside')];
    await rename(outgoing, aside);
    await writeFile(outgoing, 'a file where the folder should be');
    const request = await signer.send('full.zip', soundZip(1));
    await signer.poll();
    const { receipt, commit } = await signer.assertRefusal(request, {
      outcome: 'failed',
      code: 'exchange-folder-missing',
      says: /signed/,
      hint: /create the folder/,
    });
    const [file] = receipt.files;
    assert.equal(file?.output, undefined);
    assert.deepEqual(file?.signed, []);
    const tree = await signer.world.git('ls-tree', '-r', '--name-only', commit);
    assert.doesNotMatch(tree, /SHA256SUMS|signatures/);
    assert.equal(await readFile(outgoing, 'utf8'), 'a file where the folder should be');
    await signer.assertIdle();
    await rm(outgoing);
    await rename(aside, outgoing);
    await signer.signsNext();
  });

  it('are reported with those that were delivered before', async () => {
    await mkdir(signer.world.exchange('signed', 'second.zip', 'in-the-way'), { recursive: true });
    for (const [name, seed] of [
      ['first.zip', 2],
      ['second.zip', 3],
      ['third.zip', 4],
    ] as const)
      await signer.put(name, soundZip(seed));
    const lines = [
      ['first.zip', 2],
      ['second.zip', 3],
      ['third.zip', 4],
    ] as const;
    const request = await signer.ask(
      lines.map(([name, seed]) => `${sha256(soundZip(seed))}  ${name}\n`).join(''),
    );
    await signer.poll();
    const { receipt, commit } = await signer.assertRefusal(request, {
      outcome: 'failed',
      code: 'exchange-refused',
      says: /^signed\/second\.zip: .*; delivered before that: first\.zip$/,
      hint: /./,
    });
    assert.deepEqual(
      receipt.files.map(({ output }) => output?.name),
      ['first.zip', undefined, undefined],
    );
    const delivered = await signer.delivered();
    assert.equal(delivered.get('first.zip'), receipt.files[0]?.output?.sha256);
    assert.deepEqual(
      receipt.files.map(({ signed }) => signed.length),
      [1, 1, 1],
    );
    assert.match(
      await signer.world.git('ls-tree', '-r', '--name-only', commit),
      /^signatures\/[0-9a-f]{64}\.p7$/m,
    );
    assert.ok(!delivered.has('third.zip'));
    assert.match(await signer.world.git('show', `${commit}:SHA256SUMS`), /^[0-9a-f]{64} {2}first\.zip$/);
    await rm(signer.world.exchange('signed', 'second.zip'), { recursive: true });
    await signer.signsNext();
  });
});

/** A proxy to the exchange's sshd that can be shut. */
class SwitchableProxy {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();

  constructor(private readonly to: number) {
    this.server = createServer((socket) => this.pass(socket));
  }

  private pass(socket: Socket): void {
    const further = connect(this.to, '127.0.0.1');
    for (const [one, other] of [
      [socket, further],
      [further, socket],
    ] as const) {
      this.sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
      one.pipe(other);
    }
  }

  async open(port = 0): Promise<number> {
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    const address = this.server.address();
    assert.ok(address !== null && typeof address === 'object');
    return address.port;
  }

  async shut(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.cut();
    await closed;
  }

  /** Ends every open connection. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }
}

describe('an exchange host', () => {
  let signer: TestSigner;
  let proxy: SwitchableProxy;
  let port = 0;
  before(async () => {
    signer = await TestSigner.open({
      prepare: async (world) => {
        proxy = new SwitchableProxy(world.sshd.port);
        port = await proxy.open();
        const known = await readFile(world.sshd.knownHosts, 'utf8');
        await writeFile(
          world.at('keys', 'known_hosts'),
          known.replaceAll(`:${world.sshd.port} `, `:${port} `),
        );
        await world.reconfigure((text) => text.replace(`:${world.sshd.port}/`, `:${port}/`));
      },
    });
  });
  after(async () => {
    await signer.close();
    await proxy.shut();
  });

  it('host-unreachable: down beyond the retries, fails the request; the next is signed when it is up', async () => {
    const request = await signer.send('down.zip', soundZip(1));
    await proxy.shut();
    await signer.poll();
    await signer.assertRefusal(request, {
      outcome: 'failed',
      code: 'host-unreachable',
      says: /^\[127\.0\.0\.1\]:\d+ cannot be reached over SSH: .*ECONNREFUSED/,
      hint: /check the network/,
    });
    await proxy.open(port);
    await signer.signsNext();
  });

  it('is connected to again after it cut the connection between two polls', async () => {
    proxy.cut();
    await signer.signsNext();
  });

  it('host-key-changed: with another key, stops everything, unanswered, until it has the right one', async () => {
    const knownHosts = signer.world.at('keys', 'known_hosts');
    const right = await readFile(knownHosts, 'utf8');
    const other = await makeKey(signer.world.at('other_host_key'));
    const wrong = right.replace(/ ssh-ed25519 \S+/, ` ${other.split(' ').slice(0, 2).join(' ')}`);
    await writeFile(
      knownHosts,
      wrong
        .split('\n')
        .filter((line) => line.includes('ssh-ed25519'))
        .join('\n'),
    );
    const request = await signer.send('spied.zip', soundZip(2));
    const behind = await signer.sendSound();
    proxy.cut();
    await assert.rejects(signer.poll(), (error) => {
      assert.ok(error instanceof SignpipeError && error.kind === 'alarm', String(error));
      assert.equal(error.code, 'host-key-changed');
      assert.match(error.hint ?? '', /./);
      return true;
    });
    assert.deepEqual([await signer.receiptsFor(request), await signer.receiptsFor(behind)], [[], []]);
    await signer.assertIdle();
    await writeFile(knownHosts, right);
    await signer.poll();
    for (const id of [request, behind]) assert.equal((await signer.receiptFor(id)).receipt.outcome, 'signed');
  });

  it('key-refused: no longer accepting the key, keeps requests waiting until it does again', async () => {
    const authorized = `${signer.world.sshd.folder}/authorized_keys`;
    const right = await readFile(authorized, 'utf8');
    await writeFile(authorized, '');
    const request = await signer.send('locked.zip', soundZip(3));
    proxy.cut();
    await assert.rejects(signer.poll(), (error) => {
      assert.ok(error instanceof SignpipeError && error.kind === 'usage', String(error));
      assert.equal(error.code, 'key-refused');
      assert.match(error.hint ?? '', /authorized_keys/);
      return true;
    });
    assert.deepEqual(await signer.receiptsFor(request), []);
    await signer.assertIdle();
    await writeFile(authorized, right);
    await signer.signs(request);
  });
});
