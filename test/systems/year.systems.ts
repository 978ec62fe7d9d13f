/**
 * A year of a signer in compressed time: 500,000 polls and 20,000 requests over SSH, a change of certificates, rotated logs, a
 * repacked repository, another host key, cut connections, a clock that is set; heartbeats and housekeeping each day.
 * `SIGNPIPE_YEAR=0.1` is a tenth of that.
 */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { appendFile, copyFile, mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadSshSigner, type SshSigner } from '../../src/lib/sshsig/ssh-signer.ts';
import { objectId, serializeTree } from '../../src/lib/git/objects.ts';
import type { NewObject } from '../../src/lib/git/packfile.ts';
import { buildCommit } from '../../src/protocol/control/write-commit.ts';
import type { Receipt } from '../../src/protocol/control/receipt-schema.ts';
import { ControlRepository } from '../../src/protocol/control/repository.ts';
import { createTestCertificate, keyToPem, toPem, type TestIdentity } from '../../src/sandbox/certificates.ts';
import { forge } from '../lib/zip/zips.ts';
import { buildPe } from '../fixtures/pe.ts';
import { HEALTH_REFS } from '../../src/protocol/control/heartbeat.ts';
import { World } from '../world/site.ts';
import { makeKey } from '../world/sshd.ts';
import type { Measured, Order } from './year-signer.ts';

const SCALE = Number(process.env['SIGNPIPE_YEAR'] ?? '0.01');
const YEAR = {
  polls: 500_000 * SCALE,
  requests: 20_000 * SCALE,
  days: Math.max(30, Math.round(365 * SCALE)),
};
const DAY = 86_400_000;
/** How much of the year one step is, in ms. */
const STEP = (365 * DAY) / YEAR.days;
/** Of these requests one is wrong. */
const WRONG = 20;

/** The time of day of the whole site, ahead of the real one. */
let ahead = 0;
const now = (): Date => new Date(Date.now() + ahead);

/** The size of all files below a folder, in bytes. */
async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** By how much a series grows from its first to its last value, along the line that fits it best. */
function growth(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const [above, below] = values.reduce(
    ([top, bottom], value, at) => [top + (at - middle) * (value - mean), bottom + (at - middle) ** 2],
    [0, 0],
  );
  return (above / below) * (values.length - 1);
}

/** A sample at the end of a day. */
interface Sample extends Measured {
  readonly state: number;
  readonly clone: number;
  readonly packs: number;
}

class Site {
  readonly samples: Sample[] = [];
  private signer!: ChildProcess;
  private repository!: ControlRepository;
  private key!: SshSigner;
  private requests = 0;
  private readonly log: string;

  constructor(
    private readonly world: World,
    private readonly digest: string,
  ) {
    this.log = world.at('signer.log');
  }

  async open(): Promise<void> {
    const { world } = this;
    const ssh = {
      identity: world.at('keys', 'builder_ed25519'),
      knownHosts: world.at('keys', 'known_hosts'),
    };
    const url = `file://${world.control}`;
    this.repository = await ControlRepository.open({ url, path: world.at('builder.git') });
    this.key = await loadSshSigner(ssh.identity, {});
    const log = openSync(this.log, 'a');
    this.signer = fork(join(import.meta.dirname, 'year-signer.ts'), [world.site.signerConfig], {
      execArgv: ['--expose-gc', '--import', 'tsx'],
      stdio: ['ignore', log, 'inherit', 'ipc'],
      env: { ...process.env, TZ: 'Europe/Vienna' },
    });
    closeSync(log);
  }

  order(order: Order): void {
    this.signer.send(order);
  }

  async measure(): Promise<Measured> {
    this.order({ kind: 'measure' });
    const [measured] = (await once(this.signer, 'message', { signal: AbortSignal.timeout(120_000) })) as [
      Measured,
    ];
    return measured;
  }

  /** Waits until the signer has done as much as this. */
  async until(enough: (measured: Measured) => boolean): Promise<Measured> {
    for (;;) {
      const measured = await this.measure();
      if (enough(measured)) return measured;
      assert.equal(this.signer.exitCode, null, 'the signer runs');
      await sleep(300);
    }
  }

