/** A key that cannot be reached (its token is not there, its service is down): requests wait, up to `retry.for`. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, beforeEach, describe, it } from 'node:test';
import { KeyUnavailable, type SigningKey } from '../../../src/engine/keys/signing-key.ts';
import type { Channel } from '../../../src/app/signer/channel/channel.ts';
import { forge } from '../../lib/zip/zips.ts';
import { Hostile } from '../../world/hostile.ts';
import { program, startSigner, TestSigner } from './test-signer.ts';

const HOUR = 3_600_000;

/** How the key of these tests behaves now. */
let token = { signatures: Infinity, retryAfterMs: 0, asked: 0, signed: 0 };

const unreachable = (): KeyUnavailable =>
  new KeyUnavailable('token-missing', 'the token release is not there', {
    hint: 'plug it in',
    retryAfterMs: token.retryAfterMs,
  });

/** The same key, in a token that is there for some signatures only. */
const inToken = (key: SigningKey, more: Partial<SigningKey> = {}): SigningKey => ({
  certificates: key.certificates,
  algorithm: key.algorithm,
  // eslint-disable-next-line require-await -- it rejects
  sign: async (hash, data) => {
    token.asked += 1;
    if (token.signed >= token.signatures) throw unreachable();
    token.signed += 1;
    return key.sign(hash, data);
  },
  close: () => key.close(),
  ...more,
});

function putIntoToken(signer: TestSigner, more: Partial<SigningKey> = {}): void {
  const channels = signer.context.channels as Map<string, Channel>;
  for (const [name, channel] of channels) channels.set(name, { ...channel, key: inToken(channel.key, more) });
}

const putBack = (): void => void (token.signatures = Infinity);

const signer = await startSigner({ ssh: false, change: (text) => text.replace('for: 0', 'for: 1h') });
const host = new Hostile(signer.world);

async function restart(more: Partial<SigningKey> = {}): Promise<void> {
  await signer.restart();
  putIntoToken(signer, more);
}

/** Restarts the signer as if all that waits had been tried first so long ago. */
async function begun(ago: number): Promise<void> {
  const file = signer.world.at('signer-state', 'waiting.json');
  const first = new Date(Date.now() - ago).toISOString();
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replaceAll(/"first":"[^"]+"/g, `"first":"${first}"`));
  await restart();
}

const waits = async (id: string): Promise<void> => {
  assert.equal((await signer.poll()).waiting, 1);
  assert.deepEqual(await signer.receiptsFor(id), []);
  await signer.assertIdle();
};

const said = (from = 0): string =>
  signer.logged
    .slice(from)
    .map(({ msg }) => msg)
    .join('\n');

const published = async (): Promise<unknown> =>
  (
    JSON.parse(await signer.world.git('show', 'signed:policy.json')) as {
      channels: { default: { waiting?: unknown } };
    }
  ).channels.default.waiting;

/** A zip with so many programs. */
const manyPrograms = (count: number): Buffer =>
  forge(Array.from({ length: count }, (_, n) => ({ name: `p${n}.exe`, content: program(50 + n) })));

