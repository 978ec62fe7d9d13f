import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { ChannelKey } from '../../../src/app/signer/channel/channel-key.ts';
import { Renewal, whenStarting } from '../../../src/app/signer/channel/renewal.ts';
import type { KeySettings } from '../../../src/engine/keys/open.ts';
import { KeyUnavailable } from '../../../src/engine/keys/signing-key.ts';
import { usage } from '../../../src/lib/errors.ts';
import { createTestCertificate, testSigningKey } from '../../../src/sandbox/certificates.ts';

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const start = Date.now();
const FROM = new Date(start + 10 * DAY);
const before10 = new Date(start + DAY);

let current: ChannelKey;
let next: ChannelKey;
before(async () => {
  const open = async (): Promise<ChannelKey> => {
    const made = await createTestCertificate({ commonName: 'P', purpose: 'code-signing', key: 'p256' });
    return { key: testSigningKey(made), test: true, timestamper: null, timestampRoots: undefined };
  };
  [current, next] = await Promise.all([open(), open()]);
});

/** A renewal whose successor fails to open until `fail` is null, with a clock that stands still. */
async function renewing(settings: KeySettings, failure: Error) {
  const state = {
    fail: failure as Error | null,
    hang: Promise.resolve(),
    ...{ tries: 0, clock: 0, reported: [] as string[], hints: [] as (string | undefined)[] },
  };
  const successor = { ...settings, from: FROM };
  const renewal = await Renewal.open(
    {
      channel: 'default',
      signing: { key: 'current', successor } as never,
      open: async (opened) => {
        if (opened.key === 'current') return current;
        state.tries += 1;
        await state.hang;
        if (state.fail) throw state.fail;
        return Promise.resolve(next);
      },
      report: ({ code, hint }) => {
        state.reported.push(code);
        state.hints.push(hint);
      },
      clock: () => state.clock,
    },
    before10,
  );
  return { state, renewal };
}

const gone = new KeyUnavailable('pkcs11-token-missing', 'there is no token with this label');
const URI = { key: 'pkcs11:token=next' };

describe('a successor that cannot be opened', () => {
  it('is tried again each hour before its time, each minute from then on, and reported once', async () => {
    const { state, renewal } = await renewing(URI, gone);
    for (const [clock, now, tries] of [
      [HOUR - SECOND, before10, 1],
      [HOUR, before10, 2],
      [HOUR + MINUTE - SECOND, FROM, 2],
      [HOUR + MINUTE, FROM, 3],
      [HOUR + 2 * MINUTE, FROM, 4],
    ] as const) {
      state.clock = clock;
      await renewal.keyAt(now);
      assert.equal(state.tries, tries);
    }
    assert.deepEqual(state.reported, ['pkcs11-token-missing']);
  });

  it('stops requests from its time on, until it can be opened', async () => {
    const { state, renewal } = await renewing(URI, gone);
    assert.equal((await renewal.keyAt(before10)).keyProblem, null);
    state.clock = HOUR;
    const stopped = await renewal.keyAt(FROM);
    assert.equal(stopped.keyProblem?.code, 'successor-unusable');
    assert.equal(stopped.keyProblem.kind, 'usage');
    state.clock += MINUTE;
    state.fail = null;
    const opened = await renewal.keyAt(FROM);
    assert.deepEqual([opened.key, opened.keyProblem], [next.key, null]);
  });

  it('is not tried again without a person if its token refused the PIN, which may be the last attempt but one', async () => {
    const { state, renewal } = await renewing(URI, usage('pkcs11-pin-wrong', 'the PIN is wrong'));
    state.clock = 9 * HOUR;
    const { keyProblem } = await renewal.keyAt(FROM);
    assert.equal(state.tries, 1);
    assert.match(keyProblem?.hint ?? '', /restart the signer/);
  });

  it('says from the beginning that a person has to restart the signer, if that is so', async () => {
    const hinted = usage('certificate-unreadable', 'no such file', { hint: 'put it there' });
    for (const [settings, hint] of [
      [URI, 'put it there; then restart the signer'],
      [{ key: 'PKCS11:token=next' }, 'put it there; then restart the signer'],
      [{ key: 'artifactsigning://e/a/p' }, 'put it there; then restart the signer'],
      [{ key: 'awskms:///alias/next' }, 'put it there'],
      [{ pfx: 'next.pfx' }, 'put it there'],
    ] as const)
      assert.deepEqual((await renewing(settings, hinted)).state.hints, [hint]);
  });

  it('is tried again if it is in a service that opens for nothing: its certificate may come any day', async () => {
    const { state, renewal } = await renewing(
      { key: 'awskms:///alias/next', certificate: 'next.pem' },
      usage('certificate-unreadable', 'no such file'),
    );
    state.clock = HOUR;
    state.fail = null;
    assert.equal((await renewal.keyAt(FROM)).key, next.key);
  });

  it('is waited for in the background if it hangs: other channels go on', async () => {
    const { state, renewal } = await renewing(URI, gone);
    let appear = (): void => {};
    state.hang = new Promise((resolve) => (appear = resolve));
    state.clock = HOUR;
    const began = performance.now();
    assert.equal((await renewal.keyAt(before10)).keyProblem, null);
    assert.ok(performance.now() - began < 20 * SECOND);
    assert.equal(renewal.successor, null);
    state.fail = null;
    appear();
    await renewal.keyAt(before10);
    assert.equal(renewal.successor, next);
    assert.equal(state.tries, 2);
  });

  it('is tried again if it is a file, which nothing can lock', async () => {
    const { state, renewal } = await renewing({ pfx: 'next.pfx' }, usage('file-not-found', 'no such file'));
    state.clock = HOUR;
    state.fail = null;
    assert.equal((await renewal.keyAt(FROM)).key, next.key);
  });
});

