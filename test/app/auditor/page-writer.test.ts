/** A page that is kept up to date: when it is written, and what it says if the repository cannot be read. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { AuditMemory } from '../../../src/app/auditor/audit-memory.ts';
import { readAudit } from '../../../src/app/auditor/audit-repository.ts';
import type { Audit, PageState } from '../../../src/app/auditor/model.ts';
import { PageWriter, type Round } from '../../../src/app/auditor/page-writer.ts';
import { withAuditedRepository } from '../../../src/app/auditor/open-repository.ts';
import { withOpenRepository } from '../../../src/protocol/control/with-repository.ts';
import { buildHeartbeat, HEALTH_REFS } from '../../../src/protocol/control/heartbeat.ts';
import { signerName } from '../../../src/protocol/control/signer-name.ts';
import type { Heartbeat } from '../../../src/protocol/control/signer-health.ts';
import type { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { healthySigner } from '../../audit-page/sample-signers.ts';
import { AuditWorld, type WorldKey } from './sample-history.ts';

const MINUTE = 60_000;
const START = new Date('2026-02-01T00:00:00Z').getTime();

let common: AuditWorld;
let world: AuditWorld;
before(async () => {
  common = await AuditWorld.create();
});
after(() => common.close());
beforeEach(async () => {
  world = await common.another();
  await world.receipt(await world.request({ name: 'first.zip' }));
  await world.write();
});

interface Kept {
  readonly pages: { audit: Audit; page: PageState }[];
  allowed: AllowedSigners;
  readonly round: (at: number) => Promise<Round>;
}

/** Keeps a page in memory, from the repository's URL. */
const keeping = (use: (kept: Kept) => Promise<void>): Promise<void> =>
  withAuditedRepository(
    {
      file: 'auditor.yaml',
      control: { url: `file://${world.gitDir}`, requests: 'main', receipts: 'signed' },
      trust: { allowedSigners: 'allowed_signers' },
      state: join(world.folder, 'state'),
    },
    () => {},
    async (open) => {
      const kept: Kept = {
        pages: [],
        allowed: world.allowed(),
        round: (at) => writer.round(new AbortController().signal, new Date(at)),
      };
      const writer = new PageWriter({
        open,
        every: MINUTE,
        loadSigners: () => Promise.resolve({ allowed: kept.allowed }),
        write: async (audit, _, page) => void kept.pages.push({ audit, page }),
      });
      await use(kept);
    },
  );

/** Writes a heartbeat into the repository, as a signer with this key pushes it. */
async function beat(
  { signer }: WorldKey,
  heads: Heartbeat['heads'] = { requests: null, receipts: null },
): Promise<{ key: string; content: Heartbeat }> {
  const name = signerName(signer.fingerprint);
  const content = healthySigner(START, { signer: name, heads });
  const identity = { name: 'Example signer', email: '' };
  const { id, objects } = await buildHeartbeat(content, { signer, identity });
  for (const { type, content: input } of objects)
    execFileSync('git', ['-C', world.gitDir, 'hash-object', '-w', '-t', type, '--stdin'], { input });
  await world.git('update-ref', `${HEALTH_REFS}${name}`, id);
  return { key: signer.fingerprint, content };
}

const outcomes = ({ rows }: Audit): string[] => [...rows].map(({ outcome }) => outcome);

