/** Timestamps through an SSH host: a real sshd that permits one address, with authorities behind it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { TimestampRoutes } from '../../../src/app/timestamps/routes.ts';
import { TimestampClient } from '../../../src/engine/timestamp/client.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { OpensslFolder } from '../../engine/keys/openssl.ts';
import { tlsFront, type TlsFront } from '../../engine/timestamp/tls-front.ts';
import { makeKey, startSshd, type Sshd } from '../../world/sshd.ts';

const run = promisify(execFile);
const CHILD = join(import.meta.dirname, 'via-ssh-child.ts');

const data = Buffer.from('the value of a signature');

let permitted: RunningAuthority;
let other: RunningAuthority;
/** Accepts connections and answers nothing. */
let silent: ReturnType<typeof createTcpServer>;
let moved: Server;
let sshd: Sshd;
const opened: TimestampRoutes[] = [];

const portOf = (server: { address(): unknown }): number => (server.address() as { port: number }).port;

before(async () => {
  permitted = await startTimestampAuthority();
  other = await startTimestampAuthority();
  silent = createTcpServer(() => {}).listen(0, '127.0.0.1');
  moved = createServer((_, response) => response.writeHead(307, { location: other.url }).end());
  moved.listen(0, '127.0.0.1');
  await Promise.all([once(silent, 'listening'), once(moved, 'listening')]);
  const ports = [new URL(permitted.url).port, portOf(silent), portOf(moved), 1];
  sshd = await startSshd({
    config: ['AllowTcpForwarding local', `PermitOpen ${ports.map((port) => `127.0.0.1:${port}`).join(' ')}`],
  });
});

after(async () => {
  for (const routes of opened) await routes.close();
  await sshd.stop();
  await Promise.all([permitted.close(), other.close()]);
  silent.close();
  moved.close();
});

function routesWith(ssh: { identity?: string; knownHosts?: string } = {}, host = sshd): TimestampRoutes {
  const config = {
    control: { url: host.url('/control.git', 'ssh') },
    exchange: { url: host.url('/') },
    receipts: { key: join(host.folder, 'receipts'), name: 'Signer' },
    state: host.folder,
    ssh: { identity: host.clientKey, knownHosts: host.knownHosts, ...ssh },
  };
  const routes = new TimestampRoutes(config, { warn: assert.fail });
  opened.push(routes);
  return routes;
}

/** A client that asks each authority once, and what it heard from those that failed. */
function clientOf(routes: TimestampRoutes, url: string, timeoutMs = 5000) {
  const failures: SignpipeError[] = [];
  const client = new TimestampClient([routes.endpoint({ url, via: 'ssh' })], {
    attempts: 1,
    timeoutMs,
    restMs: 0,
    onFailure: (_, error) => failures.push(error),
  });
  return { client, failures };
}

/** The error of the only attempt. */
async function refused(routes: TimestampRoutes, url: string, timeoutMs?: number): Promise<SignpipeError> {
  const { client, failures } = clientOf(routes, url, timeoutMs);
  await assert.rejects(client.timestamp(data, 'sha256'), { code: 'timestamp-unavailable' });
  const [failure] = failures;
  assert.ok(failure);
  return failure;
}

