/** What the shipped sshd_config lets each account reach: a real sshd with its blocks, and OpenSSH's own client. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { startSshd, type Sshd } from '../world/sshd.ts';
import { pipeline } from './site.ts';

const run = promisify(execFile);

/** Greets and closes, so that a client that gets through reads something. */
const greeter = async (): Promise<Server> => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end('reached\n');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
};

const portOf = (server: Server): number => (server.address() as { port: number }).port;

/** The block of the shipped file for an account, for the only account that the test has. */
async function settingsOf(account: string, authority: string): Promise<string[]> {
  const blocks = (await readFile(pipeline('host/sshd_config'), 'utf8')).split(/^(?=Match )/m);
  const own = blocks.filter((block) => new RegExp(`^Match User .*\\b${account}\\b`).test(block));
  assert.ok(own.length > 0, account);
  return own
    .flatMap((block) => block.split('\n').slice(1))
    .filter((line) => line.startsWith(' ') && !/AuthorizedKeysFile|ChrootDirectory/.test(line))
    .map((line) => line.trim().replace(/timestamp\.example\.org:80/, authority));
}

describe('the shipped sshd_config', () => {
  let authority: Server;
  let elsewhere: Server;
  const hosts = new Map<string, Sshd>();

  before(async () => {
    [authority, elsewhere] = [await greeter(), await greeter()];
    for (const account of ['git', 'build', 'sign'])
      hosts.set(
        account,
        await startSshd({ config: await settingsOf(account, `127.0.0.1:${portOf(authority)}`) }),
      );
  });
  after(async () => {
    for (const host of hosts.values()) await host.stop();
    authority.close();
    elsewhere.close();
  });

  function sshArgs(account: string, ...more: string[]): string[] {
    const host = hosts.get(account);
    assert.ok(host);
    const options = ['BatchMode=yes', 'IdentitiesOnly=yes', 'ExitOnForwardFailure=yes'];
    const known = `UserKnownHostsFile=${host.knownHosts}`;
    return [
      '-F',
      '/dev/null',
      ...[...options, known].flatMap((option) => ['-o', option]),
      ...['-i', host.clientKey, '-p', String(host.port), ...more, `${host.user}@127.0.0.1`],
    ];
  }

  /** What `ssh -W` reads from an address behind the host, or its complaint. */
  const reach = (account: string, server: Server): Promise<string> =>
    run('ssh', sshArgs(account, '-W', `127.0.0.1:${portOf(server)}`), { timeout: 20_000 }).then(
      ({ stdout }) => stdout,
      ({ stderr }: { stderr: string }) => stderr,
    );

  it('lets the signer through to its timestamp authority', async () => {
    assert.equal(await reach('sign', authority), 'reached\n');
  });

  it('lets the signer through to nothing else', async () => {
    assert.match(await reach('sign', elsewhere), /administratively prohibited/);
  });

  for (const account of ['git', 'build'])
    it(`lets the account ${account} through to nothing`, async () => {
      for (const server of [authority, elsewhere])
        assert.match(await reach(account, server), /administratively prohibited/);
    });

  for (const account of ['git', 'build', 'sign'])
    it(`opens no port for the account ${account}`, async () => {
      const args = sshArgs(account, '-N', '-R', `0:127.0.0.1:${portOf(elsewhere)}`);
      const child = spawn('ssh', args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
      const timer = setTimeout(() => child.kill(), 10_000);
      const [status] = (await once(child, 'close')) as [number | null];
      clearTimeout(timer);
      assert.notEqual(status, 0);
      assert.match(said, /remote port forwarding failed/);
    });
});
