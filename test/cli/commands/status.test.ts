import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { checkHealth } from '../../../src/app/site/doctor/check-health.ts';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import type { SignerHealth } from '../../../src/app/signer/state/health.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { onTerminal } from '../../terminal.ts';
import { until } from '../../until.ts';
import { Hostile } from '../../world/hostile.ts';
import { assertRefused, signpipe, World, type Ended } from '../../world/site.ts';

let world: World;
let down: RunningAuthority;
let broken = false;
before(async () => {
  world = await World.start({ ssh: false });
  down = await startTimestampAuthority({
    identity: world.site.pki.timestamping,
    misbehave: () => (broken ? 'http-500' : undefined),
  });
  await world.reconfigure((text) =>
    text
      .replaceAll(world.authority.url, down.url)
      .replace(/^retry:.*$/m, 'retry: { attempts: 1, wait: 0, for: 1h }'),
  );
});
after(async () => {
  await down.close();
  await world.stop();
});

const status = (...more: string[]): Promise<Ended> =>
  signpipe(['status', '-c', world.site.signerConfig, ...more]);
const file = (): string => world.at('signer-state', 'health.json');
const asJson = async (): Promise<SignerHealth & { running: boolean }> => {
  const { stdout } = await status('--json');
  const { signers } = JSON.parse(stdout) as { signers: (SignerHealth & { running: boolean })[] };
  const [signer] = signers;
  assert.ok(signer);
  return signer;
};

const request = async (name: string): Promise<string> => {
  const host = new Hostile(world);
  return host.commit({ files: { zipname: await host.release(name) }, message: 'Sign it\n' });
};

