import assert from 'node:assert/strict';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { after, before, beforeEach, describe, it } from 'node:test';
import { NOTIFY_EVENTS, type NotifyConfig } from '../../../../src/app/config/reporting-sections.ts';
import { Notifications } from '../../../../src/app/signer/reporting/notifications.ts';
import { HoldObserver, observe, type Observation } from '../../../../src/app/signer/reporting/observation.ts';
import { SignpipeError, unavailable } from '../../../../src/lib/errors.ts';
import { TestSigner } from '../test-signer.ts';

let signer: TestSigner;
let time = 0;
const file = (): string => signer.world.at('notified.jsonl');

/** A program for `notify.command`, in POSIX sh. */
async function program(body: string): Promise<string> {
  const path = signer.world.at('notify.sh');
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}

before(async () => {
  signer = await TestSigner.open();
});
after(() => signer.close());
beforeEach(async () => {
  time = 0;
  signer.logged.splice(0);
  await rm(file(), { force: true });
});

/** Its listener stays until the context is closed; tests do not look at others' files. */
async function notifications(change: Partial<NotifyConfig> = {}): Promise<Notifications> {
  const command = change.command ?? [await program(`cat >> '${file()}'`)];
  const config = { on: [...NOTIFY_EVENTS], timeout: 5000, perMinute: 6, ...change, command };
  return new Notifications(signer.context, config, () => time);
}

interface Notified {
  readonly event: string;
  readonly state: string;
  readonly code: string;
  readonly title: string;
  readonly text: string;
  readonly request?: string;
  readonly suppressed: number;
}

async function notified(): Promise<Notified[]> {
  const text = await readFile(file(), 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Notified);
}

const observed = (): Promise<Observation> => observe(signer.context, new HoldObserver(signer.context));

describe('notify.command', () => {
  it('is run for a refusal, with what the receipt says on its standard input', async () => {
    const notify = await notifications();
    const request = await signer.ask('not a zipname\n');
    await signer.poll();
    await notify.settled();
    const [refused, ...more] = await notified();
    assert.deepEqual(more, []);
    assert.ok(refused);
    const { receipt } = await signer.receiptFor(request);
    assert.deepEqual([refused.event, refused.state, refused.request], ['refused', 'is', request]);
    assert.equal(refused.code, receipt.reason?.code);
    assert.equal(refused.title, `request ${request.slice(0, 12)} rejected: ${refused.code}`);
    await notify.close(await observed());
  });

  it('is run when an alarm, failing polls, or a HOLD begin and end, once each', async () => {
    const notify = await notifications();
    const { activity } = signer.context;
    const report = async (): Promise<void> => {
      notify.report(await observed());
      await notify.settled();
    };
    activity.failed(unavailable('git-unreachable', 'the host is down'));
    await report();
    assert.deepEqual(await notified(), [], 'a host may be restarted');
    const forward = signer.setClock(() => new Date(Date.now() + 61_000));
    activity.failed(unavailable('git-unreachable', 'the host is down'));
    await report();
    await report();
    activity.failed(new SignpipeError('alarm', 'history-rewound', 'the branch is back'));
    await writeFile(signer.world.at('signer-state', 'hold'), 'stop\n');
    await report();
    activity.polled();
    await rm(signer.world.at('signer-state', 'hold'));
    await report();
    forward();
    assert.deepEqual(
      (await notified()).map(({ event, state, code }) => `${event} ${state} ${code}`),
      [
        'problem begins git-unreachable',
        'alarm begins history-rewound',
        'hold begins hold',
        'problem ends git-unreachable',
        'alarm ends history-rewound',
        'hold ends hold',
      ],
    );
    await notify.close(await observed());
  });

  it('gets hostile text on one line, escaped, and never as an argument', async () => {
    const command: NotifyConfig['command'] = [
      await program(`cat >> '${file()}'; printf '{"event":"%s"}\\n' "$#" >> '${file()}'`),
    ];
    const notify = await notifications({ command, on: ['certificate'] });
    signer.context.activity.expires('x', 'certificate-expired', 'a\nSubject: b\u001b[2J"$(id)"\u202e');
    await notify.settled();
    const [first, second] = await notified();
    assert.equal(second?.event, '0');
    assert.ok(first && !/[\p{Cc}\p{Cf}]/u.test(first.title + first.text), JSON.stringify(first));
    await notify.close(await observed());
  });

  it('inherits no secret from the signer', async () => {
    process.env['SIGNPIPE_PASSPHRASE'] = 'secret';
    try {
      const command: NotifyConfig['command'] = [await program(`env > '${file()}.env'`)];
      const notify = await notifications({ command });
      signer.context.activity.expires('x', 'certificate-expired', 'it has expired');
      await notify.settled();
      const names = (await readFile(`${file()}.env`, 'utf8')).match(/^[A-Z_]+(?==)/gm) ?? [];
      const ours = names.filter((name) => name.startsWith('SIGNPIPE_')).toSorted();
      assert.deepEqual(
        ours,
        ['CODE', 'EVENT', 'STATE', 'TEXT', 'TITLE'].map((each) => `SIGNPIPE_${each}`),
      );
      await notify.close(await observed());
    } finally {
      delete process.env['SIGNPIPE_PASSPHRASE'];
    }
  });

  it('is run so often in a minute and no more; the next says how many were left out', async () => {
    const notify = await notifications({ perMinute: 2, on: ['certificate', 'alarm'] });
    for (let each = 0; each < 30; each += 1)
      signer.context.activity.expires('x', 'certificate-expires-soon', `number ${each}`);
    await notify.settled();
    assert.equal((await notified()).length, 2);
    time = 61_000;
    notify.report(await observed());
    await notify.settled();
    const all = await notified();
    assert.equal(all.length, 4);
    assert.equal(
      all.reduce((sum, { suppressed }) => sum + suppressed, 0),
      9,
    );
    await notify.close(await observed());
  });

  it('notify-failed: a program that fails, is missing or does not end is logged, and no request waits for it', async () => {
    const hanging = await notifications({
      command: [await program('(sleep 60; echo late) & wait')],
      timeout: 1000,
    });
    const began = performance.now();
    await signer.ask('also no zipname\n');
    await signer.poll();
    await signer.signs(await signer.sendSound());
    await hanging.settled();
    assert.ok(performance.now() - began < 20_000);
    await hanging.close(await observed());
    for (const path of ['/no/such/program', await program('echo why >&2; exit 3')]) {
      const notify = await notifications({ command: [path] });
      signer.context.activity.expires('x', 'certificate-expired', 'it has expired');
      await notify.settled();
      await notify.close(await observed());
    }
    const messages = signer.logged.filter(({ code }) => code === 'notify-failed').map(({ msg }) => msg);
    assert.match(messages[0] ?? '', /did not end within 1 s/);
    assert.match(messages[1] ?? '', /cannot be started: .*ENOENT/);
    assert.match(messages[2] ?? '', /exited with status 3: why/);
  });
});
