import assert from 'node:assert/strict';
import { execFile, type ExecFileException } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import ssh2 from 'ssh2';
import SftpClient from 'ssh2-sftp-client';
import { openExchange } from '../../src/protocol/exchange/open-exchange.ts';
import { sha256OfFile } from '../../src/lib/bytes/hash.ts';
import { parseGitCommand } from '../../src/sandbox/git-service.ts';
import { startSshHost, type SshHost, type SshHostEvent } from '../../src/sandbox/ssh-host.ts';
import { deliverFile } from '../protocol/exchange/deliver-file.ts';

interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

let folder: string;
let root: string;
let host: SshHost;
const events: SshHostEvent[] = [];

/** Runs a real client; returns its failure instead of throwing. */
function run(command: string, argv: string[], input = ''): Promise<Outcome> {
  const isolated = { GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_TERMINAL_PROMPT: '0' };
  const author = {
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@b',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@b',
  };
  const env = {
    ...process.env,
    ...isolated,
    ...author,
    GIT_SSH_COMMAND: `ssh ${sshOptions('id').join(' ')}`,
  };
  return new Promise((resolve) => {
    const done = (error: ExecFileException | null, stdout: string, stderr: string): void =>
      resolve({ status: error ? Number(error.code ?? 255) : 0, stdout, stderr });
    const child = execFile(command, argv, { env, timeout: 20_000, maxBuffer: 64 << 20 }, done);
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

async function runTraced(argv: string[]): Promise<Outcome> {
  process.env['GIT_TRACE_PACKET'] = '1';
  try {
    return await run('git', argv);
  } finally {
    delete process.env['GIT_TRACE_PACKET'];
  }
}

async function ok(command: string, ...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(command, argv);
  assert.equal(status, 0, `${command} ${argv.join(' ')}: ${stderr}`);
  return stdout;
}

function sshOptions(identity: string): string[] {
  const known = `UserKnownHostsFile=${join(folder, 'known_hosts')}`;
  const strict = [
    'StrictHostKeyChecking=yes',
    'GlobalKnownHostsFile=/dev/null',
    'IdentitiesOnly=yes',
    'BatchMode=yes',
  ];
  return ['-F', 'none', '-i', join(folder, identity), ...[known, ...strict].flatMap((o) => ['-o', o])];
}

const sftp = (batch: string, identity = 'id', port = host.port): Promise<Outcome> =>
  run('sftp', ['-b', '-', '-P', String(port), ...sshOptions(identity), 'build@127.0.0.1'], batch);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-host-'));
  root = join(folder, 'root');
  await mkdir(join(root, 'exchange'), { recursive: true });
  await writeFile(join(folder, 'secret'), 'outside');
  for (const name of ['id', 'other', 'rsa']) {
    const type = name === 'rsa' ? ['rsa', '-b', '2048'] : ['ed25519'];
    await ok('ssh-keygen', '-q', '-t', ...type, '-N', '', '-C', name, '-f', join(folder, name));
  }
  await ok('git', 'init', '--quiet', '--bare', '-b', 'main', join(root, 'control.git'));
  const authorizedKeys = await Promise.all(
    ['id', 'rsa'].map((name) => readFile(join(folder, `${name}.pub`), 'utf8')),
  );
  host = await startSshHost({ root, authorizedKeys, onEvent: (event) => events.push(event) });
  await writeFile(join(folder, 'known_hosts'), host.hostKeyLine);
});

after(async () => {
  await host.close();
  await rm(folder, { recursive: true, force: true });
});

const url = (path: string): string => `ssh://git@127.0.0.1:${host.port}${path}`;

describe('git over the embedded host', () => {
  it('clones, pushes and fetches, and both sides have the same commit', async () => {
    const work = join(folder, 'work');
    await ok('git', 'clone', '--quiet', url('/control.git'), work);
    await writeFile(join(work, 'zipname'), 'build.zip\n');
    await ok('git', '-C', work, 'add', 'zipname');
    await ok('git', '-C', work, 'commit', '--quiet', '-m', 'Sign build.zip');
    await ok('git', '-C', work, 'push', '--quiet', 'origin', 'HEAD:main');
    const here = await ok('git', '-C', work, 'rev-parse', 'HEAD');
    assert.equal(await ok('git', '-C', join(root, 'control.git'), 'rev-parse', 'main'), here);
    await ok('git', 'clone', '--quiet', url('/control.git'), join(folder, 'again'));
    assert.equal(await ok('git', '-C', join(folder, 'again'), 'rev-parse', 'HEAD'), here);
    assert.ok(events.some((e) => e.kind === 'git' && e.service === 'receive-pack' && e.status === 0));
  });

  it('speaks protocol version 2 if the client requests it', async () => {
    const argv = ['-c', 'protocol.version=2', 'ls-remote', url('/control.git')];
    const { status, stderr } = await runTraced(argv);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /ls-remote< version 2/);
  });

  it("passes a hook's refusal on", async () => {
    const repository = join(root, 'guarded.git');
    await ok('git', 'init', '--quiet', '--bare', '-b', 'main', repository);
    await writeFile(join(repository, 'hooks/pre-receive'), '#!/bin/sh\necho not today >&2\nexit 1\n', {
      mode: 0o755,
    });
    const { status, stderr } = await run('git', [
      '-C',
      join(folder, 'work'),
      'push',
      url('/guarded.git'),
      'HEAD:main',
    ]);
    assert.equal(status, 1);
    assert.match(stderr, /remote: not today/);
  });

  it('git-path-outside, git-not-a-repository, path-symlink: refused before git runs', async () => {
    await symlink(join(folder, 'work/.git'), join(root, 'link.git'));
    for (const path of ['/../work/.git', '/exchange', '/nothing.git', '/link.git']) {
      const { status, stderr } = await run('git', ['ls-remote', url(path)]);
      assert.equal(status, 128, path);
      assert.match(stderr, /not a (bare )?repository|symbolic links/, path);
    }
    await rm(join(root, 'link.git'));
  });

  it('refuses shells and other commands', async () => {
    for (const command of [
      'id',
      "git-upload-pack '/control.git'; id",
      'git-upload-archive /control.git',
      'scp -t /',
    ]) {
      const argv = [...sshOptions('id'), '-p', String(host.port), 'build@127.0.0.1', command];
      const { status, stdout } = await run('ssh', argv);
      assert.deepEqual([status, stdout], [127, ''], command);
    }
    assert.equal(
      (await run('ssh', [...sshOptions('id'), '-p', String(host.port), 'build@127.0.0.1'])).stdout,
      '',
    );
  });

  it('reads only plain command lines', () => {
    assert.deepEqual(parseGitCommand("git-upload-pack '/a/b.git'"), {
      service: 'upload-pack',
      path: '/a/b.git',
    });
    assert.deepEqual(parseGitCommand('git receive-pack /a'), { service: 'receive-pack', path: '/a' });
    for (const line of [
      "git-upload-pack '/a' -x",
      "git-upload-pack --exec=x '/a'",
      "git-upload-pack '/a$(id)'",
      'git-upload-pack',
      "git-upload-pack '/a'\nid",
    ])
      assert.equal(parseGitCommand(line), null, line);
  });
});