describe('signpipe status', () => {
  it('status-unknown: no signer has run yet', async () =>
    assertRefused(await status(), 1, 'status-unknown', /no signer has written it yet[^]*signpipe watch/));

  it('shows a running signer, its certificate and how its authorities answer', async () => {
    broken = false;
    await request('a.zip');
    await world.withSigner(async (signer) => {
      await signer.poll();
      await until('written', async () => /"succeeded":[1-9]/.test(await readFile(file(), 'utf8')));
      const { status: code, stdout } = await status();
      assert.equal(code, 0);
      assert.match(stdout, /^signer running since \d{4}-.* \(process \d+\), last heard from \d+ s ago$/m);
      assert.match(stdout, /^channel default\n {2}certificate {2}.*, until \d{4}-\d\d-\d\d, \d+ days left$/m);
      assert.match(
        stdout,
        /authority {4}http:\/\/127.*: circuit closed, \d+ tokens?, usually in \d+ ms, the last/,
      );
    });
  });

  it('says that a signer was stopped', async () => {
    const { status: code, stdout } = await status();
    assert.equal(code, 1);
    assert.match(stdout, /^signer not running; process \d+, begun \d{4}-/);
    assert.equal((await stat(file())).mode & 0o777, 0o600);
  });

  it('shows what requests wait for, and since when; so does doctor', async () => {
    broken = true;
    const id = await request('b.zip');
    await world.withSigner(async (signer) => {
      await signer.poll();
      await until('written', async () =>
        (await readFile(file(), 'utf8')).includes(`"waiting":[{"request":"${id}`),
      );
      const { stdout } = await status();
      assert.match(stdout, /waiting {6}no timestamp authority has answered since \d{4}-/);
      assert.match(
        stdout,
        new RegExp(`^request ${id.slice(0, 7)}.*\\(default\\) has been waiting since \\d{4}-`, 'm'),
      );
      assert.match(stdout, /circuit (?:half-)?open, .*failures?, the last .*\[timestamp-http\]/);
      assert.match(stdout, /^queue: 1 request\n {2}[0-9a-f]{12} {2}b\.zip, by builder@sandbox, /m);
      assert.match(stdout, /^newest outcomes\n {2}[0-9a-f]{12} {2}TEST signed {2}a\.zip, /m);
      const signed = await asJson();
      assert.equal(signed.running, true);
      assert.equal(signed.channels[0]?.waiting?.for, 'timestamp');
      const found = await checkHealth(await loadSignerConfig(world.site.signerConfig));
      assert.deepEqual(
        found.map(({ code }) => code),
        [undefined, 'timestamp-circuit-open', 'requests-waiting'],
      );
    });
    assert.deepEqual(await checkHealth(await loadSignerConfig(world.site.signerConfig)), []);
  });

  it('shows a channel that signs nothing, and the successor', async () => {
    const health = await asJson();
    const successor = { from: '2027-03-01T00:00:00.000Z', open: false };
    const [channel] = health.channels;
    const channels = [{ ...channel, successor, problem: { code: 'successor-unusable' } }];
    await writeFile(file(), JSON.stringify({ ...health, channels }));
    const { stdout } = await status();
    assert.match(stdout, /^ {2}successor {4}takes over at 2027-03-01T00:00:00.000Z; it is not open yet$/m);
    assert.match(stdout, /^ {2}NOT SIGNING {2}\[successor-unusable\]: requests wait; run signpipe doctor$/m);
  });

  it('shows the request in hand, and why others wait', async () => {
    const health = JSON.parse(await readFile(file(), 'utf8')) as SignerHealth;
    const [id = ''] = health.requests.map((each) => each.id);
    const current = { request: id, stage: 'signing', since: health.written, file: 'b.zip', done: 3, of: 9 };
    const running = { ...health, ended: false, pid: process.pid, written: new Date().toISOString() };
    await writeFile(file(), JSON.stringify({ ...running, current }));
    const { stdout } = await status();
    assert.match(
      stdout,
      new RegExp(`^  in hand {6}${id.slice(0, 12)}: signing, 3 of 9 programs of b\\.zip, for \\d+ s$`, 'm'),
    );
    assert.match(stdout, /b\.zip, by [^\n]*\n +in hand: signing$/m);
    const waiting = [{ request: id, code: 'time-lock', since: health.written }];
    await writeFile(file(), JSON.stringify({ ...running, waiting }));
    assert.match((await status()).stdout, /the signer has let it wait since \d{4}-.* \[time-lock\]$/m);
    await writeFile(file(), JSON.stringify(health));
  });

  it('history-rewound: exit status 3 while the signer signs nothing because of an alarm', async () => {
    const health = await readFile(file(), 'utf8');
    const alarm = { code: 'history-rewound', since: '2026-11-29T21:14:07.311Z' };
    const written = new Date().toISOString();
    const running = { ...(JSON.parse(health) as SignerHealth), ended: false, pid: process.pid, written };
    await writeFile(file(), JSON.stringify({ ...running, alarm }));
    const { status: code, stdout } = await status();
    assert.equal(code, 3);
    assert.match(stdout, /^ALARM .* signs nothing since 2026-11-29.* \[history-rewound\]$/m);
    await writeFile(file(), health);
  });

  it('says that a signer is gone that was killed', async () => {
    const health = JSON.parse(await readFile(file(), 'utf8')) as SignerHealth;
    // No process has so high a number.
    await writeFile(file(), JSON.stringify({ ...health, ended: false, pid: 2 ** 30 }));
    assert.equal((await asJson()).running, false);
  });

  it('says that a signer is silent whose process is there', async () => {
    const health = JSON.parse(await readFile(file(), 'utf8')) as SignerHealth;
    const written = new Date(Date.now() - 3_600_000).toISOString();
    await writeFile(file(), JSON.stringify({ ...health, ended: false, pid: process.pid, written }));
    const { status: code, stdout } = await status();
    assert.match(stdout, /but silent: last heard from 60 min ago/);
    assert.equal(code, 1, 'it hangs, or another process got its number');
    const found = await checkHealth(await loadSignerConfig(world.site.signerConfig));
    assert.deepEqual(
      found.map(({ code: each }) => each),
      ['signer-silent'],
    );
  });

  it('status-unknown: a damaged file, and no error for what a later signer adds', async () => {
    const health = JSON.parse(await readFile(file(), 'utf8')) as SignerHealth;
    const written = new Date().toISOString();
    await writeFile(file(), JSON.stringify({ ...health, written, queue: [1] }));
    assert.equal((await status()).status, 0);
    await writeFile(file(), '{"version":1,');
    assertRefused(await status(), 1, 'status-unknown', /is damaged/);
  });
});