  /** Pushes some requests at once. */
  async request(count: number): Promise<void> {
    const { repository } = this;
    const heads = await repository.fetch();
    let parent = heads.requests;
    const objects: NewObject[] = [];
    for (let added = 0; added < count; added += 1) {
      this.requests += 1;
      const digest = this.requests % WRONG === 0 ? '0'.repeat(64) : this.digest;
      const blob = Buffer.from(`# ${this.requests}\n${digest}  product.zip\n`);
      const tree = serializeTree([{ mode: '100644', name: 'zipname', id: objectId('blob', blob) }]);
      const commit = {
        tree: objectId('tree', tree),
        parents: parent === null ? [] : [parent],
        identity: { name: 'Builder', email: 'builder@sandbox' },
        at: now(),
        message: 'Sign it\n',
      };
      const content = await buildCommit(commit, this.key);
      objects.push(
        { type: 'blob', content: blob },
        { type: 'tree', content: tree },
        { type: 'commit', content },
      );
      parent = objectId('commit', content);
    }
    await repository.writeObjects(objects);
    assert.equal(await repository.push('main', parent ?? '', heads.requests), 'pushed');
  }

  async day(polls: number, requests: number): Promise<void> {
    ahead += STEP;
    this.order({ kind: 'clock', ahead });
    await this.request(requests);
    await this.until(({ answered }) => answered >= this.requests);
    const measured = await this.until((each) => each.polls >= polls);
    const { world } = this;
    const clone = world.at('signer-state', 'control.git');
    const packs = (await readdir(join(clone, 'objects', 'pack'))).filter((name) =>
      name.endsWith('.pack'),
    ).length;
    const [state, inClone] = [await sizeOf(world.at('signer-state')), await sizeOf(clone)];
    this.samples.push({ ...measured, state: state - inClone, clone: inClone, packs });
  }

  async cutConnections(): Promise<void> {
    for (const pid of await this.world.sshd.sessions()) process.kill(pid, 'SIGKILL');
  }

  /** The host shows another key from now on; `known_hosts` has both, as its operator announced. */
  async rotateHostKey(): Promise<void> {
    const { sshd } = this.world;
    const [type, blob] = (await makeKey(join(sshd.folder, 'host_next'))).split(' ');
    await appendFile(this.world.at('keys', 'known_hosts'), `[127.0.0.1]:${sshd.port} ${type} ${blob}\n`);
    const config = join(sshd.folder, 'sshd_config');
    const text = await readFile(config, 'utf8');
    await writeFile(
      config,
      `${text.replace(/^HostKey .*\n/gm, '')}HostKey ${join(sshd.folder, 'host_next')}\n`,
    );
    sshd.reload();
    await sleep(500);
    await this.cutConnections();
  }

  /** As logrotate does with copytruncate. */
  async rotateLog(): Promise<void> {
    await copyFile(this.log, `${this.log}.1`);
    await truncate(this.log);
  }

  logged(): Promise<string> {
    return readFile(this.log, 'utf8');
  }

  async close(): Promise<void> {
    if (this.signer.exitCode === null) {
      const exited = once(this.signer, 'exit');
      this.order({ kind: 'stop' });
      const [status] = (await exited) as [number | null];
      assert.equal(status, 0, 'it was stopped in order');
    }
    this.repository.close();
  }
}

/** A certificate that is valid for two years, so that the year ends before it does. */
const longLived = (
  commonName: string,
  purpose: 'code-signing' | 'timestamping',
  issuer: TestIdentity,
): Promise<TestIdentity> =>
  createTestCertificate({
    commonName,
    purpose,
    issuer,
    key: 'p256',
    notAfter: new Date(Date.now() + 730 * DAY),
  });

