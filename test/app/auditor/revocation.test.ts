import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Rows } from '../../../src/app/auditor/model.ts';
import { readAudit } from '../../../src/app/auditor/audit-repository.ts';
import { judgeRevocation } from '../../../src/app/auditor/revocation.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { AuditWorld } from './sample-history.ts';

const NOON = new Date('2026-02-01T12:00:00Z');
const at = (minutes: number): Date => new Date(NOON.getTime() + minutes * 60_000);

describe('the revocation of a certificate', () => {
  let world: AuditWorld;
  let rows: Rows;
  let publisher: string;

  before(async () => {
    world = await AuditWorld.create();
    publisher = world.publisher.certificate.sha256;
    const lied = await world.program('lied.exe', at(60));
    const renewed = await world.program('renewed.exe', at(-2), world.successor);
    const certificate = world.successor.certificate.sha256;
    await world.receipt(await world.request(), {
      programs: [
        await world.program('early.exe', at(-1)),
        await world.program('late.exe', at(1)),
        await world.program('at-noon.exe', NOON),
        await world.program('unstamped.exe', null),
        {
          ...lied,
          entry: {
            ...lied.entry,
            timestamp: lied.entry.timestamp && { ...lied.entry.timestamp, time: at(-60).toISOString() },
          },
        },
        { ...renewed, entry: { ...renewed.entry, certificate } },
      ],
    });
    await world.receipt(await world.request(), {
      programs: [await world.program('other.exe', at(-5), world.successor)],
    });
    await world.write();
    const repository = await ControlRepository.openExisting(world.gitDir);
    try {
      ({ rows } = await readAudit(repository, { allowed: world.allowed() }));
    } finally {
      repository.close();
    }
  });
  after(() => world.close());

  it('keeps only signatures with an earlier timestamp', () => {
    const { killed, surviving, subject } = judgeRevocation(rows, { certificate: publisher, at: NOON });
    assert.match(subject, /CN=Publisher/);
    assert.deepEqual(
      surviving.map(({ path, why }) => [path, why]),
      [['early.exe', 'stamped before']],
    );
    assert.deepEqual(
      killed.map(({ path, why }) => [path, why]),
      [
        ['late.exe', 'stamped then or later'],
        ['at-noon.exe', 'stamped then or later'],
        ['unstamped.exe', 'no timestamp'],
        ['lied.exe', 'its timestamp is not proven'],
      ],
    );
  });

  it('concerns one certificate, also if a service replaced it within a request', () => {
    const certificate = world.successor.certificate.sha256;
    const { killed, surviving } = judgeRevocation(rows, { certificate, at: NOON });
    assert.deepEqual([killed.length, surviving.map(({ path }) => path)], [0, ['renewed.exe', 'other.exe']]);
  });

  it('accepts the first digits of a certificate, and returns all of them', () => {
    const other = world.successor.certificate.sha256;
    let digits = 4;
    while (publisher.startsWith(other.slice(0, digits))) digits += 1;
    const revocation = judgeRevocation(rows, { certificate: other.slice(0, digits), at: NOON });
    assert.equal(revocation.certificate, other);
    assert.equal(revocation.surviving.length, 2);
  });

  it('certificate-ambiguous: several certificates begin with the digits; each is listed', () => {
    assert.throws(() => judgeRevocation(rows, { certificate: '', at: NOON }), {
      code: 'certificate-ambiguous',
      hint: new RegExp(`(?=[^]*${publisher})[^]*${world.successor.certificate.sha256}`),
    });
  });

  it('certificate-unknown: no receipt names it; the known ones are listed', () => {
    assert.throws(() => judgeRevocation(rows, { certificate: '0'.repeat(64), at: NOON }), {
      code: 'certificate-unknown',
      hint: new RegExp(publisher),
    });
  });
});
