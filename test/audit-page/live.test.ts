/** The part of the audit page that people keep open: warnings, signers, the queue, and the change to a newer page. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { auditPage } from '../../src/app/auditor/page.ts';
import { readAudit } from '../../src/app/auditor/audit-repository.ts';
import type { PageState, SignersHealth } from '../../src/app/auditor/model.ts';
import { NO_HEALTH } from '../../src/app/auditor/signers-health.ts';
import { ControlRepository } from '../../src/protocol/control/repository.ts';
import { AuditWorld } from '../app/auditor/sample-history.ts';
import { Chromium } from './chromium.ts';
import { channelOf, healthySigner, signingSigner } from './sample-signers.ts';

const INJECTION = `</script><img src=x onerror="window.hacked=1">\u202e${'W'.repeat(80)}`;
const MINUTE = 60_000;

let world: AuditWorld;
let browser: Chromium;
let server: Server;
let url: string;
let [html, changed] = ['', new Date(0)];
/** The entity tag of the page. */
let tag = '"1"';
const requests: string[] = [];

/** Publishes a page as it is `age` milliseconds after it was written. */
async function publish(
  { signers = [], differing = [], ...state }: Partial<PageState> & Partial<SignersHealth>,
  age = 20_000,
): Promise<void> {
  await world.write();
  const repository = await ControlRepository.openExisting(world.gitDir);
  const at = new Date(Date.now() - age);
  try {
    const audit = await readAudit(repository, { allowed: world.allowed(), now: at });
    const next = new Date(at.getTime() + 6 * MINUTE).toISOString();
    const page = { next, every: 60, trouble: null, health: { ...NO_HEALTH, signers, differing }, ...state };
    const pieces = await auditPage(audit, {
      repository: 'control.git',
      at,
      rows: audit.rows,
      revocation: null,
      page,
    });
    html = [...pieces].join('');
  } finally {
    repository.close();
  }
  changed = new Date(Math.max(Date.now(), changed.getTime() + 2000));
}

const texts = (selector: string): Promise<string[]> =>
  browser.evaluate(
    `[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.textContent.replaceAll('\u00a0', ' '))`,
  );

/** What the reader sees after a look at another tab. */
const lookAgain = (): Promise<void> =>
  browser.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);

/** The open page takes a version that differs by `change`. */
async function reloads(change: () => unknown, why: string): Promise<void> {
  await browser.evaluate(`(document.documentElement.dataset.ready = 'no')`);
  await lookAgain();
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(await browser.evaluate(`document.documentElement.dataset.ready`), 'no', `too early: ${why}`);
  change();
  await lookAgain();
  await browser.until(`document.documentElement?.dataset.ready === 'true'`);
}

