import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { connectSsh } from '../../../src/lib/ssh/connection.ts';
import { gitSshCommand } from '../../../src/lib/ssh/git-ssh-command.ts';
import type { SshOptions } from '../../../src/lib/ssh/options.ts';
import { runRemotely } from '../../../src/lib/ssh/exec.ts';
import { fingerprintOf } from '../../../src/lib/sshsig/ssh-key.ts';
import { makeKey, startSshd, type Sshd } from '../../world/sshd.ts';

const run = promisify(execFile);

let sshd: Sshd;
/** Host keys of `sshd` by type: `type base64`. */
const hostKeys: Record<string, string> = {};
let strangerKey: string;

before(async () => {
  sshd = await startSshd();
  for (const type of ['ed25519', 'rsa', 'ecdsa']) {
    const line = await readFile(join(sshd.folder, `host_${type}.pub`), 'utf8');
    hostKeys[type] = line.split(' ').slice(0, 2).join(' ');
  }
  strangerKey = (await makeKey(join(sshd.folder, 'stranger'))).split(' ').slice(0, 2).join(' ');
});
after(() => sshd.stop());

const options = (more: Partial<SshOptions> = {}): SshOptions => ({
  identity: sshd.clientKey,
  knownHosts: sshd.knownHosts,
  connectTimeoutMs: 5000,
  ...more,
});

let written = 0;
/** Options with a known_hosts file of these lines. */
async function withKnownHosts(...lines: string[]): Promise<SshOptions> {
  const path = join(sshd.folder, `known_hosts_${written++}`);
  await writeFile(path, lines.map((line) => `${line}\n`).join(''));
  return options({ knownHosts: path });
}

const here = (): string => `[127.0.0.1]:${sshd.port}`;

async function greet(ssh: SshOptions, target: { port: number } = sshd): Promise<string> {
  const client = await connectSsh({ host: '127.0.0.1', port: target.port, user: sshd.user }, ssh);
  try {
    return (await runRemotely(client, 'echo hello', 5000)).stdout;
  } finally {
    client.end();
  }
}

/** Asserts that it fails with this code, and that the message names the host, the key shown, and the file. */
async function refuses(
  ssh: SshOptions,
  code: string,
  kind: string,
  shown = hostKeys['ed25519'],
): Promise<void> {
  const print = fingerprintOf(Buffer.from(shown?.split(' ')[1] ?? '', 'base64'));
  await assert.rejects(greet(ssh), (error: Error & { code?: string; kind?: string; hint?: string }) => {
    assert.equal(error.code, code);
    assert.equal(error.kind, kind);
    for (const part of [here(), print, ssh.knownHosts]) assert(error.message.includes(part), error.message);
    assert(error.hint);
    return true;
  });
}

