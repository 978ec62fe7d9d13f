import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Channel } from '../../../../src/app/signer/channel/channel.ts';
import { ExpiryWarnings } from '../../../../src/app/signer/channel/expiry-warnings.ts';
import {
  createTestCertificate,
  testSigningKey,
  type TestIdentity,
} from '../../../../src/sandbox/certificates.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';

const DAY = 86_400_000;
const start = Math.floor(Date.now() / 1000) * 1000;
const daysAhead = (days: number): Date => new Date(start + days * DAY);

interface Logged {
  readonly level: number;
  readonly code: string;
  readonly channel: string;
  readonly days: number;
  readonly threshold: number;
  readonly certificate: string;
  readonly msg: string;
}

describe('the log before a signing certificate expires', () => {
  let folder = '';
  let state = '';
  let current: TestIdentity;
  let next: TestIdentity;
  let logged: Logged[] = [];
  const log = pino({ base: null }, { write: (line: string) => void logged.push(JSON.parse(line) as Logged) });
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-expiry-'));
    const options = { commonName: 'Publisher', purpose: 'code-signing', key: 'p256' } as const;
    current = await createTestCertificate({ ...options, notAfter: daysAhead(100) });
    next = await createTestCertificate({ ...options, notAfter: daysAhead(130) });
  });
  beforeEach(async () => {
    logged = [];
    state = await mkdtemp(join(folder, 'state-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const channel = (key: SigningKey, successor?: SigningKey): ReadonlyMap<string, Channel> => {
    const renewal = successor && { successor: { key: successor }, changesAt: daysAhead(90) };
    return new Map([['default', { key, renewal: renewal ?? null } as unknown as Channel]]);
  };

  /** What a signer logs that looks on these days. */
  async function onDays(
    days: readonly number[],
    channels = channel(testSigningKey(current)),
  ): Promise<string[]> {
    const warnings = await ExpiryWarnings.open(state, log);
    for (const day of days) await warnings.check(channels, daysAhead(day));
    return logged
      .splice(0)
      .map(({ level, code, days: left, threshold }) => `${level} ${code} ${left} ${threshold}`);
  }

  it('warns once at each of 60, 30, 14 and 7 days, and once it has expired', async () =>
    assert.deepEqual(await onDays([0, 39, 40, 41, 69, 70, 75, 86, 87, 93, 99, 101, 102]), [
      '40 certificate-expires-soon 60 60',
      '40 certificate-expires-soon 30 30',
      '40 certificate-expires-soon 14 14',
      '40 certificate-expires-soon 7 7',
      '50 certificate-expired -1 0',
    ]));

  it('names channel, certificate and day', async () => {
    const warnings = await ExpiryWarnings.open(state, log);
    await warnings.check(channel(testSigningKey(current)), daysAhead(90));
    const [found] = logged;
    assert.deepEqual([found?.channel, found?.certificate], ['default', current.certificate.sha256]);
    assert.match(
      found?.msg ?? '',
      /^channel default: the certificate in use is valid until .*, 10 days left$/,
    );
  });

  it('does not repeat a warning after a restart', async () => {
    assert.equal((await onDays([75])).length, 1);
    assert.deepEqual(await onDays([76, 85]), []);
    assert.equal((await onDays([86])).length, 1);
  });

  it('warns again after a clock that ran ahead was set back', async () => {
    await onDays([200]);
    assert.deepEqual(await onDays([75]), []);
    assert.equal((await onDays([90])).length, 1);
  });

  it('warns again if its file is damaged', async () => {
    await onDays([75]);
    await writeFile(join(state, 'expiry-warnings.json'), '{');
    assert.equal((await onDays([75])).length, 1);
  });

  it('is silent about a certificate whose end the successor covers, and warns about the end of the successor', async () => {
    const channels = channel(testSigningKey(current), testSigningKey(next));
    assert.deepEqual(await onDays([60], channels), []);
    assert.deepEqual(await onDays([75], channels), ['40 certificate-expires-soon 55 60']);
  });

  it('is silent about certificates that a service replaces every few days', async () => {
    const daily = Object.assign(testSigningKey(current), { shortLived: true });
    assert.deepEqual(await onDays([99, 101, 200], channel(daily)), []);
  });
});