describe('a signer that starts while its successor cannot be reached', () => {
  it('waits for it, as for any key', async () => {
    const { keyProblem } = await (await renewing(URI, gone)).renewal.keyAt(FROM);
    assert.ok(keyProblem && whenStarting(keyProblem) instanceof KeyUnavailable);
    const signing = { key: 'current', successor: { ...URI, from: FROM } } as never;
    const open = (): Promise<never> => Promise.reject(gone);
    await assert.rejects(
      Renewal.open({ channel: 'default', signing, open, report: () => assert.fail() }, FROM),
      (error) =>
        error instanceof KeyUnavailable && error.message.startsWith('signing.successor: there is no'),
    );
  });
});

describe('a clock that was ahead when the signer started', () => {
  const started = async (
    open: (settings: KeySettings) => Promise<ChannelKey>,
    clock: () => number = () => performance.now(),
  ) => {
    const reported: string[] = [];
    const renewal = await Renewal.open(
      {
        channel: 'default',
        signing: { key: 'current', successor: { ...URI, from: FROM } } as never,
        open,
        report: ({ code }) => void reported.push(code),
        clock,
      },
      FROM,
    );
    return { reported, renewal };
  };

  it('has no effect afterwards: the key before the successor is opened', async () => {
    const { renewal } = await started(({ key }) => Promise.resolve(key === 'current' ? current : next));
    assert.equal((await renewal.keyAt(FROM)).key, next.key);
    assert.equal((await renewal.keyAt(before10)).key, current.key);
  });

  it('opens the key before the successor as soon as it can be reached', async () => {
    let clock = 0;
    let there = false;
    const { renewal, reported } = await started(
      ({ key }) =>
        key !== 'current' ? Promise.resolve(next) : there ? Promise.resolve(current) : Promise.reject(gone),
      () => clock,
    );
    assert.equal((await renewal.keyAt(before10)).key, next.key);
    there = true;
    clock = MINUTE - SECOND;
    assert.equal((await renewal.keyAt(before10)).key, next.key);
    clock = MINUTE;
    assert.equal((await renewal.keyAt(before10)).key, current.key);
    assert.deepEqual(reported, ['successor-early']);
  });

  it('successor-early: leaves the successor, if the key before it is gone; said once', async () => {
    const { renewal, reported } = await started(({ key }) =>
      key === 'current' ? Promise.reject(gone) : Promise.resolve(next),
    );
    for (const now of [before10, before10, FROM]) assert.equal((await renewal.keyAt(now)).key, next.key);
    assert.deepEqual(reported, ['successor-early']);
  });
});
