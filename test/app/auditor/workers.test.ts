/** The compiled program audits many receipts on several threads, with the same result as on one. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { auditDocument } from '../../../src/app/auditor/json-report.ts';
import { readAudit } from '../../../src/app/auditor/audit-repository.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { AuditWorld } from './sample-history.ts';

const main = resolve(import.meta.dirname, '../../../dist/main.js');

interface AuditReport {
  readonly problems: readonly { readonly commit: string }[];
  readonly rows: readonly { readonly outcome: string; readonly receipt: string }[];
}

/** Enough receipts for several threads; a few have problems. */
async function fill(world: AuditWorld): Promise<string[]> {
  const programs = [await world.program('tool.exe', new Date('2026-01-05T08:00:00Z'))];
  const faulty: string[] = [];
  await world.root();
  for (let i = 0; i < 1600; i += 1) {
    const request = await world.request();
    const vouches = i % 20 === 0 ? [await world.vouch(request)] : [];
    const by = i % 400 === 7 ? world.keys.stranger : world.keys.receipts;
    const receipt = await world.receipt(request, {
      by,
      programs: i % 4 === 0 ? programs : [],
      edit: (said) => ({ ...said, vouches }),
    });
    if (by === world.keys.stranger) faulty.push(receipt);
    if (i % 400 === 9) faulty.push(await world.receipt(request));
  }
  await world.write();
  return faulty;
}

async function onOneThread(world: AuditWorld): Promise<AuditReport> {
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    const audit = await readAudit(repository, { allowed: world.allowed() });
    const document = { repository: '', at: new Date(), rows: audit.rows, revocation: null };
    return JSON.parse(JSON.stringify(auditDocument(audit, document))) as AuditReport;
  } finally {
    repository.close();
  }
}

describe('an audit of many receipts', () => {
  it('has the same result on several threads as on one, in the same order', async () => {
    const world = await AuditWorld.create();
    try {
      const faulty = await fill(world);
      const signers = ['--allowed-signers', await world.allowedFile()];
      const args = [main, 'audit', '--repo', world.gitDir, ...signers, '--json'];
      const { status, stdout } = await new Promise<{ status: unknown; stdout: string }>((done) => {
        execFile(process.execPath, args, { maxBuffer: 2 ** 28 }, (error, out) =>
          done({ status: error?.code ?? 0, stdout: out }),
        );
      });
      assert.equal(status, 3);
      const report = JSON.parse(stdout) as AuditReport;
      const alone = await onOneThread(world);
      assert.deepEqual(
        report.problems.map(({ commit }) => commit),
        faulty,
      );
      assert.deepEqual(
        report.rows.filter(({ outcome }) => outcome === 'unproven').map(({ receipt }) => receipt),
        faulty,
      );
      const named = (text: unknown): string =>
        JSON.stringify(text).replace(/is not listed in [^"]*/g, 'is not listed');
      assert.equal(named(report.problems), named(alone.problems));
      assert.equal(named(report.rows), named(alone.rows));
      assert.equal(report.rows.length, 1604);
    } finally {
      await world.close();
    }
  });
});