describe(`a year of a signer, ${SCALE} of it`, () => {
  let world: World;
  let site: Site;
  before(async () => {
    const root = await createTestCertificate({ commonName: 'Year root', purpose: 'authority' });
    const identity = await longLived('Year authority', 'timestamping', root);
    world = await World.start({ timestamp: { identity, now } });
    const successor = await longLived('Test publisher', 'code-signing', root);
    await writeFile(world.at('keys', 'next.key'), keyToPem(successor.key), { mode: 0o600 });
    await writeFile(world.at('keys', 'next.pem'), toPem(successor.chain));
    // The one signed file is always that of the newest receipt, so it stays.
    await world.configure('housekeeping: { outgoing: 30d }');
    const from = new Date(Date.now() + 0.4 * 365 * DAY).toISOString().slice(0, 10);
    await world.reconfigure((text) =>
      text.replace(
        'signing:\n',
        `signing:\n  successor: { certificate: keys/next.pem, key: keys/next.key, from: ${from} }\n`,
      ),
    );
    const zip = forge([{ name: 'program.exe', content: buildPe() }]);
    await mkdir(world.exchange('incoming'), { recursive: true });
    await writeFile(world.exchange('incoming', 'product.zip'), zip);
    site = new Site(world, createHash('sha256').update(zip).digest('hex'));
    await site.open();
  });
  after(async () => {
    await site.close();
    await world.stop();
  });

  it('passes, with every request answered', async () => {
    const perDay = Math.round(YEAR.requests / YEAR.days);
    const events = new Map<number, () => Promise<unknown>>([
      [Math.round(YEAR.days * 0.2), () => site.rotateLog()],
      [Math.round(YEAR.days * 0.3), () => world.git('gc', '--quiet', '--prune=now')],
      [Math.round(YEAR.days * 0.5), () => site.rotateHostKey()],
      [Math.round(YEAR.days * 0.6), () => site.cutConnections()],
      // The clock is set back by an hour, which commits of the future make wait; then it is right again.
      [Math.round(YEAR.days * 0.7), async () => site.order({ kind: 'clock', ahead: ahead - 3_600_000 })],
      [Math.round(YEAR.days * 0.8), () => world.git('repack', '-a', '-d', '--quiet')],
    ]);
    for (let day = 1; day <= YEAR.days; day += 1) {
      await events.get(day)?.();
      await site.day((YEAR.polls * day) / YEAR.days, perDay);
      if (day % 10 === 0) console.log(`day ${day} of ${YEAR.days}: ${JSON.stringify(site.samples.at(-1))}`);
    }
    const last = site.samples.at(-1);
    assert.equal(last?.answered, perDay * YEAR.days);
    assert.ok(last.polls >= YEAR.polls);
    const receipts = await world.git('rev-list', '--count', '--merges', 'signed');
    assert.equal(Number(receipts), perDay * YEAR.days, 'one receipt for each request');
  });

  it('changed to the next certificate on its day', async () => {
    const commits = (await world.git('rev-list', '--merges', '--reverse', 'signed')).split('\n');
    /** The certificate of the first signed receipt after a part of the year. */
    const certificate = async (part: number): Promise<string> => {
      for (const commit of commits.slice(Math.round(commits.length * part))) {
        const receipt = JSON.parse(await world.git('show', `${commit}:receipt.json`)) as Receipt;
        if (receipt.certificate) return receipt.certificate.sha256;
      }
      return 'none';
    };
    const used = await Promise.all([0.1, 0.3, 0.5, 0.9].map(certificate));
    const [first, second, third, last] = used;
    assert.equal(first, second);
    assert.equal(third, last);
    assert.notEqual(first, last);
  });

  /** The samples after the first quarter, in which caches fill. */
  const settled = (): Sample[] => site.samples.slice(Math.floor(site.samples.length / 4));
  const grown = (of: (sample: Sample) => number): number => growth(settled().map(of));
  const answeredMeanwhile = (): number => (settled().at(-1)?.answered ?? 0) - (settled()[0]?.answered ?? 0);

  it('needs no more memory at its end', () => {
    // The index of answered requests: some hundred bytes for each.
    const allowed = 500 * answeredMeanwhile();
    assert.ok(grown(({ heap }) => heap) < 3e6 + allowed, `heap: ${grown(({ heap }) => heap)}`);
    assert.ok(grown(({ external }) => external) < 8e6, `external: ${grown(({ external }) => external)}`);
    assert.ok(grown(({ rss }) => rss) < 40e6 + allowed, `rss: ${grown(({ rss }) => rss)}`);
  });

  it('has no more descriptors and children', () => {
    assert.ok(grown(({ descriptors }) => descriptors) < 3);
    assert.ok(Math.max(...site.samples.map(({ descriptors }) => descriptors)) < 60);
    assert.ok(grown(({ children }) => children) < 2);
  });

  it('keeps its state small: receipts in the clone, joined packs, some lines a request beside it', () => {
    const perRequest = (of: (sample: Sample) => number): number => grown(of) / answeredMeanwhile();
    assert.ok(perRequest(({ clone }) => clone) < 20_000, `clone: ${perRequest(({ clone }) => clone)}`);
    assert.ok(perRequest(({ state }) => state) < 2000, `state: ${perRequest(({ state }) => state)}`);
    // Packs are joined after a fetch, and each receipt of a day adds one.
    const most = 60 + Math.round(YEAR.requests / YEAR.days);
    assert.ok(Math.max(...site.samples.map(({ packs }) => packs)) <= most);
  });

  it('told how it was until the end of the year', async () => {
    const times = (await world.git('for-each-ref', '--format=%(committerdate:unix)', HEALTH_REFS)).split(
      '\n',
    );
    assert.equal(times.length, 1);
    const written = Number(times[0]) * 1000;
    assert.ok(
      now().getTime() - written < 2 * STEP,
      `the last heartbeat is of ${new Date(written).toISOString()}`,
    );
    assert.doesNotMatch(await site.logged(), /no heartbeat could be pushed/);
  });

  it('failed no poll but those whose connection was cut', () => {
    assert.ok((site.samples.at(-1)?.failed ?? Infinity) < 12);
  });
});