describe('a request whose key cannot be reached', () => {
  beforeEach(async () => {
    token = { signatures: 0, retryAfterMs: 0, asked: 0, signed: 0 };
    await restart();
  });

  it('waits, says since when and why, and is signed once the key is back', async () => {
    const from = signer.logged.length;
    const id = await signer.sendSound();
    await waits(id);
    assert.match(
      said(from),
      /the signing key has been out of reach since \d{4}-.*until \d{4}-.*: the token release is not there \[token-missing\]/,
    );
    putBack();
    await signer.signs(id);
    await signer.assertIdle();
    assert.equal(await published(), undefined);
  });

  it('leaves nothing behind if the key was lost after some of its programs were signed', async () => {
    const delivered = await signer.delivered();
    token.signatures = 2;
    const id = await signer.send('many.zip', manyPrograms(5));
    await waits(id);
    assert.equal(token.signed, 2);
    assert.deepEqual(await signer.delivered(), delivered);
    putBack();
    await signer.signs(id);
    const { receipt } = await signer.receiptFor(id);
    assert.equal(receipt.files[0]?.signed.length, 5);
  });

  it('is not fetched while a key that can say so is out of reach', async () => {
    let there = false;
    await restart({
      available: () => (there ? Promise.resolve() : Promise.reject(unreachable())),
    });
    const id = await signer.send('fetched.zip', manyPrograms(1));
    await waits(id);
    const { asked } = token;
    const repair = signer.breakFetch('fetched.zip', () => assert.fail('fetched'));
    for (let n = 0; n < 3; n += 1) await waits(id);
    assert.equal(token.asked, asked, 'no signature is asked for either');
    repair();
    there = true;
    putBack();
    await signer.signs(id);
  });

  it('waits as long as its service asks', async () => {
    token.retryAfterMs = 60_000;
    const id = await signer.sendSound();
    await waits(id);
    const { asked } = token;
    putBack();
    await waits(id);
    assert.equal(token.asked, asked);
    await restart();
    await signer.signs(id);
  });

  it('fails after retry.for, counted from the first attempt through restarts, with the error of the key', async () => {
    const id = await signer.sendSound();
    await waits(id);
    await begun(HOUR - 60_000);
    await waits(id);
    await begun(HOUR + 60_000);
    await signer.poll();
    await signer.assertRefusal(id, {
      outcome: 'failed',
      code: 'token-missing',
      says: /the token release is not there/,
      hint: /plug it in/,
    });
  });

  it('is stopped by a HOLD that comes while it waits, even if the key is back', async () => {
    const id = await signer.sendSound();
    await waits(id);
    await host.commit({ files: { HOLD: 'look at it first\n' }, message: 'Stop\n' });
    putBack();
    const from = signer.logged.length;
    await waits(id);
    assert.equal(token.signed, 0);
    assert.match(said(from), /on hold by/);
    await host.commit({ files: { HOLD: null }, message: 'Go on\n' });
    await signer.signs(id);
  });

  it('is rejected if its requester is revoked while it waits, though the key is back', async () => {
    const id = await signer.sendSound();
    await waits(id);
    const file = signer.world.at('keys', 'allowed_signers');
    const list = await readFile(file, 'utf8');
    await writeFile(file, '# all keys are revoked\n');
    putBack();
    await signer.poll();
    await writeFile(file, list);
    assert.equal((await signer.receiptFor(id)).receipt.outcome, 'rejected');
    assert.deepEqual([token.signed, signer.context.outages.requests], [0, []]);
    await signer.poll();
    assert.equal(await published(), undefined);
  });

  it('is shown to the waiting builder, published once', async () => {
    const id = await signer.sendSound();
    await waits(id);
    await waits(id);
    assert.match(JSON.stringify(await published()), /^\{"for":"key","since":"\d{4}-/);
    const policies = await signer.world.git('rev-list', '--count', 'signed');
    await waits(id);
    assert.equal(await signer.world.git('rev-list', '--count', 'signed'), policies);
    const { status, stderr } = await signer.world.wait(id, '--timeout', '1s');
    assert.equal(status, 4, stderr);
    assert.match(
      stderr,
      /the signer has been unable to reach its signing key since \d{4}-.*; it keeps trying/,
    );
    putBack();
    await signer.signs(id);
  });

  it('reads the waiting.json of an older signer, in which every outage is one of timestamp authorities', async () => {
    const id = await signer.sendSound();
    await waits(id);
    const file = signer.world.at('signer-state', 'waiting.json');
    const text = await readFile(file, 'utf8');
    assert.match(text, /"for":"key"/);
    await signer.context.close();
    await writeFile(file, text.replace('"for":"key",', ''));
    await signer.restart();
    assert.equal(signer.context.outages.channels.get('default')?.for, 'timestamp');
    putBack();
    await signer.signs(id);
    assert.equal(signer.context.outages.channels.size, 0);
  });
});

describe('with retry.for: 0', () => {
  let hasty: TestSigner;
  before(async () => {
    hasty = await TestSigner.open({ ssh: false });
    putIntoToken(hasty);
  });
  after(() => hasty.close());

  it('a request whose key cannot be reached fails at once', async () => {
    const bytes = manyPrograms(1);
    token = { signatures: 0, retryAfterMs: 0, asked: 0, signed: 0 };
    const id = await hasty.send('hasty.zip', bytes);
    await hasty.poll();
    await hasty.assertRefusal(id, {
      outcome: 'failed',
      code: 'token-missing',
      says: /not there/,
      hint: /plug it in/,
    });
  });
});
