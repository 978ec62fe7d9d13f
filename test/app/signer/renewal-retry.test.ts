import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { ChannelKey } from '../../../src/app/signer/channel/channel-key.ts';
import { Renewal } from '../../../src/app/signer/channel/renewal.ts';
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
  const state = { fail: failure as Error | null, tries: 0, clock: 0, reported: [] as string[] };
  const successor = { ...settings, from: FROM };
  const renewal = await Renewal.open(
    {
      channel: 'default',
      signing: { key: 'current', successor } as never,
      open: async (opened) => {
        if (opened.key === 'current') return current;
        state.tries += 1;
        if (state.fail) throw state.fail;
        return Promise.resolve(next);
      },
      report: ({ code }) => void state.reported.push(code),
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

  it('is tried again if it is a file, which nothing can lock', async () => {
    const { state, renewal } = await renewing({ pfx: 'next.pfx' }, usage('file-not-found', 'no such file'));
    state.clock = HOUR;
    state.fail = null;
    assert.equal((await renewal.keyAt(FROM)).key, next.key);
  });
});

describe('a clock that was ahead when the signer started', () => {
  const started = async (open: (settings: KeySettings) => Promise<ChannelKey>) => {
    const reported: string[] = [];
    const renewal = await Renewal.open(
      {
        channel: 'default',
        signing: { key: 'current', successor: { ...URI, from: FROM } } as never,
        open,
        report: ({ code }) => void reported.push(code),
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

  it('successor-early: leaves the successor, if the key before it is gone; said once', async () => {
    const { renewal, reported } = await started(({ key }) =>
      key === 'current' ? Promise.reject(gone) : Promise.resolve(next),
    );
    for (const now of [before10, before10, FROM]) assert.equal((await renewal.keyAt(now)).key, next.key);
    assert.deepEqual(reported, ['successor-early']);
  });
});
