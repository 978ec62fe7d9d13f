/** The audit checks that a cancelled request was cancelled. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { requireCancellation } from '../../../src/app/auditor/cancellation-audit.ts';
import { auditRequest, type AuditedRequest } from '../../../src/app/auditor/request-audit.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import type { Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { TestControl, type TestKey } from '../../protocol/control/repositories.ts';

let world: TestControl;
let repository: ControlRepository;
let [alice, mallory]: TestKey[] = [];
let request: AuditedRequest;
const commits = new Map<string, string>();
before(async () => {
  world = await TestControl.create();
  [alice, mallory] = await Promise.all([world.key('alice'), world.key('mallory')]);
  assert.ok(alice && mallory);
  const other = await world.commit('other\n', { zipname: 'b.zip\n' }, { key: alice });
  const id = await world.commit('1\n', { zipname: 'a.zip\n' }, { key: alice });
  const cancel = (named: string): string => `Cancel\n\nCancel: ${named}\n`;
  commits.set('good', await world.commit(cancel(id), {}, { key: alice }));
  commits.set('stranger', await world.commit(cancel(id), {}, { key: mallory }));
  commits.set('other', await world.commit(cancel(other), {}, { key: alice }));
  await world.push('-f', 'main');
  commits.set('aside', await world.commit(cancel(id), {}, { key: alice }));
  await world.push('HEAD:refs/heads/vouch/alice');
  repository = await world.repository();
  await repository.fetch();
  request = await auditRequest(repository, id, TestControl.allowed(alice));
});
after(() => world.close());

const check = async (named: string, options = '', now = new Date()): Promise<void> => {
  const { allowed: line, ...key } = alice ?? assert.fail();
  return requireCancellation(
    {
      repository,
      requests: (await repository.heads()).requests,
      allowed: TestControl.allowed({ ...key, allowed: line.replace(' ', ` ${options} `) }),
      now,
      acceptUnsigned: false,
    },
    {
      request: { id: request.request.id },
      times: { answered: new Date().toISOString() },
      reason: { code: 'request-cancelled', message: `request x was cancelled by alice (commit ${named})` },
    } as Receipt,
    request,
  );
};

const YEAR = 365 * 86_400_000;
const day = (time: number): string => new Date(time).toISOString().slice(0, 10).replaceAll('-', '');

const refusal =
  (code: string, says: RegExp) =>
  (error: unknown): true => {
    assert.ok(error instanceof SignpipeError && error.code === code, String(error));
    assert.match(error.message, says);
    return true;
  };

describe('a receipt that says that its request was cancelled', () => {
  it('is right if the commit that it names cancels the request', () => check(commits.get('good') ?? ''));

  it('stays right after the key that cancelled it has expired', () => {
    const expires = `namespaces="git",valid-before="${day(Date.now() + YEAR)}Z"`;
    return check(commits.get('good') ?? '', expires, new Date(Date.now() + 2 * YEAR));
  });

  it('cancel-other: names a commit that is not on the request branch', () =>
    assert.rejects(
      check(commits.get('aside') ?? ''),
      refusal('cancel-other', /is not on the request branch/),
    ));

  it('cancel-missing: names a commit that is not there, or none', async () => {
    await assert.rejects(check('a'.repeat(40)), refusal('cancel-missing', /no commit did that/));
    await assert.rejects(check('abc'), refusal('cancel-missing', /no commit did that/));
  });

  it('cancel-other: names a commit by a person who may not cancel it, or about another request', async () => {
    await assert.rejects(check(commits.get('stranger') ?? ''), refusal('cancel-other', /is signed neither/));
    await assert.rejects(check(commits.get('other') ?? ''), refusal('cancel-other', /names another request/));
  });
});
