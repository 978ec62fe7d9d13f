/** The audit page in a real browser: what it shows, how it reacts, and that a hostile history cannot do harm in it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, describe, it } from 'node:test';
import { auditPage } from '../../src/app/auditor/page.ts';
import { readAudit } from '../../src/app/auditor/audit-repository.ts';
import { judgeRevocation } from '../../src/app/auditor/revocation.ts';
import { ControlRepository } from '../../src/protocol/control/repository.ts';
import { Chromium } from './chromium.ts';
import { AuditWorld, hashOf, type Made } from '../app/auditor/sample-history.ts';

const INJECTION = `</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`;
const BEACON = '<img src="http://tracker.example/pixel.png">';

let world: AuditWorld;
let browser: Chromium;
let page: string;
let html: string;
let rejected: string;
let tampered: string;

async function fill(programs: Made[]): Promise<void> {
  for (let i = 0; i < 260; i += 1)
    await world.receipt(await world.request({ name: `nightly-${i}.zip` }), i % 2 === 0 ? { programs } : {});
  rejected = await world.request({
    name: 'refused.zip',
    author: `Mallory ${BEACON}`,
    message: `${INJECTION}\n`,
  });
  await world.receipt(rejected, {
    edit: (said) => ({
      ...said,
      reason: { code: 'unpinned', message: `why ${INJECTION}`, hint: 'javascript:alert(1)' },
    }),
  });
  const named = await world.program(`bin/${INJECTION}\u202eexe.txt`, new Date('2026-01-05T08:00:00Z'));
  const vouched = await world.request({ name: 'vouched.zip' });
  const vouch = await world.vouch(vouched);
  await world.receipt(vouched, {
    programs: [named],
    edit: (said) => ({ ...said, vouches: [vouch] }),
  });
  const failed = await world.request({ name: 'unlucky.zip' });
  await world.receipt(failed, { edit: (said) => ({ ...said, outcome: 'failed' }) });
  tampered = await world.receipt(await world.request({ name: 'forged.zip' }), {
    programs,
    by: world.keys.stranger,
  });
  await world.request({ name: 'pending.zip', message: `Please ${INJECTION}\n` });
  await world.request({ name: 'anonymous.zip', by: null, author: INJECTION.replace(/[<>]/g, '') });
}

async function write(name: string, revokedAt?: Date, most = Infinity): Promise<string> {
  const repository = await ControlRepository.openExisting(world.gitDir);
  const now = new Date(world.clock + 3_600_000);
  try {
    const audit = await readAudit(repository, { allowed: world.allowed(), now });
    const { sha256 } = world.publisher.certificate;
    const signed = [...audit.rows].filter(({ outcome }) => outcome === 'signed').slice(0, most);
    const pieces = await auditPage(audit, {
      repository: `control ${INJECTION}`,
      at: now,
      rows: audit.rows,
      revocation: revokedAt ? judgeRevocation(signed, { certificate: sha256, at: revokedAt }) : null,
    });
    html = [...pieces].join('');
  } finally {
    repository.close();
  }
  const path = join(world.folder, name);
  await writeFile(path, html);
  return pathToFileURL(path).href;
}

/** The texts of the elements that a selector matches. */
const texts = (selector: string): Promise<string[]> =>
  browser.evaluate(`[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.textContent)`);
const count = (selector: string): Promise<number> =>
  browser.evaluate(`document.querySelectorAll(${JSON.stringify(selector)}).length`);
const status = (): Promise<string> => browser.evaluate(`document.getElementById('status').textContent`);

async function search(words: string): Promise<void> {
  await browser.evaluate(`(() => {
    document.getElementById('status').textContent = '';
    const search = document.getElementById('search');
    search.value = ${JSON.stringify(words)};
    search.dispatchEvent(new Event('input'));
  })()`);
  await browser.until(`document.getElementById('status').textContent !== ''`);
}

before(async () => {
  world = await AuditWorld.create();
  await fill([await world.program('bin/tool.exe', new Date('2026-01-05T08:00:00Z'))]);
  await world.write();
  page = await write('audit.html');
  browser = await Chromium.start();
});
after(async () => {
  await browser.close();
  await world.close();
});

