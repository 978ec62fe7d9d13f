import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { startHostile, receiptFor, receiptsFor } from '../../world/hostile.ts';
import { signpipe } from '../../world/site.ts';

const { world, host } = await startHostile();
/** The keys of two more builders, and of a stranger. */
let ann: string;
let bob: string;
let stranger: string;
before(async () => {
  const [a, b, s] = [await host.key('ann'), await host.key('bob'), await host.key('stranger')];
  [ann, bob, stranger] = [a.path, b.path, s.path];
  const second = await host.key('builder-second');
  await host.allow(
    await host.builderLine(),
    `builder@sandbox namespaces="git" ${second.line}`,
    `ann@example.org namespaces="git" ${a.line}`,
    `bob@example.org namespaces="git" ${b.line}`,
  );
  await world.configure(`channels:
  vouched:
    trust: { vouches: 2 }
  slow:
    trust: { delay: 1h }`);
});

const ON_VOUCHED = 'Sign it\n\nChannel: vouched\n';
const ON_SLOW = 'Sign it\n\nChannel: slow\n';

/** A vouch made with git alone: the same line of `zipname` on `vouch/NAME`. */
const vouch = async (name: string, line: string, key: string, date?: string): Promise<string> =>
  host.commit({
    branch: `vouch/${name}`,
    files: { zipname: line },
    key,
    message: `Vouch for it\n\nControl: ${await rootOfMain()}\n`,
    ...(date === undefined ? {} : { date }),
  });

const rootOfMain = (): Promise<string> => world.git('rev-list', '--max-parents=0', '--first-parent', 'main');

/** The log's lines about a request since `from`. */
const said = (request: string, from = 0): string[] =>
  world.logged
    .slice(from)
    .filter((record) => record['request'] === request)
    .map(({ msg }) => String(msg));

/** A line of `zipname` and the request for it. */
async function asked(name: string, message: string): Promise<{ line: string; request: string }> {
  const line = await host.release(name);
  return { line, request: await host.commit({ files: { zipname: line }, message }) };
}