describe('an authority via ssh', () => {
  it('is asked over one SSH connection, however many timestamps there are, and over few connections onwards', async () => {
    const routes = routesWith();
    const { client, failures } = clientOf(routes, permitted.url);
    const before = permitted.requests.length;
    await client.timestamp(data, 'sha256');
    await Promise.all(Array.from({ length: 40 }, () => client.timestamp(data, 'sha256')));
    assert.deepEqual(failures, []);
    assert.equal(permitted.requests.length - before, 41);
    await client.timestamp(data, 'sha256');
    const ports = new Set(permitted.requests.slice(before).map(({ port }) => port));
    assert.ok(ports.size <= 40, `${ports.size} connections for 42 timestamps`);
    assert.equal((await sshd.sessions()).length, 1);
  });

  it('leaves no listeners on a connection that is used again and again', async () => {
    const warnings: string[] = [];
    const note = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', note);
    const { client } = clientOf(routesWith(), permitted.url);
    for (let count = 0; count < 15; count += 1) await client.timestamp(data, 'sha256');
    process.off('warning', note);
    assert.deepEqual(warnings, []);
  });

  it('gets a new SSH connection after the old one was cut', async () => {
    const routes = routesWith();
    const { client } = clientOf(routes, permitted.url);
    await client.timestamp(data, 'sha256');
    for (const pid of await sshd.sessions()) process.kill(pid, 'SIGKILL');
    // The cut may reach the first request.
    await client.timestamp(data, 'sha256').catch(() => client.timestamp(data, 'sha256'));
  });

  it('is asked without the proxy that the environment names', async () => {
    process.env['http_proxy'] = 'http://127.0.0.1:9/';
    try {
      await clientOf(routesWith(), permitted.url).client.timestamp(data, 'sha256');
    } finally {
      delete process.env['http_proxy'];
    }
  });

  it('timestamp-forwarding: the SSH host does not permit its address; the hint is the line to add', async () => {
    const { port } = new URL(other.url);
    const before = other.requests.length;
    const error = await refused(routesWith(), other.url);
    assert.equal(error.code, 'timestamp-forwarding');
    assert.equal(error.kind, 'unavailable');
    assert.match(
      error.message,
      new RegExp(`does not permit ${sshd.user} to connect to 127\\.0\\.0\\.1:${port}`),
    );
    assert.match(
      error.hint ?? '',
      new RegExp(`AllowTcpForwarding local, PermitOpen 127\\.0\\.0\\.1:${port}`),
    );
    assert.equal(other.requests.length, before);
  });

  it('timestamp-forwarding: the authority redirects to an address that is not permitted', async () => {
    const before = other.requests.length;
    const error = await refused(routesWith(), `http://127.0.0.1:${portOf(moved)}/`);
    assert.equal(error.code, 'timestamp-forwarding');
    assert.equal(other.requests.length, before);
  });

  it('timestamp-forwarding: authorized_keys says only `restrict`', async () => {
    const key = join(sshd.folder, 'restricted');
    await sshd.authorize(`restrict ${await makeKey(key)}`);
    const error = await refused(routesWith({ identity: key }), permitted.url);
    assert.equal(error.code, 'timestamp-forwarding');
    assert.match(error.hint ?? '', /port-forwarding/);
    await sshd.authorize(`restrict,port-forwarding ${await makeKey(`${key}2`)}`);
    await clientOf(routesWith({ identity: `${key}2` }), permitted.url).client.timestamp(data, 'sha256');
  });

  it('timestamp-connection: the SSH host cannot connect to it', async () => {
    const error = await refused(routesWith(), 'http://127.0.0.1:1/');
    assert.equal(error.code, 'timestamp-connection');
    assert.match(error.message, /\[127\.0\.0\.1\]:\d+ cannot connect to 127\.0\.0\.1:1: Connection refused/);
  });

  it('timestamp-timeout: it does not answer; the SSH connection stays in use', async () => {
    const routes = routesWith();
    const before = new Set(await sshd.sessions());
    const error = await refused(routes, `http://127.0.0.1:${portOf(silent)}/`, 300);
    assert.equal(error.code, 'timestamp-timeout');
    await clientOf(routes, permitted.url).client.timestamp(data, 'sha256');
    const added = (await sshd.sessions()).filter((pid) => !before.has(pid));
    assert.equal(added.length, 1);
  });

  it('host-unreachable: no SSH server', async () => {
    const gone = { ...sshd, url: () => `sftp://${sshd.user}@127.0.0.1:1/` };
    const knownHosts = join(sshd.folder, 'known_elsewhere');
    await writeFile(
      knownHosts,
      (await readFile(sshd.knownHosts, 'utf8')).replaceAll(`:${sshd.port} `, ':1 '),
    );
    assert.equal((await refused(routesWith({ knownHosts }, gone), permitted.url)).code, 'host-unreachable');
  });

  it('host-key-changed: another host key; the alarm is not taken for an outage', async () => {
    const knownHosts = join(sshd.folder, 'other_hosts');
    const [type = '', blob = ''] = (await makeKey(join(sshd.folder, 'other_host'))).split(' ');
    await appendFile(knownHosts, `[127.0.0.1]:${sshd.port} ${type} ${blob}\n`);
    const { client } = clientOf(routesWith({ knownHosts }), permitted.url);
    await assert.rejects(client.timestamp(data, 'sha256'), { code: 'host-key-changed', kind: 'alarm' });
  });
});