describe("OpenSSH's sftp and scp on the embedded host", () => {
  it('upload and download 5 MB unchanged', async () => {
    const content = randomBytes(5 * 1024 * 1024 + 7);
    await writeFile(join(folder, 'big'), content);
    const scp = ['-q', '-s', '-P', String(host.port), ...sshOptions('id')];
    await ok('scp', ...scp, join(folder, 'big'), 'build@127.0.0.1:/exchange/big.zip');
    assert.ok(content.equals(await readFile(join(root, 'exchange/big.zip'))));
    await ok('scp', ...scp, 'build@127.0.0.1:exchange/big.zip', join(folder, 'back'));
    assert.ok(content.equals(await readFile(join(folder, 'back'))));
  });

  it('list, rename over, flush, remove, and keep times and modes', async () => {
    const batch = [
      `put -pf ${join(folder, 'secret')} /exchange/.new.part`,
      `put ${join(folder, 'id.pub')} /exchange/target`,
      'rename /exchange/.new.part /exchange/target',
      'mkdir /exchange/sub',
      'ls -la /exchange',
      'chmod 600 /exchange/target',
      'cd /exchange/sub',
      'pwd',
      'cd /',
      'rmdir /exchange/sub',
    ].join('\n');
    const { status, stdout, stderr } = await sftp(batch);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /Remote working directory: \/exchange\/sub/);
    assert.match(stdout, /-rw.*target/);
    assert.equal(await readFile(join(root, 'exchange/target'), 'utf8'), 'outside');
    assert.equal((await stat(join(root, 'exchange/target'))).mode & 0o777, 0o600);
    assert.ok(!(await readdir(join(root, 'exchange'))).includes('.new.part'));
    assert.equal((await sftp('rm /exchange/target')).status, 0);
  });

  it('path-symlink: links out of the root are neither read, written, renamed over nor listed', async () => {
    await symlink(join(folder, 'secret'), join(root, 'exchange/link'));
    await symlink(folder, join(root, 'exchange/linked'));
    for (const batch of [
      `get /exchange/link ${join(folder, 'stolen')}`,
      `get /exchange/linked/secret ${join(folder, 'stolen')}`,
      `get ../../secret ${join(folder, 'stolen')}`,
      `put ${join(folder, 'id.pub')} /exchange/link`,
      `put ${join(folder, 'id.pub')} /exchange/linked/planted`,
      `symlink ${folder} /exchange/mine`,
      'ln /exchange/big.zip /exchange/hard',
    ])
      assert.equal((await sftp(batch)).status, 1, batch);
    assert.equal(await readFile(join(folder, 'secret'), 'utf8'), 'outside');
    assert.ok(!(await readdir(folder)).some((name) => ['stolen', 'planted'].includes(name)));
    const client = await connect('id');
    await assert.rejects(client.list('/exchange/linked'), /symbolic links are not followed/);
    await assert.rejects(client.posixRename('/exchange/big.zip', '/exchange/link'), /symbolic/);
    await client.end();
    assert.equal((await sftp('rm /exchange/link\nrm /exchange/linked')).status, 0);
    assert.equal(await readFile(join(folder, 'secret'), 'utf8'), 'outside');
  });

  it('report a missing file, and a plain rename that would replace one', async () => {
    assert.match((await sftp('get /exchange/nothing')).stderr, /not found|No such file/);
    const client = await connect('id');
    await client.put(Buffer.from('a'), '/exchange/a');
    await client.put(Buffer.from('b'), '/exchange/b');
    await assert.rejects(client.rename('/exchange/a', '/exchange/b'), /taken/);
    await client.posixRename('/exchange/a', '/exchange/b');
    assert.deepEqual(await client.get('/exchange/b'), Buffer.from('a'));
    await client.delete('/exchange/b');
    await client.end();
  });
});

