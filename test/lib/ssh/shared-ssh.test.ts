import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { SharedSsh } from '../../../src/lib/ssh/shared-ssh.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';

const run = promisify(execFile);

let sshd: Sshd;
let folder: string;
let url: string;
before(async () => {
  sshd = await startSshd();
  folder = join(sshd.folder, 'state');
  await mkdir(folder, { mode: 0o700 });
  const repository = join(sshd.folder, 'control.git');
  await run('git', ['init', '-q', '--bare', repository]);
  url = sshd.url(repository, 'ssh');
});
after(() => sshd.stop());

const shared = (where = folder): SharedSsh =>
  new SharedSsh({ identity: sshd.clientKey, knownHosts: sshd.knownHosts }, where);
const lists = ({ command }: SharedSsh): Promise<unknown> =>
  run('git', ['-c', `core.sshCommand=${command}`, 'ls-remote', url]);
const logins = async (): Promise<number> => (await sshd.log()).split('Accepted publickey').length - 1;
const sockets = async (): Promise<string[]> =>
  (await readdir(folder)).filter((name) => name.startsWith('ssh-'));

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (await holds()) return;
    await sleep(50);
  }
  assert.fail(what);
}

describe("Git's runs over one SSH connection", () => {
  it('log in once, through a socket that only this account can open, and leave nothing behind', async () => {
    const ssh = shared();
    const before = await logins();
    for (let runs = 0; runs < 3; runs += 1) await lists(ssh);
    assert.equal((await logins()) - before, 1);
    const [socket = '', ...more] = await sockets();
    assert.equal(more.length, 0);
    assert.equal((await stat(join(folder, socket))).mode & 0o777, 0o600);
    ssh.close();
    await until('the socket is gone', async () => (await sockets()).length === 0);
    await until('the connection is gone', async () => (await sshd.sessions()).length === 0);
  });

  it('connect again when the connection was cut', async () => {
    const ssh = shared();
    const before = await logins();
    await lists(ssh);
    for (const pid of await sshd.sessions()) process.kill(pid, 'SIGKILL');
    await lists(ssh);
    assert.equal((await logins()) - before, 2);
    ssh.close();
    await until('the socket is gone', async () => (await sockets()).length === 0);
  });

  it('connect if a stale socket is there', async () => {
    const ssh = shared();
    await lists(ssh);
    const [name = ''] = await sockets();
    const { stderr } = await run('ssh', ['-S', join(folder, name), '-O', 'check', 'any']);
    process.kill(Number(/pid=(\d+)/.exec(stderr)?.[1]), 'SIGKILL');
    await until('the connection is gone', async () => (await sshd.sessions()).length === 0);
    assert.deepEqual(await sockets(), [name]);
    await lists(ssh);
    ssh.close();
    await until('the socket is gone', async () => (await sockets()).length === 0);
  });

  it('do not share one with another process, which may use other host keys and another identity', async () => {
    const [one, other] = [shared(), shared()];
    const before = await logins();
    await lists(one);
    await lists(other);
    assert.equal((await logins()) - before, 2);
    one.close();
    other.close();
    await until('the sockets are gone', async () => (await sockets()).length === 0);
  });

  it('connect one by one if the path of a socket would be too long', async () => {
    const deep = join(folder, 'x'.repeat(60), 'y'.repeat(60));
    await mkdir(deep, { recursive: true });
    const ssh = shared(deep);
    assert.match(ssh.command, /ControlPath=none/);
    const before = await logins();
    for (let runs = 0; runs < 2; runs += 1) await lists(ssh);
    assert.equal((await logins()) - before, 2);
    ssh.close();
  });

  it('work in a folder whose path contains spaces, quotes and percent signs', async () => {
    const odd = join(sshd.folder, "a 'b' 100%h");
    await mkdir(odd);
    const ssh = shared(odd);
    assert.match(ssh.command, /ControlMaster=auto/);
    await lists(ssh);
    assert.equal((await readdir(odd)).length, 1);
    ssh.close();
    await until('the socket is gone', async () => (await readdir(odd)).length === 0);
  });

  it('check the host key against known_hosts', async () => {
    const knownHosts = join(sshd.folder, 'no-hosts');
    await writeFile(knownHosts, '');
    const ssh = new SharedSsh({ identity: sshd.clientKey, knownHosts }, folder);
    await assert.rejects(lists(ssh), /Host key verification failed/);
    assert.deepEqual(await sockets(), []);
  });
});
