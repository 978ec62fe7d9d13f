/** Many receipts, judged on several threads by the compiled program: it tells what one thread tells. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import { auditDocument } from '../../../src/app/auditor/json-report.ts';
import { readAudit } from '../../../src/app/auditor/audit-repository.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { AuditWorld } from './sample-history.ts';

const main = resolve(import.meta.dirname, '../../../dist/main.js');

interface Told {
  readonly problems: readonly { readonly commit: string }[];
  readonly rows: readonly { readonly outcome: string; readonly receipt: string }[];
}

/** So many that threads are worth their while; a few are not what they should be. */
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

async function onOneThread(world: AuditWorld): Promise<Told> {
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    const audit = await readAudit(repository, { allowed: world.allowed() });
    const document = { repository: '', at: new Date(), rows: audit.rows, revocation: null };
    return JSON.parse(JSON.stringify(auditDocument(audit, document))) as Told;
  } finally {
    repository.close();
  }
}

describe('an audit of many receipts', () => {
  it('tells the same on several threads as on one, in the same order', async () => {
    const world = await AuditWorld.create();
    try {
      const faulty = await fill(world);
      const words = [
        main,
        'audit',
        '--repo',
        world.gitDir,
        '--allowed-signers',
        await world.allowedFile(),
        '--json',
      ];
      const { status, stdout } = await new Promise<{ status: unknown; stdout: string }>((done) => {
        execFile(process.execPath, words, { maxBuffer: 2 ** 28 }, (error, out) =>
          done({ status: error?.code ?? 0, stdout: out }),
        );
      });
      assert.equal(status, 3);
      const told = JSON.parse(stdout) as Told;
      const alone = await onOneThread(world);
      assert.deepEqual(
        told.problems.map(({ commit }) => commit),
        faulty,
      );
      assert.deepEqual(
        told.rows.filter(({ outcome }) => outcome === 'unproven').map(({ receipt }) => receipt),
        faulty,
      );
      const named = (text: unknown): string =>
        JSON.stringify(text).replace(/is not listed in [^"]*/g, 'is not listed');
      assert.equal(named(told.problems), named(alone.problems));
      assert.equal(named(told.rows), named(alone.rows));
      assert.equal(told.rows.length, 1604);
    } finally {
      await world.close();
    }
  });
});
