import assert from 'node:assert/strict';
import { chmod, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it, mock } from 'node:test';
import { loadSignerConfig } from '../../../../src/app/config/signer.ts';
import { Heartbeats } from '../../../../src/app/signer/reporting/heartbeats.ts';
import { HoldObserver, observe } from '../../../../src/app/signer/reporting/observation.ts';
import { Reports } from '../../../../src/app/signer/reporting/reports.ts';
import { SignpipeError, unavailable } from '../../../../src/lib/errors.ts';
import { AllowedSigners } from '../../../../src/lib/sshsig/allowed-signers.ts';
import { HEALTH_REFS, type SignerHeartbeat } from '../../../../src/protocol/control/heartbeat.ts';
import { HeartbeatPusher } from '../../../../src/protocol/control/push-heartbeats.ts';
import { fetchHeartbeats, readHeartbeats } from '../../../../src/protocol/control/read-heartbeats.ts';
import { ControlRepository } from '../../../../src/protocol/control/repository.ts';
import { TestSigner } from '../test-signer.ts';

let signer: TestSigner;
let reader: ControlRepository;
let allowed: AllowedSigners;
/** The time of the signer's monotonic clock, in ms. */
let time = 0;

before(async () => {
  signer = await TestSigner.open();
  const { world } = signer;
  reader = await ControlRepository.open({ url: world.control, path: world.at('reader.git') });
  allowed = await AllowedSigners.load(world.at('keys', 'receipt_signers'));
});
after(async () => {
  reader.close();
  await signer.close();
});

let heartbeats: Heartbeats;
beforeEach(() => {
  time = 0;
  heartbeats = new Heartbeats(signer.context, 300_000, () => time);
});

const observed = async () => observe(signer.context, new HoldObserver(signer.context));

/** The newest heartbeat that a reader finds on the host. */
async function newest(): Promise<SignerHeartbeat> {
  await fetchHeartbeats(reader);
  const { signers, problems } = await readHeartbeats(reader, allowed, new Date());
  assert.deepEqual(problems, []);
  const [only, ...more] = signers;
  assert.ok(only && more.length === 0);
  return only;
}

/** Reports what is observed at a time of the monotonic clock, and waits until it is pushed. */
async function reportAt(ms: number): Promise<void> {
  time = ms;
  heartbeats.report(await observed());
  await heartbeats.settled;
}

const refs = async (): Promise<string> => signer.world.git('for-each-ref', HEALTH_REFS);

/** How often a warning about heartbeats was logged. */
const warnings = (): string[] =>
  signer.logged.filter(({ msg }) => msg.includes('no heartbeat')).map(({ code }) => code ?? '');