/** Without these listeners the library prints when a connection ends. */
const quiet = { error: (): void => {}, end: (): void => {}, close: (): void => {} };

async function connect(identity: string): Promise<SftpClient> {
  const client = new SftpClient('test', quiet);
  const privateKey = await readFile(join(folder, identity));
  await client.connect({ host: '127.0.0.1', port: host.port, username: 'signer', privateKey });
  return client;
}

describe('ssh2-sftp-client on the embedded host', () => {
  it('uploads and downloads 5 MB with parallel requests unchanged', async () => {
    const client = await connect('id');
    const content = randomBytes(5_000_003);
    await writeFile(join(folder, 'parallel'), content);
    const many = { concurrency: 16, chunkSize: 261_120 };
    await client.fastPut(join(folder, 'parallel'), '/exchange/parallel', many);
    assert.ok(content.equals(await readFile(join(root, 'exchange/parallel'))));
    await client.fastGet('/exchange/parallel', join(folder, 'parallel-back'), many);
    assert.ok(content.equals(await readFile(join(folder, 'parallel-back'))));
    assert.equal((await client.stat('/exchange/parallel')).size, content.length);
    assert.equal(await client.exists('/exchange'), 'd');
    assert.equal(await client.exists('/exchange/none'), false);
    await client.end();
  });

  it('announces fsync, and it works', async () => {
    const connection = new ssh2.Client();
    await new Promise<void>((resolve, reject) => {
      connection.once('ready', resolve).once('error', reject);
      void readFile(join(folder, 'id')).then((privateKey) =>
        connection.connect({ host: '127.0.0.1', port: host.port, username: 'x', privateKey }),
      );
    });
    await new Promise<void>((resolve, reject) => {
      connection.sftp((error, client) => {
        if (error) return reject(error);
        client.open('/exchange/flushed', 'w', (failed, handle) => {
          if (failed) return reject(failed);
          client.ext_openssh_fsync(handle, (unsynced) => (unsynced ? reject(unsynced) : resolve()));
        });
      });
    });
    connection.end();
  });
});