before(async () => {
  world = await AuditWorld.create();
  world.clock = Date.now() - 60 * MINUTE;
  await world.receipt(await world.request({ name: 'done.zip' }));
  for (const name of ['first.zip', 'second.zip', 'third.zip'])
    requests.push(await world.request({ name, message: `${INJECTION}\n` }));
  server = createServer((_, response) => {
    const version = { 'last-modified': changed.toUTCString(), etag: tag };
    response.writeHead(200, { 'content-type': 'text/html', ...version });
    response.end(html);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  browser = await Chromium.start();
  await browser.look(1280, 900);
});
after(async () => {
  await browser.close();
  server.closeAllConnections();
  server.close();
  await world.close();
});

describe('the audit page, kept open', () => {
  it('has no warning while everything works', async () => {
    await publish({ signers: [healthySigner(Date.now())] });
    await browser.open(url);
    assert.deepEqual(await texts('#alarms p'), []);
    assert.match((await texts('#written')).join(), /^Written 2\d s ago/);
    assert.deepEqual(await texts('.state'), ['idle']);
    assert.match((await texts('.card')).join(), /Example Foundation, 21[12] d left.*example\.net\/ is down/);
  });

  it('shows the queue, oldest first, and what each request waits for', async () => {
    const [current = '', second = ''] = requests;
    const waiting = [{ request: second, code: 'vouches-missing', since: new Date().toISOString() }];
    await publish({ signers: [signingSigner(Date.now(), current, { waiting })] });
    await browser.open(`${url}?queue`);
    assert.deepEqual(await texts('.queued .name'), ['first.zip', 'second.zip', 'third.zip']);
    assert.deepEqual(await texts('.queued .why'), [
      'in hand: signing',
      'waits: vouches-missing',
      'waits its turn',
    ]);
    assert.match((await texts('.card')).join(), /first\.zip.*signing for 4\d s.*318 of 1,024 programs/);
    await browser.click('.queued .name');
    assert.equal((await texts('tr.detail')).length, 1);
  });

  it('begins with what needs attention, alarms first', async () => {
    const now = Date.now();
    const since = new Date(now - MINUTE).toISOString();
    await publish({
      trouble: { since, code: 'git-unreachable', message: 'build.example.org: connection refused' },
      signers: [
        healthySigner(now, {
          name: 'One',
          channels: [channelOf(now, 11.5)],
          alarm: { code: 'history-rewritten', since },
        }),
        healthySigner(now, { name: 'Two', written: new Date(now - 8 * MINUTE).toISOString() }),
        healthySigner(now, { name: 'Three', ended: true, channels: [channelOf(now, -2)] }),
      ],
    });
    await browser.open(`${url}?alarms`);
    assert.deepEqual(
      (await texts('#alarms p')).map((text) => text.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g, 'TIME')),
      [
        'Not up to date since TIME: build.example.org: connection refused git-unreachable',
        'One raised an alarm and signs nothing: since TIME history-rewritten',
        'Two is silent: its last heartbeat was 8 min ago, at TIME',
        'Three: the certificate has expired: TIME',
        'One: the certificate ends in 11 d: TIME',
        'Three was stopped: since TIME',
      ],
    );
    assert.deepEqual(await texts('.state'), ['alarm', 'silent', 'stopped']);
  });

  it('warns when the page itself is old: its writer may have stopped', async () => {
    await publish({ signers: [healthySigner(Date.now())] });
    await browser.open(`${url}?old`);
    assert.deepEqual(await texts('#alarms p'), []);
    await browser.evaluate(`{ const begun = Date.now(); Date.now = () => begun + 9 * ${MINUTE}; }`);
    await lookAgain();
    const [page = '', signer = ''] = await texts('#alarms p');
    assert.match(page, /^This page is old: It was written 9 min ago/);
    assert.match(signer, /^Example signer is silent/);
  });

  it('changes to a newer page, keeps what the reader chose, and stays if the server is down', async () => {
    await publish({});
    await browser.open(`${url}?newer`);
    await browser.evaluate(`(() => {
      const search = document.getElementById('search');
      search.value = 'zip';
      search.dispatchEvent(new Event('input'));
    })()`);
    await browser.click('.chip.rejected');
    await browser.click('button.what');
    const lines = await texts('tr.row button.what');
    await lookAgain();
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.equal((await texts('tr.detail')).length, 1, 'nothing is newer');
    await world.request({ name: 'fourth.zip' });
    await publish({});
    await browser.evaluate(`document.documentElement.dataset.ready = 'no'`);
    await lookAgain();
    await browser.until(`document.documentElement?.dataset.ready === 'true'`);
    assert.deepEqual(await texts('tr.row button.what'), ['fourth.zip', ...lines]);
    assert.equal((await texts('tr.detail')).length, 1);
    assert.equal(await browser.evaluate(`document.getElementById('search').value`), 'zip');
    await reloads(() => (changed = new Date(changed.getTime() - 60 * MINUTE)), 'the clock was set back');
    await reloads(() => (tag = '"2"'), 'written again in the same second');
    server.closeAllConnections();
    server.close();
    await lookAgain();
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.deepEqual(await texts('tr.row button.what'), ['fourth.zip', ...lines]);
    server.listen(Number(new URL(url).port), '127.0.0.1');
    await once(server, 'listening');
  });

  it('shows hostile texts of heartbeats as text, also on a phone', async () => {
    const now = Date.now();
    const [current = ''] = requests;
    const since = new Date(now).toISOString();
    const hostile = channelOf(now, 3, {
      name: INJECTION,
      certificate: { subject: INJECTION },
      problem: { code: INJECTION },
    });
    await publish({
      trouble: { since, code: INJECTION, message: INJECTION },
      signers: [
        signingSigner(now, current, {
          name: INJECTION,
          signpipe: INJECTION,
          channels: [hostile, channelOf(now, 90)],
          current: { request: current, stage: INJECTION, since, file: INJECTION, done: 5, of: 2 },
          waiting: [{ request: requests[1] ?? '', code: INJECTION, since }],
        }),
      ],
    });
    await browser.look(390, 844);
    await browser.open(`${url}?hostile`);
    assert.equal(await browser.evaluate(`document.documentElement.scrollWidth`), 390);
    assert.equal(await browser.evaluate(`'hacked' in window`), false);
    assert.equal((await texts('img, iframe, object, embed, a[href]')).length, 0);
    assert.match((await texts('#alarms')).join(), /\\u\{202e\}/);
    await browser.look(1280, 900);
  });

  it('may ask only its own server, and only if it is written regularly', async () => {
    await publish({});
    assert.match(html, /default-src 'none'; connect-src 'self'; script-src 'sha256-/);
    await publish({ every: null, next: null });
    assert.doesNotMatch(html, /connect-src/);
  });
});