describe('a signer that watches', () => {
  it('reports queue, heads, certificate and what each request waits for', async () => {
    await signer.poll();
    const request = await signer.ask(`${'a'.repeat(64)}  later.zip\n`, {
      date: new Date(Date.now() + 3_600_000).toISOString(),
    });
    await signer.poll();
    await reportAt(0);
    const { state, content } = await newest();
    assert.equal(state, 'alive');
    assert.equal(content.heads.requests, request);
    assert.deepEqual([content.queue, content.every, content.ended], [1, 300, false]);
    assert.deepEqual(
      content.waiting.map((each) => [each.request, each.code]),
      [[request, 'request-in-future']],
    );
    assert.match(content.channels[0]?.certificate.notAfter ?? '', /^20/);
  });

  it('reports every five minutes, and at most once a minute if something begins or ends', async () => {
    await reportAt(0);
    const first = await refs();
    await reportAt(200_000);
    assert.equal(await refs(), first, 'nothing has changed');
    signer.context.activity.failed(unavailable('git-unreachable', 'the host is down'));
    await reportAt(201_000);
    const second = await refs();
    assert.notEqual(second, first, 'a problem began');
    assert.equal((await newest()).content.problem?.code, 'git-unreachable');
    signer.context.activity.polled();
    await reportAt(202_000);
    assert.equal(await refs(), second, 'not even a minute has passed');
    await reportAt(261_000);
    assert.equal((await newest()).content.problem, undefined);
    const third = await refs();
    await reportAt(561_000);
    assert.notEqual(await refs(), third, 'five minutes have passed');
  });

  it('shows an alarm as long as it lasts, also while the host is down', async () => {
    const { activity } = signer.context;
    activity.failed(new SignpipeError('alarm', 'history-rewound', 'the branch is back'));
    await reportAt(0);
    const { alarm } = (await newest()).content;
    assert.equal(alarm?.code, 'history-rewound');
    activity.failed(unavailable('git-unreachable', 'the host is down'));
    await reportAt(60_000);
    const { content } = await newest();
    assert.deepEqual(content.alarm, alarm);
    assert.equal(content.problem?.code, 'git-unreachable');
    activity.polled();
    await reportAt(120_000);
    assert.equal((await newest()).content.alarm, undefined);
  });

  it('says at its end that it was stopped in order', async () => {
    await reportAt(0);
    await heartbeats.close(await observed());
    assert.equal((await newest()).state, 'stopped');
  });

  it('replaces what another process with its key left there', async () => {
    await reportAt(0);
    const other = new Heartbeats(signer.context, 300_000, () => 0);
    other.report(await observed());
    await other.settled;
    signer.context.activity.failed(unavailable('git-unreachable', 'the host is down'));
    await reportAt(60_000);
    assert.equal((await newest()).content.problem?.code, 'git-unreachable');
    assert.deepEqual(warnings(), []);
    signer.context.activity.polled();
  });

  it('makes its repository again when something has spoiled it', async () => {
    await reportAt(0);
    const before = await refs();
    await rm(join(signer.context.config.state, 'health.git', 'objects'), { recursive: true });
    await reportAt(300_000);
    await reportAt(360_000);
    assert.notEqual(await refs(), before);
    signer.logged.length = 0;
  });

  it('makes its repository again after some pushes, so that it does not grow', async () => {
    await reportAt(0);
    const { content } = await newest();
    const { repository, writer } = signer.context;
    const path = signer.world.at('health.git');
    const pusher = new HeartbeatPusher({ url: repository.url, path, sshCommand: undefined, mostPushes: 2 });
    const packs: number[] = [];
    for (let push = 0; push < 4; push += 1) {
      const written = new Date(Date.parse(content.written) + push * 1000).toISOString();
      await pusher.push({ ...content, written }, writer, new AbortController().signal);
      const files = await readdir(join(path, 'objects', 'pack'));
      packs.push(files.filter((name) => name.endsWith('.pack')).length);
      assert.equal((await newest()).content.written, written);
    }
    assert.deepEqual(packs, [1, 2, 1, 2]);
  });

  it('git-refused: an old hook refuses heartbeats, which is logged once and disturbs nothing', async () => {
    const hook = join(signer.world.control, 'hooks', 'update');
    await writeFile(hook, '#!/bin/sh\ncase $1 in refs/heads/*) exit 0 ;; esac\nexit 1\n');
    await chmod(hook, 0o755);
    signer.logged.splice(0);
    await reportAt(0);
    await reportAt(60_000);
    await reportAt(360_000);
    assert.deepEqual(warnings(), ['git-refused']);
    const { hint } = signer.logged.find(({ code }) => code === 'git-refused') ?? assert.fail();
    assert.match(hint ?? '', /new hook .*health: \{ heartbeat: off \}/);
    await signer.signsNext();
    await rm(hook);
    await reportAt(660_000);
    assert.equal((await newest()).state, 'alive');
  });
});

describe('a signer that cannot be observed, because of a bug', () => {
  it('says so once, instead of being silent about itself without a reason: internal-error', async () => {
    mock.timers.enable({ apis: ['setInterval'] });
    const reports = Reports.start({ ...signer.context, channels: null as never });
    for (let look = 0; look < 3; look += 1) {
      mock.timers.tick(2000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await reports.close();
    mock.timers.reset();
    const bugs = signer.logged.filter(({ code }) => code === 'internal-error');
    assert.equal(bugs.length, 1);
    assert.match(bugs[0]?.msg ?? '', /^the signer cannot be observed: /);
  });
});

describe('health.heartbeat in signer.yaml', () => {
  const load = async (line: string): Promise<number | null> => {
    const { world } = signer;
    await world.reconfigure((text) => `${text.replace(/^health:.*\n/m, '')}health: { heartbeat: ${line} }\n`);
    return (await loadSignerConfig(world.site.signerConfig)).health.heartbeat;
  };

  it('is a time from a minute to a day, or off', async () => {
    assert.equal(await load('1m'), 60_000);
    assert.equal(await load('off'), null);
    for (const wrong of ['59s', '25h', 'never'])
      await assert.rejects(load(wrong), { code: 'config-invalid', message: /heartbeat: must be off, or/ });
  });
});