describe('host keys', () => {
  for (const type of ['ed25519', 'rsa', 'ecdsa'])
    it(`accepts a host of which only the ${type} key is known, though it has others`, async () => {
      assert.equal(await greet(await withKnownHosts(`${here()} ${hostKeys[type]}`)), 'hello\n');
    });

  it('accepts a hashed line', async () => {
    const salt = Buffer.alloc(20, 7);
    const hash = createHmac('sha1', salt).update(here()).digest('base64');
    const line = `|1|${salt.toString('base64')}|${hash} ${hostKeys['ed25519']}`;
    assert.equal(await greet(await withKnownHosts(line)), 'hello\n');
  });

  it('accepts a line without the port, as ssh does', async () => {
    assert.equal(await greet(await withKnownHosts(`127.0.0.1 ${hostKeys['ed25519']}`)), 'hello\n');
  });

  it('host-key-unknown: no line for the host', async () => {
    await refuses(await withKnownHosts(`elsewhere ${hostKeys['ed25519']}`), 'host-key-unknown', 'usage');
  });

  it('host-key-unknown: only a line without the port, with another key', async () => {
    await refuses(await withKnownHosts(`127.0.0.1 ${strangerKey}`), 'host-key-unknown', 'usage');
  });

  it('host-key-changed: another key of the same type', async () => {
    await refuses(await withKnownHosts(`${here()} ${strangerKey}`), 'host-key-changed', 'alarm');
  });

  it('host-key-changed: no key of the known type is left', async () => {
    const other = await startSshd({ hostKeys: ['rsa'], keysFrom: sshd.folder });
    try {
      const name = `[127.0.0.1]:${other.port}`;
      const ssh = await withKnownHosts(`${name} ${hostKeys['ed25519']}`);
      const print = fingerprintOf(Buffer.from(hostKeys['rsa']?.split(' ')[1] ?? '', 'base64'));
      await assert.rejects(greet(ssh, other), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'host-key-changed');
        assert(error.message.includes(print), error.message);
        return true;
      });
    } finally {
      await other.stop();
    }
  });

  it('host-key-revoked: even though another line lists the key', async () => {
    const ssh = await withKnownHosts(`${here()} ${hostKeys['ed25519']}`, `@revoked * ${hostKeys['ed25519']}`);
    await refuses(ssh, 'host-key-revoked', 'alarm');
  });

  it('host-key-certificate: only a @cert-authority is known', async () => {
    await refuses(await withKnownHosts(`@cert-authority * ${strangerKey}`), 'host-key-certificate', 'usage');
  });

  it('does not log in to a host with a different key', async () => {
    const before = (await sshd.log()).length;
    await assert.rejects(greet(await withKnownHosts(`${here()} ${strangerKey}`)));
    await sleep(100);
    assert.doesNotMatch((await sshd.log()).slice(before), /publickey|user root/i);
  });
});

describe('identities', () => {
  it('key-refused: the account does not know the key', async () => {
    await assert.rejects(greet(options({ identity: join(sshd.folder, 'stranger') })), {
      code: 'key-refused',
      kind: 'usage',
      message: new RegExp(`${sshd.user}$`),
    });
  });

  it('identity-missing: neither file nor agent', async () => {
    const { knownHosts } = options();
    await assert.rejects(greet({ knownHosts }), { code: 'identity-missing', kind: 'usage' });
  });

  it('identity-unreadable: no such file', async () => {
    const ssh = options({ identity: join(sshd.folder, 'nowhere') });
    await assert.rejects(greet(ssh), { code: 'identity-unreadable', kind: 'usage' });
  });

  it('identity-invalid: a public key, or no key at all', async () => {
    for (const path of [`${sshd.clientKey}.pub`, sshd.knownHosts])
      await assert.rejects(greet(options({ identity: path })), { code: 'identity-invalid', kind: 'usage' });
  });

  it('agent-unavailable: no socket', async () => {
    const ssh: SshOptions = { knownHosts: sshd.knownHosts, agent: join(sshd.folder, 'no-agent') };
    await assert.rejects(greet(ssh), { code: 'agent-unavailable', kind: 'usage' });
  });

  it('agent-unavailable: a socket whose listener has gone', async () => {
    const agent = join(sshd.folder, 'stale.sock');
    const listener = createServer(() => {});
    await new Promise<void>((resolve) => listener.listen(agent, resolve));
    await rename(agent, `${agent}.moved`); // `close` removes the socket by its first name.
    await new Promise((resolve) => listener.close(resolve));
    const ssh: SshOptions = { knownHosts: sshd.knownHosts, agent: `${agent}.moved` };
    await assert.rejects(greet(ssh), { code: 'agent-unavailable', kind: 'usage' });
  });

  it('logs in with an RSA identity', async () => {
    const path = join(sshd.folder, 'client_rsa');
    await sshd.authorize(await makeKey(path, 'rsa'));
    assert.equal(await greet(options({ identity: path })), 'hello\n');
  });
});