describe('an authority over https via ssh', () => {
  let work: OpensslFolder;
  let good: TlsFront;
  let misnamed: TlsFront;
  let host: Sshd;
  before(async () => {
    work = await OpensslFolder.create();
    good = await tlsFront(work, permitted.url, 'good', 'IP:127.0.0.1');
    misnamed = await tlsFront(work, permitted.url, 'misnamed', 'DNS:elsewhere.example.org');
    const open = [good, misnamed].map(({ url }) => new URL(url).host);
    host = await startSshd({ config: [`PermitOpen ${open.join(' ')}`] });
  });
  after(async () => {
    for (const { server } of [good, misnamed]) server.close().closeAllConnections();
    await host.stop();
    await work.remove();
  });

  async function asked(url: string, ca?: string): Promise<string> {
    const args = ['--import', 'tsx', CHILD, host.url('/'), host.clientKey, host.knownHosts, url];
    const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
    const more = ca === undefined ? {} : { NODE_EXTRA_CA_CERTS: work.path(ca) };
    return (await run(process.execPath, args, { env: { ...env, ...more }, timeout: 30_000 })).stdout;
  }

  it('returns a timestamp if its certificate is trusted', async () => {
    assert.equal(await asked(good.url, 'good.pem'), 'granted');
  });

  it('timestamp-connection: its certificate is not trusted, whatever the SSH host is', async () => {
    assert.match(await asked(good.url), /^timestamp-connection .*self-signed certificate/);
  });

  it('timestamp-connection: its certificate is trusted, but is for another host', async () => {
    const outcome = await asked(misnamed.url, 'misnamed.pem');
    assert.match(outcome, /^timestamp-connection .*does not match certificate's altnames/);
  });
});

describe('an SSH host that cuts the connection', () => {
  it('is an outage wherever it cuts; the next timestamp connects again', async () => {
    /** After how many bytes from the host it cuts. */
    let cutAfter = 0;
    const relay = createTcpServer((client) => {
      const host = connect(Number(new URL(sshd.url('/')).port), '127.0.0.1');
      let left = cutAfter;
      const cut = (): void => {
        client.destroy();
        host.destroy();
      };
      client
        .on('data', (bytes) => host.write(bytes))
        .on('error', cut)
        .on('close', cut);
      host.on('error', cut).on('close', cut);
      host.on('data', (bytes: Buffer) => {
        client.write(bytes.subarray(0, Math.max(0, left)));
        left -= bytes.length;
        if (left <= 0) client.end(cut);
      });
    }).listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const port = String(portOf(relay));
    const sshdPort = new URL(sshd.url('/')).port;
    const knownHosts = join(sshd.folder, 'relayed_hosts');
    await writeFile(
      knownHosts,
      (await readFile(sshd.knownHosts, 'utf8')).replaceAll(`:${sshdPort}`, `:${port}`),
    );
    const relayed = {
      ...sshd,
      knownHosts,
      url: (path: string) => sshd.url(path).replace(`:${sshdPort}`, `:${port}`),
    };
    const routes = routesWith({}, relayed);
    const codes = new Set<string>();
    for (cutAfter = 10; cutAfter < 9000; cutAfter += cutAfter < 1000 ? 330 : 270) {
      const { client, failures } = clientOf(routes, permitted.url);
      await client.timestamp(data, 'sha256').catch(() => {});
      for (const { code, kind } of failures) {
        assert.equal(kind, 'unavailable', code);
        codes.add(code);
      }
    }
    assert.ok(codes.has('host-unreachable') && codes.size > 1, [...codes].join(' '));
    cutAfter = 1e9;
    const { client } = clientOf(routes, permitted.url);
    // The connection that is open may still be cut.
    await client.timestamp(data, 'sha256').catch(() => client.timestamp(data, 'sha256'));
    relay.close();
  });
});