describe('the audit page', () => {
  before(async () => {
    await browser.look(1280, 900);
    await browser.open(page);
  });

  it('begins with the problems of the history', async () => {
    assert.match((await texts('#verdict')).join(), /does not hold: 1 problem/);
    assert.match((await texts('.problems')).join(), new RegExp(`commit-signer-unknown at ${tampered}`));
  });

  it('says who signed, by identity, with the certificates below', async () => {
    const { subject, issuer, sha256, notAfter } = world.publisher.certificate;
    const [identity, certificates] = [
      `${subject}; ${issuer}: 131 programs`,
      `${sha256.slice(0, 12)}, until ${notAfter.toISOString().slice(0, 10)}: 131 programs TEST`,
    ];
    const [found, ...others] = (await texts('#facts dd')).filter((text) => text.startsWith(subject));
    assert.deepEqual([found, others], [`${identity}${certificates}`, []]);
  });

  it('has a row for each request, the newest first, and draws more on scrolling', async () => {
    assert.equal(await status(), '266 rows');
    assert.equal(await count('tr.row'), 200);
    assert.deepEqual((await texts('tr.row button.what')).slice(0, 3), [
      'anonymous.zip',
      'pending.zip',
      'forged.zip',
    ]);
    await browser.evaluate(`scrollTo(0, document.body.scrollHeight)`);
    await browser.until(`document.querySelectorAll('tr.row').length === 266`);
    await browser.evaluate(`scrollTo(0, 0)`);
  });

  it('marks rejections by shape, word and reason, not by colour alone', async () => {
    assert.match((await texts('tr.row.rejected .remark'))[0] ?? '', /^unpinned: why/);
    const shapes = await browser.evaluate<string[]>(
      `['signed', 'rejected', 'failed', 'unproven', 'waiting'].map((o) =>
        document.querySelector('.chip.' + o + ' path').getAttribute('d') + getComputedStyle(document.querySelector('.chip.' + o + ' path')).fill)`,
    );
    assert.equal(new Set(shapes).size, 5);
    const chips = await texts('.chip');
    assert.deepEqual(
      chips.map((chip) => chip.replace(/\s+/g, ' ')),
      ['signed 131', 'waiting 2', 'failed 1', 'rejected 131', 'unproven 1'],
    );
  });

  it('draws a mark on the timeline for each answer, in a lane for each outcome', async () => {
    assert.deepEqual(await texts('#drawing text.lane'), [
      'signed',
      'waiting',
      'failed',
      'rejected',
      'unproven',
      'asked',
    ]);
    const marks = await browser.evaluate<number>(
      `document.querySelector('.mark.failed').getAttribute('d').split('M').length - 1`,
    );
    assert.equal(marks, 1);
    assert.match(
      await browser.evaluate<string>(`document.querySelector('#drawing svg').getAttribute('aria-label')`),
      /131 signed, 2 waiting, 1 failed, 131 rejected, 1 unproven/,
    );
  });

  it('searches for several words in all texts of a row', async () => {
    await search('nightly-25 signed');
    assert.equal(await status(), '5 of 266 rows');
    await search(rejected.slice(0, 20));
    assert.deepEqual(await texts('tr.row button.what'), ['refused.zip']);
    await search('exe.txt');
    assert.deepEqual(await texts('tr.row button.what'), ['vouched.zip']);
    await search('no such thing at all');
    assert.equal(await count('tr.row'), 0);
    assert.equal(await browser.evaluate(`document.getElementById('empty').hidden`), false);
    assert.equal(await browser.evaluate(`document.getElementById('timeline').hidden`), true);
    await search('');
    assert.equal(await status(), '266 rows');
  });

  it('searches while the reader types', async () => {
    await browser.evaluate(`document.getElementById('search').focus()`);
    await browser.type('unlucky');
    await browser.until(`document.getElementById('status').textContent === '1 of 266 rows'`);
    await search('');
  });

  it('filters by outcome', async () => {
    for (const outcome of ['signed', 'rejected']) await browser.click(`.chip.${outcome}`);
    assert.equal(await status(), '4 of 266 rows');
    for (const outcome of ['signed', 'rejected']) await browser.click(`.chip.${outcome}`);
    assert.equal(await status(), '266 rows');
  });

  it('filters by day', async () => {
    const set = (id: string, value: string): Promise<void> =>
      browser.evaluate(
        `(() => { const i = document.getElementById('${id}'); i.value = '${value}'; i.dispatchEvent(new Event('change')); })()`,
      );
    await set('from', '2026-01-06');
    assert.equal(await status(), '0 of 266 rows');
    await set('from', '2026-01-05');
    await set('to', '2026-01-05');
    assert.equal(await status(), '266 rows');
    await set('from', '');
    await set('to', '');
  });

  it('sorts by each column, and marks it', async () => {
    await browser.click('th.what button');
    assert.equal((await texts('tr.row button.what'))[0], 'anonymous.zip');
    assert.equal(await browser.evaluate(`document.querySelector('th.what').ariaSort`), 'ascending');
    await browser.click('th.what button');
    assert.equal((await texts('tr.row button.what'))[0], 'vouched.zip');
    await browser.click('th.outcome button');
    await browser.click('th.outcome button');
    assert.equal((await texts('tr.row .badge'))[0], 'unproven');
    await browser.click('th.when button');
  });

  it('opens details by click and by keyboard, and closes them', async () => {
    await search('vouched.zip');
    await browser.click('button.what');
    const [detail = ''] = await texts('tr.detail');
    const { entry } = await world.program(`bin/${INJECTION}\u202eexe.txt`, null);
    for (const part of [
      world.keys.builder.signer.fingerprint,
      world.publisher.certificate.sha256,
      entry.before.sha256.slice(0, 12),
      hashOf('vouched.zip'),
      'second@example.org, on vouch/second',
      'Publisher',
    ])
      assert(detail.includes(part), part);
    assert.equal(await browser.evaluate(`document.querySelector('button.what').ariaExpanded`), 'true');
    await browser.click('button.what');
    assert.equal(await count('tr.detail'), 0);
    await browser.evaluate(`document.querySelector('button.what').focus()`);
    await browser.press('Enter', 'Enter', '\r');
    assert.equal(await count('tr.detail'), 1);
    await browser.evaluate(
      `document.querySelector('tr.detail').tabIndex = -1, document.querySelector('tr.detail').focus()`,
    );
    await browser.press('Escape');
    assert.equal(await count('tr.detail'), 0);
    assert.equal(await browser.evaluate(`document.activeElement.className`), 'what');
  });

  it('shows only the claimed outcome and the problems of an unproven answer', async () => {
    await search('forged.zip');
    await browser.click('button.what');
    const [detail = ''] = await texts('tr.detail');
    assert.match(detail, /This answer does not hold/);
    assert.doesNotMatch(detail, /Publisher/);
  });

  it('opens the commit that the address names', async () => {
    await browser.open(`${page}?#${rejected.slice(0, 12)}`);
    assert.equal(await count('tr.detail'), 1);
    assert.match((await texts('tr.detail')).join(), /refused\.zip/);
  });

  it('scrolls from the timeline to the row', async () => {
    await browser.open(`${page}?again`);
    const spot = await browser.evaluate<{ x: number; y: number }>(`(() => {
      const [, x, y] = /^M([\\d.]+) ([\\d.]+)/.exec(document.querySelector('.mark.failed').getAttribute('d'));
      const box = document.getElementById('drawing').getBoundingClientRect();
      return { x: box.x + Number(x), y: box.y + Number(y) + 4 }; })()`);
    await browser.send('Input.dispatchMouseEvent', { type: 'mouseMoved', ...spot });
    assert.match((await texts('#tip')).join(), /failed unlucky\.zip/);
    for (const type of ['mousePressed', 'mouseReleased'])
      await browser.send('Input.dispatchMouseEvent', { type, ...spot, button: 'left', clickCount: 1 });
    assert.match((await texts('tr.detail')).join(), /unlucky\.zip/);
  });

  it('fits a phone without scrolling sideways', async () => {
    await browser.look(360, 740);
    await browser.open(`${page}?narrow#${rejected.slice(0, 12)}`);
    assert(await browser.evaluate<boolean>(`document.documentElement.scrollWidth <= 360`));
    // The row draws its coloured bar, and no cell draws it again.
    const bars = `[...document.querySelectorAll('.row.rejected > td')].map((td) => getComputedStyle(td).boxShadow)`;
    assert.deepEqual([...new Set(await browser.evaluate<string[]>(bars))], ['none']);
    await browser.look(1280, 900);
  });

  it('prints every row', async () => {
    await browser.open(`${page}?print`);
    await browser.evaluate(`dispatchEvent(new Event('beforeprint'))`);
    assert.equal(await count('tr.row'), 266);
  });

  it('lists the signatures that a revocation would invalidate', async () => {
    await browser.open(await write('revoked.html', new Date('2026-01-05T07:00:00Z')));
    assert.match(
      (await texts('.revocation summary')).join('; '),
      /131 signatures that become invalid;.* 0 signatures that stay valid by timestamp/,
    );
    await browser.open(await write('revoked-one.html', new Date('2026-01-05T07:00:00Z'), 1));
    assert.match((await texts('.revocation summary')).join('; '), /1 signature that becomes invalid;/);
  });
});

