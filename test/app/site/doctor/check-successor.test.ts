import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { SigningConfig } from '../../../../src/app/config/channel-sections.ts';
import type { CheckResult } from '../../../../src/app/site/doctor/check-result.ts';
import { checkSigningKey, SigningKeys } from '../../../../src/app/site/doctor/check-keys.ts';
import { checkSuccessor } from '../../../../src/app/site/doctor/check-successor.ts';
import {
  createTestCertificate,
  keyToPem,
  toPem,
  type TestIdentity,
} from '../../../../src/sandbox/certificates.ts';

const DAY = 86_400_000;
const start = Math.floor(Date.now() / 1000) * 1000;
const daysAhead = (days: number): Date => new Date(start + days * DAY);

let folder = '';
let root: TestIdentity;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-successor-'));
  root = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
  await make('current', { notBefore: daysAhead(-30), notAfter: daysAhead(50) });
  await make('next', { notAfter: daysAhead(400) });
  await make('other', { commonName: 'Renamed publisher', notAfter: daysAhead(400) });
  await make('later', { notBefore: daysAhead(20), notAfter: daysAhead(400) });
});
after(() => rm(folder, { recursive: true, force: true }));

async function make(
  name: string,
  options: { commonName?: string; notBefore?: Date; notAfter: Date },
): Promise<void> {
  const made = await createTestCertificate({
    commonName: 'Publisher',
    purpose: 'code-signing',
    issuer: root,
    key: 'p256',
    ...options,
  });
  await writeFile(join(folder, `${name}.pem`), toPem([made.certificate]));
  await writeFile(join(folder, `${name}.key`), keyToPem(made.key), { mode: 0o600 });
}

const files = (name: string) => ({
  certificate: join(folder, `${name}.pem`),
  key: join(folder, `${name}.key`),
});

const line = ({ status, code, message }: CheckResult): string =>
  `${status}${code === undefined ? '' : ` ${code}`}: ${message}`;

/** What doctor says about the key in use and about its successor, if there is one. */
async function examine(
  now: Date,
  successor?: { name: string; from: Date },
): Promise<{ key: string[]; successor: string[] }> {
  const signing = { ...files('current'), digest: 'sha256', timestamp: [] } as unknown as SigningConfig;
  const next = successor && { ...files(successor.name), from: successor.from };
  const config = next ? { ...signing, successor: next } : signing;
  const keys = new SigningKeys();
  const checked = {
    key: (await checkSigningKey(config, keys, now)).map(line),
    successor: next ? await checkSuccessor({ ...signing, successor: next }, keys, now).catch(String) : [],
  };
  keys.close();
  return {
    key: checked.key,
    successor: Array.isArray(checked.successor) ? checked.successor.map(line) : [checked.successor],
  };
}

const notOk = (lines: readonly string[]): string[] => lines.filter((each) => !each.startsWith('ok'));

describe('the end of the certificate in use', () => {
  for (const [ahead, days, threshold] of [
    [-10, 60, 60],
    [20, 30, 30],
    [36.5, 13, 14],
    [49.5, 0, 7],
  ] as const)
    it(`certificate-expires-soon: ${days} days before, within ${threshold}`, async () => {
      const [found, ...more] = notOk((await examine(daysAhead(ahead))).key);
      assert.match(
        found ?? '',
        new RegExp(`^warning certificate-expires-soon: .* ${days} days left: within ${threshold} days`),
      );
      assert.equal(more.length, 0);
    });

  it('is no warning more than 60 days before', async () =>
    assert.deepEqual(notOk((await examine(daysAhead(-10.1))).key), []));

  it('is no warning if a successor takes over before it', async () => {
    const { key, successor } = await examine(daysAhead(40), { name: 'next', from: daysAhead(45) });
    assert.deepEqual([...notOk(key), ...notOk(successor)], []);
    assert.match(key.join('\n'), /10 days left; signing\.successor takes over on \d{4}-\d\d-\d\d/);
    assert.match(successor[0] ?? '', /^ok: takes over at .*Z, in 5 days$/);
    assert.match(successor.join('\n'), /signs with ECDSA and sha256/);
  });
});

describe('the successor', () => {
  it('from its date on signs, and the key before it is not needed any more', async () => {
    const { key, successor } = await examine(daysAhead(46), { name: 'next', from: daysAhead(45) });
    assert.match(
      key.join('\n'),
      /^ok: signing\.successor has signed since .*: make its settings those of signing/,
    );
    assert.deepEqual(notOk(successor), []);
    assert.match(successor[0] ?? '', /^ok: has signed since /);
  });

  it('takes over when the certificate in use ends, if that is earlier', async () => {
    const { successor } = await examine(daysAhead(48), { name: 'next', from: daysAhead(90) });
    assert.match(successor[0] ?? '', /^ok: takes over at .*, in 2 days$/);
    assert.match(notOk(successor).join('\n'), /^warning successor-late: [^\n]+$/);
  });

  it('is warned about before its time, and bad from then on, if it does not open', async () => {
    const absent = { name: 'absent', from: daysAhead(45) };
    const early = await examine(daysAhead(1), absent);
    assert.match(
      early.successor.join('\n'),
      /^ok: takes over at .*Z, in 44 days\nwarning file-not-found: .*absent\.pem[^\n]*$/,
    );
    const late = await examine(daysAhead(45), absent);
    assert.match(late.successor.join('\n'), /^bad file-not-found: .*absent\.pem[^\n]*$/);
    const ended = await examine(daysAhead(51), { name: 'absent', from: daysAhead(90) });
    assert.match(ended.successor.join('\n'), /^bad file-not-found: .*absent\.pem[^\n]*$/);
  });

  it('certificate-not-yet-valid, successor-gap: its date is too early', async () => {
    const { successor } = await examine(daysAhead(1), { name: 'later', from: daysAhead(10) });
    const found = notOk(successor).map((each) => each.replace(/:[^]*/, ''));
    assert.deepEqual(found, ['warning certificate-not-yet-valid', 'warning successor-gap']);
  });

  it('successor-other-identity, with both named', async () => {
    const { successor } = await examine(daysAhead(1), { name: 'other', from: daysAhead(10) });
    assert.match(
      notOk(successor).join('\n'),
      /^warning successor-other-identity: .*Renamed publisher.*CN=Publisher/,
    );
  });
});