describe('a request on a channel that requires two vouches', () => {
  it('waits, says for how many, and does not keep other channels waiting', async () => {
    const { line, request } = await asked('two.zip', ON_VOUCHED);
    const other = await host.request('unvouched.zip');
    assert.deepEqual(await world.poll(), { answered: 1, waiting: 1 });
    assert.ok(said(request).some((msg) => msg.endsWith('waiting for 2 of 2 vouches')));
    assert.equal((await receiptFor(world, other)).outcome, 'signed');
    await vouch('ann', line, ann);
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 1 });
    assert.ok(said(request).some((msg) => msg.endsWith('waiting for 1 of 2 vouches')));
    const byBob = await vouch('bob', line, bob);
    assert.deepEqual(await world.poll(), { answered: 1, waiting: 0 });
    const { outcome, vouches } = await receiptFor(world, request);
    assert.equal(outcome, 'signed');
    assert.deepEqual(vouches.map(({ name, signer }) => `${name} ${signer}`).sort(), [
      'ann ann@example.org',
      'bob bob@example.org',
    ]);
    assert.equal(vouches.find(({ name }) => name === 'bob')?.commit, byBob);
  });

  it('logs once, not at every poll, what it waits for', async () => {
    const { request } = await asked('patient.zip', ON_VOUCHED);
    const { signer, close } = await world.openSigner();
    const from = world.logged.length;
    for (let times = 0; times < 3; times += 1) await signer.poll();
    await close();
    assert.equal(said(request, from).filter((msg) => /waiting for/.test(msg)).length, 1);
  });

  for (const [what, name, key] of [
    [
      'by the requester, under the name of another branch',
      'somebody',
      () => world.at('keys', 'builder_ed25519'),
    ],
    ['by the requester with a second key', 'second', () => world.at('keys', 'builder-second')],
    ['by an unknown key', 'stranger', () => stranger],
    ['without a signature', 'unsigned', () => null],
  ] as const)
    it(`still waits after a vouch ${what}`, async () => {
      const { line, request } = await asked(`not-${name}.zip`, ON_VOUCHED);
      await vouch('ann', line, ann);
      const message = `Vouch for it\n\nControl: ${await rootOfMain()}\n`;
      await host.commit({ branch: `vouch/${name}`, files: { zipname: line }, key: key(), message });
      await world.poll();
      assert.ok(said(request).some((msg) => msg.endsWith('waiting for 1 of 2 vouches')));
      assert.deepEqual(await receiptsFor(world, request), []);
    });

  it('counts a person who vouched twice once, also on two branches', async () => {
    const { line, request } = await asked('twice.zip', ON_VOUCHED);
    await vouch('ann', line, ann);
    await vouch('ann', `${line}# again\n`, ann);
    await vouch('ann-too', line, ann);
    await world.poll();
    assert.ok(said(request).some((msg) => msg.endsWith('waiting for 1 of 2 vouches')));
  });

  it('vouch-differs: is refused if a builder got other bytes afterwards, with who and which', async () => {
    const { line, request } = await asked('differs.zip', ON_VOUCHED);
    const other = 'e'.repeat(64);
    await vouch('ann', line, ann);
    await vouch('bob', `${other}  differs.zip\n`, bob);
    await world.poll();
    const { outcome, reason } = await receiptFor(world, request);
    assert.deepEqual([outcome, reason?.code], ['rejected', 'vouch-differs']);
    assert.match(
      reason?.message ?? '',
      new RegExp(`bob@example\\.org vouches for other bytes.*differs\\.zip as ${other}`),
    );
    assert.match(reason?.hint ?? '', /find out why/);
  });

  it('is not refused because of an earlier build with that name, which is logged', async () => {
    await vouch('bob', `${'d'.repeat(64)}  nightly.zip\n`, bob, '2020-01-01T00:00:00Z');
    const { line, request } = await asked('nightly.zip', ON_VOUCHED);
    await vouch('ann', line, ann);
    await world.poll();
    assert.ok(
      said(request).some((msg) =>
        /waiting for 1 of 2 vouches; bob@example\.org vouched earlier for/.test(msg),
      ),
    );
    await vouch('bob', line, bob);
    await host.signs(request);
  });

  it('counts a vouch that signpipe made, and wait says how many are missing', async () => {
    const { line, request } = await asked('by-signpipe.zip', ON_VOUCHED);
    await vouch('bob', line, bob);
    await world.poll();
    const waited = await world.wait(request, '--timeout', '1s');
    assert.equal(waited.status, 4, waited.stderr);
    assert.match(waited.stderr, /1 of 2 vouches missing/);
    await writeFile(
      world.at('ann.yaml'),
      (await readFile(world.site.builderConfig, 'utf8'))
        .replace('keys/builder_ed25519\n  name', 'keys/ann\n  name')
        .replace(/^state:.*$/m, 'state: ann-state\nvouch: { name: ann }'),
    );
    const file = world.exchange('incoming', 'by-signpipe.zip');
    const vouched = await signpipe(['vouch', '-c', world.at('ann.yaml'), file]);
    assert.equal(vouched.status, 0, vouched.stderr);
    await world.poll();
    const { vouches } = await receiptFor(world, request);
    assert.equal(vouches.find(({ name }) => name === 'ann')?.commit, vouched.stdout.trim());
  });

  it('vouch-not-request: is not a vouch that the host merged into main', async () => {
    const main = (await host.tip()) ?? '';
    const line = await host.release('vouched.zip');
    const message = 'Vouch for it\n\nVouch: yes\n---\nas git commit --trailer may put it\n';
    const vouched = await host.commit({
      branch: 'vouch/ann',
      parents: [main],
      files: { zipname: line },
      key: ann,
      message,
    });
    await host.commit({ parents: [main, vouched], key: null, message: 'Merge' });
    await world.poll();
    const { outcome, reason } = await receiptFor(world, vouched);
    assert.deepEqual([outcome, reason?.code], ['rejected', 'vouch-not-request']);
    assert.match(reason?.hint ?? '', /find out who merged it/);
  });
});