describe('a hostile history in the page', () => {
  it('is shown as text everywhere: nothing runs, nothing is requested from a network', async () => {
    await browser.open(`${page}?hostile`);
    for (const name of ['refused.zip', 'vouched.zip', 'pending.zip', 'anonymous.zip']) {
      await search(name);
      await browser.click('button.what');
    }
    assert.equal(await browser.evaluate(`'hacked' in window`), false);
    assert.equal(await count('img, iframe, object, embed, a[href], form[action]'), 0);
    assert.equal(await count('script'), 2);
    assert.match((await texts('tr.detail')).join(), /<\/script><img src=x onerror=|script/);
    assert.match((await texts('#repository')).join(), /<\/script><img src=x/);
    const { requests, complaints } = browser.seen;
    // Chromium draws the icon of a date field from a data: URL of its own.
    assert.deepEqual(
      requests.filter((url) => !url.startsWith('data:') && !url.startsWith('file:')),
      [],
    );
    assert.deepEqual(complaints, []);
  });

  it('makes hidden characters visible: a reversed name can be recognised', async () => {
    await search('exe.txt');
    await browser.evaluate(
      `document.querySelector('tr.detail') ?? document.querySelector('button.what').click()`,
    );
    assert.match((await texts('tr.detail')).join(), /\\u\{202e\}exe\.txt/);
  });

  it('has a policy that permits only its script and its style sheet, by their digests', async () => {
    const [, policy = ''] = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(html) ?? [];
    const [, script = ''] = /<script type="module">([^]*)<\/script>\n<\/body>/.exec(html) ?? [];
    const [, style = ''] = /<style>([^]*?)<\/style>/.exec(html) ?? [];
    const bare = html.replace(/<script type="application\/json"[^]*?<\/script>/, '');
    const digest = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    assert.equal(
      policy,
      `default-src 'none'; script-src ${digest(script)}; style-src ${digest(style)}; base-uri 'none'; form-action 'none'`,
    );
    assert.equal((html.match(/<script/g) ?? []).length, 2);
    assert.doesNotMatch(
      bare.replaceAll('http://www.w3.org/2000/svg', ''),
      /(src|href)=|https?:\/\/|sourceMappingURL/,
    );
    await browser.open(`${page}?policy`);
    await browser.evaluate(
      `document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hacked = 1' }))`,
    );
    await browser.evaluate(
      `document.body.append(Object.assign(new Image(), { src: 'http://tracker.example/pixel.png' }))`,
    );
    assert.equal(await browser.evaluate(`'hacked' in window`), false);
    assert(browser.seen.complaints.some((text) => text.includes('Content Security Policy')));
  });
});