describe('an encrypted identity', () => {
  let path: string;
  before(async () => {
    path = join(sshd.folder, 'client_encrypted');
    await sshd.authorize(await makeKey(path, 'ed25519', 'correct horse'));
  });

  it('opens with its passphrase', async () => {
    assert.equal(await greet(options({ identity: path, passphrase: 'correct horse' })), 'hello\n');
  });

  it('identity-passphrase: a wrong one, which is not shown', async () => {
    await assert.rejects(
      greet(options({ identity: path, passphrase: 'battery staple' })),
      (error: Error & { code?: string; kind?: string }) =>
        error.code === 'identity-passphrase' && error.kind === 'usage' && !error.message.includes('battery'),
    );
  });

  it('identity-passphrase: none', async () => {
    await assert.rejects(greet(options({ identity: path })), { code: 'identity-passphrase', kind: 'usage' });
  });

  it('identity-needs-agent: Git cannot open it', () => {
    assert.throws(() => gitSshCommand(options({ identity: path, passphrase: 'correct horse' })), {
      code: 'identity-needs-agent',
      kind: 'usage',
    });
  });
});

describe('an ssh-agent', () => {
  let agent: ChildProcess;
  let socket: string;
  before(async () => {
    socket = join(sshd.folder, 'agent.sock');
    agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    const add = (): Promise<unknown> =>
      run('ssh-add', ['-q', sshd.clientKey], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
    for (let attempt = 0; attempt < 50; attempt++) {
      if (
        await add().then(
          () => true,
          () => false,
        )
      )
        return;
      await sleep(50);
    }
    assert.fail('ssh-agent did not start');
  });
  after(() => agent.kill());

  it('logs in', async () => {
    assert.equal(await greet({ knownHosts: sshd.knownHosts, agent: socket }), 'hello\n');
  });

  it('logs in for Git as well', async () => {
    await run('git', ['init', '-q', '--bare', join(sshd.folder, 'agent.git')]);
    const command = gitSshCommand({ knownHosts: sshd.knownHosts, agent: socket });
    const url = sshd.url(join(sshd.folder, 'agent.git'), 'ssh');
    await run('git', ['-c', `core.sshCommand=${command}`, 'ls-remote', url]);
  });
});

describe('a host that does not answer', () => {
  let silent: Server;
  before(async () => {
    silent = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  });
  after(() => new Promise((resolve) => silent.close(resolve)));

  it('host-unreachable: no server listens', async () => {
    const error = { code: 'host-unreachable', kind: 'unavailable', retryable: true };
    await assert.rejects(greet(options(), { port: 1 }), error);
  });

  it('host-unreachable: the server accepts the connection but sends nothing', async () => {
    const address = silent.address();
    assert(address !== null && typeof address === 'object');
    const started = Date.now();
    await assert.rejects(greet(options({ connectTimeoutMs: 300 }), address), { code: 'host-unreachable' });
    assert(Date.now() - started < 3000);
  });

  it('host-unreachable: the name does not exist', async () => {
    const connecting = connectSsh({ host: 'no-such-host.invalid', port: 22, user: 'u' }, options());
    await assert.rejects(connecting, { code: 'host-unreachable' });
  });
});

describe("Git's ssh command", () => {
  it('lets Git work, with paths that contain spaces, quotes and percent signs', async () => {
    const odd = join(sshd.folder, "an odd 'folder' 100%h");
    await mkdir(odd);
    await writeFile(join(odd, 'id'), await readFile(sshd.clientKey), { mode: 0o600 });
    await writeFile(join(odd, 'known hosts'), await readFile(sshd.knownHosts));
    await run('git', ['init', '-q', '--bare', join(sshd.folder, 'control.git')]);
    const command = gitSshCommand({ identity: join(odd, 'id'), knownHosts: join(odd, 'known hosts') });
    const url = sshd.url(join(sshd.folder, 'control.git'), 'ssh');
    await run('git', ['-c', `core.sshCommand=${command}`, 'ls-remote', url]);
  });

  it('checks the host key against the same known_hosts', async () => {
    const command = gitSshCommand(await withKnownHosts(`${here()} ${strangerKey}`));
    const url = sshd.url('/nowhere.git', 'ssh');
    const listing = run('git', ['-c', `core.sshCommand=${command}`, 'ls-remote', url]);
    await assert.rejects(listing, /REMOTE HOST IDENTIFICATION HAS CHANGED/);
  });

  it('ssh-path-unusable: a path that ssh would expand', () => {
    assert.throws(() => gitSshCommand(options({ knownHosts: '/srv/${HOME}/known_hosts' })), {
      code: 'ssh-path-unusable',
      kind: 'usage',
    });
  });
});