describe("signpipe's own exchange on the embedded host", () => {
  it('replaces an existing file, and fetches it', async () => {
    const content = randomBytes(300_000);
    const file = join(folder, 'delivered');
    await writeFile(file, content);
    await writeFile(join(root, 'exchange/ours.zip'), 'old');
    const ssh = { identity: join(folder, 'id'), knownHosts: join(folder, 'known_hosts') };
    const exchange = await openExchange({ url: `sftp://build@127.0.0.1:${host.port}/exchange`, ssh });
    const sha256 = await sha256OfFile(file);
    await deliverFile(exchange, file, 'ours.zip', { size: content.length, sha256 });
    const fetched = await exchange.fetch('ours.zip', join(folder, 'fetched'), { limit: content.length });
    assert.equal(fetched.sha256, sha256);
    assert.equal(await exchange.stat('none.zip'), null);
    await exchange.close();
    assert.deepEqual(
      (await readdir(join(root, 'exchange'))).filter((name) => name.includes('part')),
      [],
    );
  });
});

describe('connections onwards through the embedded host', () => {
  const greet = async (): Promise<Server> => {
    const server = createServer((socket) => socket.end('reached\n')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };

  it('reach the address that is permitted, and no other', async () => {
    const [permitted, other] = [await greet(), await greet()];
    const [to = '', elsewhere = ''] = [permitted, other].map(
      (server) => `127.0.0.1:${(server.address() as AddressInfo).port}`,
    );
    const key = await readFile(join(folder, 'id.pub'), 'utf8');
    const open = await startSshHost({ root, authorizedKeys: [key], permitOpen: [to], hostKey: host.hostKey });
    await appendFile(join(folder, 'known_hosts'), open.hostKeyLine);
    const through = (port: number, address: string): Promise<Outcome> =>
      run('ssh', [...sshOptions('id'), '-p', String(port), '-W', address, 'sign@127.0.0.1']);
    try {
      assert.equal((await through(open.port, to)).stdout, 'reached\n');
      for (const [port, address] of [
        [open.port, elsewhere],
        [host.port, to],
      ] as const) {
        const { status, stderr } = await through(port, address);
        assert.equal(status, 255);
        assert.match(stderr, /open failed/);
      }
      assert.ok(events.some((event) => event.kind === 'denied' && event.what === `connect to ${to}`));
    } finally {
      await open.close();
      permitted.close();
      other.close();
    }
  });
});

describe('login', () => {
  it('accepts an RSA key with SHA-2 signatures', async () => {
    const { status, stderr } = await sftp('ls', 'rsa');
    assert.equal(status, 0, stderr);
  });

  it('refuses other keys and SHA-1 signatures', async () => {
    const other = await sftp('ls', 'other');
    assert.equal(other.status, 255);
    assert.match(other.stderr, /Permission denied \(publickey\)/);
    const sha1 = ['-o', 'PubkeyAcceptedAlgorithms=ssh-rsa', '-b', '-', '-P', String(host.port)];
    assert.equal((await run('sftp', [...sha1, ...sshOptions('rsa'), 'x@127.0.0.1'], 'ls')).status, 255);
    assert.ok(events.some((event) => event.kind === 'refused'));
  });

  it('refuses an authorized key with a signature by another', async () => {
    const connection = new ssh2.Client();
    const other = ssh2.utils.parseKey(await readFile(join(folder, 'other')));
    const shown = ssh2.utils.parseKey(await readFile(join(folder, 'id.pub')));
    assert.ok(!(other instanceof Error) && !(shown instanceof Error));
    const liar = Object.assign(Object.create(other) as typeof other, {
      getPublicSSH: () => shown.getPublicSSH(),
    });
    const outcome = await new Promise<string>((resolve) => {
      connection.once('ready', () => resolve('in')).once('error', (error) => resolve(error.message));
      const auth = { type: 'publickey' as const, username: 'x', key: liar as unknown as string };
      connection.connect({ host: '127.0.0.1', port: host.port, username: 'x', authHandler: [auth] });
    });
    assert.match(outcome, /authentication methods failed/);
    connection.end();
  });

  it('refuses clients without a key', async () => {
    const argv = [
      ...sshOptions('id').slice(0, 2),
      '-o',
      'PubkeyAuthentication=no',
      ...sshOptions('id').slice(4),
    ];
    const { status, stderr } = await run('ssh', [...argv, '-p', String(host.port), 'x@127.0.0.1', 'id']);
    assert.equal(status, 255);
    assert.match(stderr, /Permission denied \(publickey\)/);
  });

  it('is refused by a client that knows another host key, and accepted after a restart by one that knows this key', async () => {
    const key = await readFile(join(folder, 'id.pub'), 'utf8');
    const stranger = await startSshHost({ root, authorizedKeys: [key] });
    assert.match((await sftp('ls', 'id', stranger.port)).stderr, /Host key verification failed/);
    await stranger.close();
    const first = await startSshHost({ root, authorizedKeys: [key], hostKey: host.hostKey });
    assert.equal(first.hostKeyLine.split(' ')[2], host.hostKeyLine.split(' ')[2]);
    await first.close();
  });

  it('ssh-key-invalid: an authorized key that is not a key', async () => {
    await assert.rejects(startSshHost({ root, authorizedKeys: ['ssh-ed25519 nonsense'] }), {
      code: 'ssh-key-invalid',
    });
  });
});

describe('close', () => {
  it('ends connections in use', async () => {
    const key = await readFile(join(folder, 'id.pub'), 'utf8');
    const short = await startSshHost({ root, authorizedKeys: [key] });
    const client = new SftpClient('test', quiet);
    await client.connect({
      host: '127.0.0.1',
      port: short.port,
      username: 'x',
      privateKey: await readFile(join(folder, 'id')),
    });
    const gone = new Promise<void>((resolve) => client.on('close', () => resolve()));
    await short.close();
    await gone;
  });

  it('ends a git that waits for its client', async () => {
    const key = await readFile(join(folder, 'id.pub'), 'utf8');
    const short = await startSshHost({ root, authorizedKeys: [key] });
    const connection = new ssh2.Client();
    const privateKey = await readFile(join(folder, 'id'));
    await new Promise<void>((resolve, reject) => {
      connection.on('error', reject).once('ready', () => {
        connection.exec('git-receive-pack /control.git', (error, channel) => {
          if (error) return reject(error);
          channel.once('data', () => resolve());
        });
      });
      connection.connect({ host: '127.0.0.1', port: short.port, username: 'x', privateKey });
    });
    await short.close();
    const { stdout } = await run('ps', ['-eo', 'args']);
    assert.doesNotMatch(stdout, new RegExp(`git.*receive-pack.*${root}`));
  });
});