describe('a page that is kept up to date', () => {
  it('is written when something changed, and every five minutes as a sign of life', () =>
    keeping(async ({ pages, round }) => {
      const written: boolean[] = [];
      for (let minute = 0; minute <= 6; minute += 1) {
        if (minute === 2) {
          await world.request({ name: 'second.zip' });
          await world.write();
        }
        written.push((await round(START + minute * MINUTE)).written);
      }
      assert.deepEqual(written, [true, false, true, false, false, false, false]);
      assert.equal((await round(START + 7 * MINUTE)).written, true);
      assert.deepEqual(
        pages.map(({ audit }) => outcomes(audit)),
        [['rejected'], ['rejected', 'waiting'], ['rejected', 'waiting']],
      );
      assert.deepEqual(
        [pages[0]?.page.every, pages[0]?.page.next],
        [60, new Date(START + 6 * MINUTE).toISOString()],
      );
    }));

  it('is written when a heartbeat changed', () =>
    keeping(async ({ pages, round }) => {
      await round(START);
      const { key, content } = await beat(world.keys.receipts);
      assert.equal((await round(START + MINUTE)).written, true);
      assert.deepEqual(pages[1]?.page.health, { signers: [content], ignored: [], differing: [] });
      assert.equal(pages[1]?.audit.receiptsBy?.key, key);
    }));

  it('receipt-foreign-key: believes no heartbeat by a builder, though its list has the key', () =>
    keeping(async ({ pages, round }) => {
      await beat(world.keys.builder);
      await round(START);
      const health = pages[0]?.page.health;
      assert.deepEqual(
        [health?.signers, health?.ignored.map(({ code }) => code)],
        [[], ['receipt-foreign-key']],
      );
    }));

  it('names a signer that accepted another history', () =>
    keeping(async ({ pages, round }) => {
      await beat(world.keys.receipts, { requests: 'a'.repeat(40), receipts: null });
      await round(START);
      assert.deepEqual(pages[0]?.page.health.differing, ['Example signer']);
    }));

  it('stays while the Git host is down, and says since when', () =>
    keeping(async ({ pages, round }) => {
      await round(START);
      await rename(world.gitDir, `${world.gitDir}.away`);
      await round(START + MINUTE);
      await round(START + 6 * MINUTE);
      const [, down, still] = pages;
      assert(down && still);
      assert.deepEqual(outcomes(still.audit), ['rejected']);
      assert.equal(down.page.trouble?.since, new Date(START + MINUTE).toISOString());
      assert.equal(still.page.trouble?.since, down.page.trouble.since);
      await rename(`${world.gitDir}.away`, world.gitDir);
      assert.equal((await round(START + 7 * MINUTE)).trouble, null);
      assert.equal(pages.at(-1)?.page.trouble, null);
    }));

  it('begins with an earlier clone if the Git host is down', async () => {
    await keeping(async ({ round }) => void (await round(START)));
    await rm(world.gitDir, { recursive: true });
    await keeping(async ({ round }) => {
      const { trouble, audit } = await round(START);
      assert.deepEqual([outcomes(audit), trouble?.since], [['rejected'], new Date(START).toISOString()]);
    });
  });

  it('fails if there is nothing to show yet', async () => {
    await rm(world.gitDir, { recursive: true });
    await keeping(async ({ round }) => assert.rejects(round(START), { code: 'git-no-repository' }));
  });

  it('verifies everything again with other lists of keys', () =>
    keeping(async (kept) => {
      await kept.round(START);
      kept.allowed = world.allowed('builder');
      const { audit } = await kept.round(START + MINUTE);
      assert.deepEqual(outcomes(audit), ['unproven']);
    }));

  it('receipts-rewound: reports until it is started again that a branch lost what it had', () =>
    keeping(async ({ round }) => {
      const [, receipt = ''] = world.signed;
      await round(START);
      await world.setBranch('signed', world.signed[0] ?? '');
      const codes = async (at: number): Promise<string[]> =>
        (await round(at)).audit.problems.map(({ code, commit }) => `${code} ${commit}`);
      assert.deepEqual(await codes(START + MINUTE), [`receipts-rewound ${receipt}`]);
      await world.setBranch('signed', receipt);
      assert.deepEqual(await codes(START + 2 * MINUTE), [`receipts-rewound ${receipt}`]);
    }));
});

describe('an audit that remembers', () => {
  it('finds the same as one that reads everything', () =>
    withOpenRepository(world.gitDir, { requests: 'main', receipts: 'signed' }, async ({ repository }) => {
      const memory = new AuditMemory();
      const options = { allowed: world.allowed(), now: new Date(START) };
      for (let i = 0; i < 4; i += 1) {
        const request = await world.request({ name: `more-${i}.zip` });
        if (i === 1) await world.vouch(request);
        if (i === 2) await world.receipt(request, { by: world.keys.stranger });
        if (i < 2) await world.receipt(request);
        await world.write();
        const [quick, whole] = [
          await readAudit(repository, { ...options, memory }),
          await readAudit(repository, options),
        ];
        assert.deepEqual({ ...quick, rows: [...quick.rows] }, { ...whole, rows: [...whole.rows] });
      }
      assert.equal((await readAudit(repository, { ...options, memory })).problems.length, 1);
    }));

  /** Audits twice, in one memory: before and after `change`. The second finds what a fresh audit finds, and what it returns. */
  const afterChange = (change: () => Promise<unknown>): Promise<string[]> =>
    withOpenRepository(world.gitDir, { requests: 'main', receipts: 'signed' }, async ({ repository }) => {
      const memory = new AuditMemory();
      const options = { allowed: world.allowed(), now: new Date(START) };
      const codes = ({ problems }: Audit): string[] => problems.map(({ code }) => code);
      assert.deepEqual(codes(await readAudit(repository, { ...options, memory })), []);
      await change();
      const quick = codes(await readAudit(repository, { ...options, memory }));
      const whole = codes(await readAudit(repository, options));
      const lost = memory.lost.map(({ code }) => code);
      assert.deepEqual(quick, [...lost, ...whole]);
      return quick;
    });

  it('vouch-missing: notices that a vouch was merged into the request branch', async () => {
    const request = await world.request({ name: 'vouched.zip' });
    const vouch = await world.vouch(request);
    await world.receipt(request, { edit: (receipt) => ({ ...receipt, vouches: [vouch] }) });
    await world.write();
    const codes = await afterChange(async () => {
      await world.request({ name: 'merge.zip', parents: [request, vouch.commit] });
      await world.write();
    });
    assert.deepEqual(codes, ['vouch-missing']);
  });

  it('receipts-rewound: notices that the receipts were merged into another line of receipts', async () => {
    const [root = '', receipt = ''] = world.signed;
    const request = await world.request({ name: 'other.zip' });
    await world.write();
    const codes = await afterChange(async () => {
      const tree = world.tree([]);
      const other = await world.commit({ tree, parents: [root, request] }, world.keys.receipts);
      const merge = await world.commit({ tree, parents: [other, receipt] }, world.keys.receipts);
      await world.write();
      await world.setBranch('signed', merge);
    });
    assert.equal(codes[0], 'receipts-rewound');
    assert.ok(codes.length > 1);
  });
});