describe('a HOLD', () => {
  let request: string;

  it('by a signed commit stops signing, and the log and wait say who, since when, and why', async () => {
    const hold = await host.commit({
      files: { HOLD: 'Key may be stolen.\nAsk Ann \u001b[2J\u009b31m.\n' },
      key: ann,
      author: 'Ann',
      date: '2026-01-02T03:04:05Z',
    });
    request = await host.request('held.zip');
    const { waiting, answered } = await world.poll();
    assert.equal(answered, 0);
    assert.ok(waiting > 0);
    const [receipt = ''] = said(request).filter((msg) => /on hold/.test(msg));
    assert.match(receipt, /on hold by ann@example\.org since 2026-01-02T03:04:05\.000Z, commit/);
    assert.match(receipt, new RegExp(hold.slice(0, 12)));
    assert.match(receipt, /Key may be stolen\. Ask Ann \\u\{1b\}\[2J\\u\{9b\}31m\./);
    const waited = await world.wait(request, '--timeout', '1s');
    assert.equal(waited.status, 4);
    assert.match(
      waited.stderr,
      /on hold \(signed by the key SHA256:\S+\) since 2026-01-02T03:04:05\.000Z by an author who claims to be Ann: Key may be stolen\. Ask Ann/,
    );
    assert.doesNotMatch(waited.stderr, /[^\P{Cc}\n]/u);
  });

  it('stops the other channels too', async () => {
    const { line, request: vouched } = await asked('held-vouched.zip', ON_VOUCHED);
    await vouch('ann', line, ann);
    await vouch('bob', line, bob);
    await world.poll();
    assert.ok(said(vouched).some((msg) => /on hold/.test(msg)));
  });

  it('is not lifted by an unsigned removal, nor by one that a stranger signed', async () => {
    const from = world.logged.length;
    const removal = await host.commit({ files: { HOLD: null }, key: null });
    assert.equal((await world.poll()).answered, 0);
    const receipt = said(request, from).find((msg) => /on hold/.test(msg)) ?? '';
    assert.match(
      receipt,
      new RegExp(`${removal.slice(0, 12)} does not lift it: it is not signed by an allowed signer`),
    );
    assert.match(
      receipt,
      /to lift it, put HOLD back in a commit, then remove HOLD in a commit that changes nothing/,
    );
    await host.commit({ files: { HOLD: 'again' }, key: stranger });
    await host.commit({ files: { HOLD: null }, key: stranger });
    assert.equal((await world.poll()).answered, 0);
  });

  it('is lifted by a signed removal, and waiting requests are answered', async () => {
    await host.commit({ files: { HOLD: 'again' }, key: ann });
    await host.commit({ files: { HOLD: null }, key: ann });
    assert.equal((await world.poll()).answered, 2);
    assert.equal((await receiptFor(world, request)).outcome, 'signed');
  });

  it('stops a signer that accepts unsigned requests and lists no signers, until it is removed', async () => {
    const before1 = await readFile(world.site.signerConfig, 'utf8');
    await world.reconfigure((text) =>
      text
        .replace('  allowedSigners: keys/allowed_signers\n', '  unsignedRequests: accept\n')
        .replace(/ {2}vouched:\n.*\n/, ''),
    );
    await host.commit({ files: { HOLD: 'wait' }, key: null });
    const unsigned = await host.request('unsigned-held.zip', { key: null });
    await world.poll();
    assert.deepEqual(await receiptsFor(world, unsigned), []);
    await host.commit({ files: { HOLD: null }, key: null });
    await host.signs(unsigned);
    await writeFile(world.site.signerConfig, before1);
    // If unsigned requests are refused, that HOLD was not lifted by an allowed signer.
    await host.commit({ files: { HOLD: 'wait' }, key: ann });
    await host.commit({ files: { HOLD: null }, key: ann });
  });
});

describe('a time lock of an hour', () => {
  const later = (minutes: number) => (): Date => new Date(Date.now() + minutes * 60_000);
  let request: string;

  it('holds a request back, says until when, and wait says so too', async () => {
    // A requester can claim any time, so it does not count.
    const line = await host.release('slow.zip');
    request = await host.commit({ files: { zipname: line }, message: ON_SLOW, date: '2025-01-01T00:00:00Z' });
    await world.poll();
    const receipt = said(request).find((msg) => /time lock until \d{4}-/.test(msg)) ?? '';
    assert.match(receipt, /a signed commit that adds HOLD stops it/);
    const until = Date.parse(/until (\S+);/.exec(receipt)?.[1] ?? '');
    assert.ok(Math.abs(until - Date.now() - 3_600_000) < 60_000, receipt);
    assert.deepEqual(await receiptsFor(world, request), []);
    const { request: now } = await asked('slow-now.zip', ON_SLOW);
    await world.poll();
    const waited = await world.wait(now, '--timeout', '1s');
    assert.match(waited.stderr, /time lock until \d{4}-\d\d-\d\dT/);
  });

  it('is not over after 59 minutes, through restarts', async () => {
    await world.poll(later(30));
    await world.poll(later(59));
    assert.deepEqual(await receiptsFor(world, request), []);
  });

  it('can be stopped by a HOLD meanwhile', async () => {
    await host.commit({ files: { HOLD: 'we did not ask for this' }, key: bob });
    await world.poll(later(62));
    assert.deepEqual(await receiptsFor(world, request), []);
    await host.commit({ files: { HOLD: null }, key: bob });
  });

  it('is over an hour after this signer first saw the request, even if it was restarted since', async () => {
    await world.poll(later(62));
    const { outcome, times } = await receiptFor(world, request);
    assert.equal(outcome, 'signed');
    assert.ok(Date.parse(times.answered) - Date.parse(times.seen) >= 3_600_000);
  });
});

describe('a channel with a name that every object has', () => {
  for (const name of ['constructor', 'toString', 'hasOwnProperty', 'valueOf'])
    it(`channel-unknown: ${name}, and wait only waits until then`, async () => {
      const { request } = await asked(`${name}.zip`, `Sign it\n\nChannel: ${name}\n`);
      const waited = await world.wait(request, '--timeout', '1s');
      assert.equal(waited.status, 4, waited.stderr);
      assert.doesNotMatch(waited.stderr, /bug|undefined|NaN|Invalid|function/i);
      await world.poll();
      assert.equal((await receiptFor(world, request)).reason?.code, 'channel-unknown');
    });
});
