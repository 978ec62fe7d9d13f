/**
 * A signer in a network namespace whose only route is one SSH host: it signs with timestamps over SSH, and by courier.
 * Needs root, or the right to create network namespaces; without it these tests fail.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { withCourier } from '../../src/app/courier/open-courier.ts';
import { World, type Ended } from '../world/site.ts';
import { soundZip } from '../app/signer/test-signer.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

const ID = process.pid % 250;
const NAMESPACE = `signpipe-${process.pid}`;
const [OUTSIDE, INSIDE] = [`sp${process.pid}o`, `sp${process.pid}i`];
/** The host's address, and the signer's. */
const [HOST, SIGNER] = [`10.231.${ID}.1`, `10.231.${ID}.2`];

const ip = (...args: string[]): Promise<unknown> => run('ip', args);

/** A namespace with one link, to this machine, and no other route. */
async function createNamespace(): Promise<void> {
  try {
    await ip('netns', 'add', NAMESPACE);
    await ip('link', 'add', OUTSIDE, 'type', 'veth', 'peer', 'name', INSIDE, 'netns', NAMESPACE);
    await ip('addr', 'add', `${HOST}/30`, 'dev', OUTSIDE);
    await ip('link', 'set', OUTSIDE, 'up');
    await ip('-n', NAMESPACE, 'addr', 'add', `${SIGNER}/30`, 'dev', INSIDE);
    await ip('-n', NAMESPACE, 'link', 'set', INSIDE, 'up');
  } catch (cause) {
    throw new Error('this machine cannot create network namespaces: run the test as root', { cause });
  }
}

/** The remote address and port of a line of /proc/net/tcp. */
function remoteOf(line: string): string | null {
  const [, address, port] = /^ *\d+: \S+ ([0-9A-F]{8}):([0-9A-F]{4}) /.exec(line) ?? [];
  if (address === undefined || port === undefined || port === '0000') return null;
  const bytes = [...Buffer.from(address, 'hex')].reverse();
  return `${bytes.join('.')}:${Number.parseInt(port, 16)}`;
}

describe('a signer that reaches one host and nothing else', () => {
  let world: World;
  const remotes = new Set<string>();

  before(async () => {
    await createNamespace();
    world = await World.start({ sshd: { listen: [HOST] } });
    const known = await readFile(world.sshd.knownHosts, 'utf8');
    await appendFile(world.at('keys', 'known_hosts'), known.replaceAll('[127.0.0.1]', `[${HOST}]`));
    await world.reconfigure((text) =>
      text
        .replaceAll('@127.0.0.1:', `@${HOST}:`)
        .replace(/^retry:.*$/m, 'retry: { attempts: 1, wait: 0, for: 0 }'),
    );
  });
  after(async () => {
    await world?.stop();
    await ip('netns', 'del', NAMESPACE).catch(() => {});
  });

  /** Runs the signer once in the namespace; notes every address that it connects to. */
  async function signOnce(): Promise<Ended> {
    const watching = setInterval(() => {
      void run('ip', ['netns', 'exec', NAMESPACE, 'cat', '/proc/net/tcp', '/proc/net/tcp6']).then(
        ({ stdout }) => {
          for (const line of stdout.split('\n')) remotes.add(remoteOf(line) ?? '');
        },
      );
    }, 50);
    const command = [
      process.execPath,
      join(root, 'dist/main.js'),
      'watch',
      '-c',
      world.site.signerConfig,
      '--once',
    ];
    try {
      const { stdout, stderr } = await run('ip', ['netns', 'exec', NAMESPACE, ...command]);
      return { status: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { status: code, stdout, stderr };
    } finally {
      clearInterval(watching);
    }
  }

  /** Requests a signature, and lets the signer answer with this way to the authority. */
  async function answeredVia(via: string): Promise<{ outcome: string; message: string; stamped: number }> {
    const authority = JSON.stringify([{ url: world.authority.url, via }]);
    await world.reconfigure((text) => text.replace(/^ {2}timestamp: .*$/m, `  timestamp: ${authority}`));
    const file = world.at(`${via}.zip`);
    await writeFile(file, soundZip(via.length));
    await world.submit([file]);
    const { status, stdout, stderr } = await signOnce();
    assert.equal(status, 0, stdout + stderr);
    const receipt = await world.receipt();
    const signed = receipt.files.flatMap((each) => each.signed);
    return {
      outcome: receipt.outcome,
      message: receipt.reason?.message ?? '',
      stamped: signed.filter(({ timestamp }) => timestamp !== null).length,
    };
  }

  it('cannot reach the authority by a connection of its own', async () => {
    const { outcome, message } = await answeredVia('direct');
    assert.equal(outcome, 'failed');
    assert.match(message, /timestamp-connection/);
    remotes.clear();
  });

  it('signs with timestamps through the SSH host', async () => {
    assert.deepEqual(await answeredVia('ssh'), { outcome: 'signed', message: '', stamped: 1 });
  });

  it('signs with timestamps by courier', async () => {
    const stop = new AbortController();
    const config = {
      file: '',
      control: { url: `file://${world.control}` },
      trust: { allowedSigners: world.at('keys', 'receipt_signers') },
      authorities: [world.authority.url],
      timeout: 5000,
      poll: 500,
      name: 'Courier',
      state: world.at('courier-state'),
    };
    const carried = withCourier(config, pino({ enabled: false }), (courier) => courier.watch(stop.signal));
    const answered = await answeredVia('courier');
    stop.abort();
    await carried;
    assert.deepEqual(answered, { outcome: 'signed', message: '', stamped: 1 });
    assert.equal(await world.git('for-each-ref', 'refs/signpipe'), '');
  });

  it('connected to nothing but that host’s SSH port', () => {
    remotes.delete('');
    assert.deepEqual([...remotes], [`${HOST}:${world.sshd.port}`]);
  });
});