describe('signpipe status of a repository', () => {
  interface Report {
    readonly version: number;
    readonly queue: {
      readonly total: number;
      readonly requests: { readonly request: string; readonly waitsFor: { readonly code: string } }[];
    };
    readonly recent: { readonly outcome: string; readonly proven: boolean }[];
    readonly alarms: { readonly code: string }[];
    readonly channels: { readonly name: string; readonly daysLeft: number }[];
  }
  const cache = (): NodeJS.ProcessEnv => ({ XDG_CACHE_HOME: world.at('cache') });
  const clone = (...more: string[]): Promise<Ended> =>
    signpipe(['status', world.control, ...more], { env: cache() });
  const signers = (): string[] => ['--allowed-signers', world.at('keys', 'audit_signers')];
  const read = async (ended: Promise<Ended>, code = 0): Promise<Report> => {
    const { status: ending, stdout, stderr } = await ended;
    assert.equal(ending, code, stderr);
    return JSON.parse(stdout) as Report;
  };

  it('is the same for operator, builder, auditor and a reader of a clone', async () => {
    const builder = signpipe(['status', '-c', world.site.builderConfig, '--json']);
    const auditor = world.at('auditor.yaml');
    const config = await readFile(world.site.builderConfig, 'utf8');
    const control = /^control:\n(?: .*\n)+/m.exec(config)?.[0] ?? '';
    await writeFile(
      auditor,
      `${control}trust: { allowedSigners: keys/audit_signers }\nstate: auditor-state\n`,
    );
    const reports = [
      await read(builder),
      await read(signpipe(['status', '-c', auditor, '--json'])),
      await read(clone('--json', ...signers())),
      await read(clone('--json', ...signers(), '--receipt-signers', world.at('keys', 'receipt_signers'))),
    ];
    for (const report of reports) {
      assert.equal(report.version, 1);
      assert.deepEqual(
        report.queue.requests.map(({ waitsFor }) => waitsFor.code),
        ['signer'],
      );
      assert.deepEqual(
        report.recent.map(({ outcome, proven }) => [outcome, proven]),
        [['signed', true]],
      );
      assert.deepEqual(report.alarms, []);
      assert.equal(report.channels[0]?.name, 'default');
    }
  });

  it('shows names from outside as text', async () => {
    const host = new Hostile(world);
    await host.request('c.zip', { message: 'Sign it\n\nChannel: default\n', author: 'Ann\u001b[2J\u202eX' });
    const { stdout, status: code } = await clone(...signers());
    assert.equal(code, 0);
    assert.match(stdout, /^queue: 2 requests$/m);
    assert.doesNotMatch(stdout, /[^\P{C}\n]/u);
  });

  it('answers the same from what it kept of the history, and if that is damaged', async () => {
    const [kept = ''] = await readdir(world.at('cache', 'signpipe'));
    const before = await read(clone('--json', ...signers()));
    assert.equal(before.queue.total, 2);
    await writeFile(world.at('cache', 'signpipe', kept), '{"version":1,');
    assert.deepEqual((await read(clone('--json', ...signers()))).queue, before.queue);
  });

  it('receipts-root: exit status 3 if the keys are not those of the receipts', async () => {
    const builders = world.at('keys', 'allowed_signers');
    const { alarms, channels } = await read(clone('--json', '--allowed-signers', builders), 3);
    assert.deepEqual(
      alarms.map(({ code }) => code),
      ['commit-signer-unknown', 'receipts-unproven'],
    );
    assert.deepEqual(channels, []);
  });

  it('is read again at most once a second, and once a day at least', async () => {
    for (const time of ['0s', '999ms', '25d']) {
      const { status: code, stderr } = await clone(...signers(), '--every', time);
      assert.equal(code, 2);
      assert.match(stderr, /write 1s to 1d/);
    }
  });

  it('is redrawn on a terminal, and leaves the last state there when it is stopped', async () => {
    const main = join(import.meta.dirname, '../../../dist/main.js');
    const command = [process.execPath, main, 'status', world.control, ...signers(), '--every', '1s'];
    const { text } = await onTerminal(
      [
        '/bin/sh',
        '-c',
        `TERM=xterm NO_COLOR=1 XDG_CACHE_HOME=${world.at('cache')} ${command.join(' ')} & sleep 1.8; kill $!; wait $!`,
      ],
      { cwd: world.site.dir },
    );
    const drawn = text.split('\u001b[H').length - 1;
    assert.ok(drawn >= 1, text);
    assert.ok(text.startsWith('\u001b[?1049h'));
    const [, left = ''] = text.split('\u001b[?1049l');
    assert.match(left, /^queue: 2 requests\r$[^]*^newest outcomes\r$/m);
    assert.doesNotMatch(left, /[^\P{C}\r\n]/u);
  });

  it('status-signers-missing, status-of-what: says what is missing', async () => {
    assertRefused(await clone(), 2, 'status-signers-missing');
    assertRefused(await signpipe(['status']), 2, 'status-of-what');
  });
});
