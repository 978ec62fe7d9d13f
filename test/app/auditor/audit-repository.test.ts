import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Audit, AuditRow } from '../../../src/app/auditor/model.ts';
import { readAudit, type AuditOptions } from '../../../src/app/auditor/audit-repository.ts';
import { parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { certificateIdentity } from '../../../src/lib/x509/certificate-identity.ts';
import type { Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { AuditWorld, hashOf, type Made, type ReceiptOptions, type RequestOptions } from './sample-history.ts';
import { rewrapped } from '../../world/commit-copies.ts';
import { policyOf } from '../../protocol/control/sample-policy.ts';

let keys: AuditWorld;
let programs: Made[];
before(async () => {
  keys = await AuditWorld.create();
  const time = new Date('2026-01-05T08:00:00Z');
  programs = [await keys.program('bin/tool.exe', time), await keys.program('bin/helper.dll', time)];
});
after(() => keys.close());

/** An audit with its rows as an array. */
interface Audited extends Audit {
  readonly rows: readonly AuditRow[];
}

async function audited(world: AuditWorld, options: Partial<AuditOptions> = {}): Promise<Audited> {
  await world.write();
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    const audit = await readAudit(repository, { allowed: world.allowed(), ...options });
    return { ...audit, rows: [...audit.rows] };
  } finally {
    repository.close();
  }
}

const outcomes = ({ rows }: Audited): string[] => rows.map(({ outcome }) => outcome);
const problemsOf = ({ problems }: Audit): [string, string][] =>
  problems.map(({ code, commit }) => [code, commit]);

/** The problems in a fixed order. */
const sortedProblemsOf = (audit: Audit): [string, string][] =>
  problemsOf(audit).sort(([a], [b]) => (a < b ? -1 : 1));

/** A world with one valid answer before those of the test. */
async function begun(): Promise<AuditWorld> {
  const world = await keys.another();
  await world.receipt(await world.request(), { programs });
  return world;
}

/** The tree, the parents and the message of a commit that is not written yet. */
function partsOf(world: AuditWorld, commit: string): { tree: string; parents: string[]; message: string } {
  const raw = world.pending(commit).toString('utf8');
  return {
    tree: /^tree (\w+)/.exec(raw)?.[1] ?? '',
    parents: [...raw.matchAll(/^parent (\w+)$/gm)].map(([, id = '']) => id),
    message: raw.slice(raw.indexOf('\n\n') + 2),
  };
}

/** The first program with another entry in the receipt. */
function altered(change: (entry: Made['entry']) => Made['entry']): Made[] {
  const [first] = programs;
  assert(first);
  return [{ ...first, entry: change(first.entry) }];
}

describe('the audit of a valid history', () => {
  it('shows the requester, the files, the vouches, the signed programs and the time taken', async () => {
    const world = await keys.another();
    await world.root(undefined, policyOf({ vouches: 1 }));
    const request = await world.request({ name: 'build.zip', message: 'Sign it\n\nSource-Revision: abc\n' });
    const vouch = await world.vouch(request);
    const receipt = await world.receipt(request, {
      programs,
      policy: policyOf({ vouches: 1 }),
      edit: (stated) => ({
        ...stated,
        vouches: [vouch],
        request: { ...stated.request, sourceRevision: 'abc' },
      }),
    });
    const audit = await audited(world);
    assert.deepEqual(audit.problems, []);
    const [row] = audit.rows;
    assert(row);
    assert.equal(row.outcome, 'signed');
    assert.equal(row.receipt, receipt);
    assert.deepEqual(row.askedBy, {
      principal: 'builder@example.org',
      key: world.keys.builder.signer.fingerprint,
    });
    assert.deepEqual(row.vouchedBy, [vouch]);
    assert.equal(row.sourceRevision, 'abc');
    assert.equal(row.files[0]?.input.name, 'build.zip');
    assert.deepEqual(
      row.files[0]?.signed.map(({ path, proven }) => [path, proven]),
      [
        ['bin/tool.exe', true],
        ['bin/helper.dll', true],
      ],
    );
    assert.equal(row.waited, 2 * 60_000);
    assert.equal(audit.receiptsBy?.principal, 'signer@example.org');
    assert.deepEqual(audit.heads, { requests: request, receipts: receipt });
  });

  it('accepts rejections of requests without an allowed signer, and of unreadable ones', async () => {
    const world = await keys.another();
    for (const options of [{ by: null }, { by: world.keys.stranger }, { zipname: '../etc/passwd\n' }]) {
      const request = await world.request(options);
      await world.receipt(request, {
        edit: (stated) => ({ ...stated, request: { ...stated.request, signer: null, key: null } }),
      });
    }
    const audit = await audited(world);
    assert.deepEqual(audit.problems, []);
    assert.deepEqual(outcomes(audit), ['rejected', 'rejected', 'rejected']);
    assert.deepEqual(
      audit.rows.map(({ askedBy }) => askedBy?.principal ?? null),
      [null, null, 'builder@example.org'],
    );
  });

  it('accepts another answer to a failed request', async () => {
    const world = await keys.another();
    const request = await world.request();
    await world.receipt(request, { edit: (stated) => ({ ...stated, outcome: 'failed' }) });
    await world.receipt(request, { programs });
    assert.deepEqual(outcomes(await audited(world)), ['failed', 'signed']);
  });

  it('accepts signatures of programs that could not be delivered', async () => {
    const world = await keys.another();
    const reason = { code: 'exchange-unreachable', message: 'the exchange is down' };
    await world.receipt(await world.request(), {
      programs,
      edit: (stated) => ({ ...stated, outcome: 'failed', reason }),
    });
    const audit = await audited(world);
    assert.deepEqual(audit.problems, []);
    assert.deepEqual(outcomes(audit), ['failed']);
    assert(audit.rows[0]?.files[0]?.signed.every(({ proven }) => proven));
  });

  it('accepts a change of policy on the receipt branch', async () => {
    const world = await begun();
    const policy = JSON.stringify(policyOf({ vouches: 2 }));
    const tree = world.tree([{ mode: '100644', name: 'policy.json', id: world.blob(policy) }]);
    world.signed.push(await world.commit({ tree, parents: world.signed.slice(-1) }, world.keys.receipts));
    await world.receipt(await world.request(), {});
    const audit = await audited(world);
    assert.deepEqual(audit.problems, []);
    assert.deepEqual(outcomes(audit), ['signed', 'rejected']);
  });

  it('shows what a request waits for, and its vouches so far', async () => {
    const world = await keys.another();
    await world.root(undefined, policyOf({ vouches: 2 }));
    const request = await world.request();
    const vouch = await world.vouch(request);
    const audit = await audited(world);
    assert.deepEqual(audit.problems, []);
    const [row] = audit.rows;
    assert.equal(row?.outcome, 'waiting');
    assert.equal(row.waitingFor, '1 of 2 vouches missing');
    assert.deepEqual(row.vouchedBy, [vouch]);
  });

  it('does not count a vouch by the requester, by a stranger, or for other bytes', async () => {
    const world = await keys.another();
    await world.root();
    const request = await world.request();
    await world.vouch(request, world.keys.builder);
    await world.vouch(request, world.keys.stranger);
    await world.vouch(request, world.keys.second, hashOf('other'));
    assert.deepEqual((await audited(world)).rows[0]?.vouchedBy, []);
  });

  it('shows a HOLD', async () => {
    const world = await keys.another();
    await world.root();
    const request = await world.request();
    const zipname = {
      mode: '100644',
      name: 'zipname',
      id: world.blob(`${hashOf('build-1.zip')}  build-1.zip\n`),
    };
    const hold = { mode: '100644', name: 'HOLD', id: world.blob('a key was stolen\n') };
    const tree = world.tree([hold, zipname]);
    world.main.push(await world.commit({ tree, parents: [request] }, world.keys.second));
    const audit = await audited(world);
    assert.equal(audit.hold?.by, 'second@example.org');
    assert.equal(audit.hold.reason, 'a key was stolen');
    assert.match(
      audit.rows[0]?.waitingFor ?? '',
      /^on hold by second@example\.org since \S+: a key was stolen$/,
    );
  });

  it('leaves out requests before the commit in `after`', async () => {
    const world = await keys.another();
    const old = await world.request();
    const asked = await world.request();
    await world.root();
    const audit = await audited(world, { after: old });
    assert.deepEqual(
      audit.rows.map(({ request }) => request),
      [asked],
    );
  });

  it('reads a repository without receipts: all requests wait', async () => {
    const world = await keys.another();
    await world.request();
    const audit = await audited(world);
    assert.deepEqual(outcomes(audit), ['waiting']);
    assert.equal(audit.receiptsBy, null);
  });

  it('accepts a second key if the receipt signers are given', async () => {
    const world = await begun();
    await world.receipt(await world.request(), { programs, by: world.keys.stranger });
    assert.deepEqual(
      problemsOf(await audited(world)).map(([code]) => code),
      ['commit-signer-unknown'],
    );
    const receiptSigners = world.allowed('receipts', 'stranger');
    assert.deepEqual((await audited(world, { receiptSigners })).problems, []);
  });

  it('accepts unsigned requests if the published policy permits them', async () => {
    const world = await keys.another();
    const policy = policyOf({ unsignedRequests: 'accept' });
    await world.root(undefined, policy);
    await world.receipt(await world.request({ by: null }), { programs, policy });
    assert.deepEqual((await audited(world)).problems, []);
  });

  it('keeps receipts in order and memory bounded over hundreds of them', async () => {
    const world = await keys.another();
    const expected: string[] = [];
    await world.root();
    for (let i = 0; i < 300; i += 1) {
      const request = await world.request();
      expected.push(await world.receipt(request, i % 3 === 0 ? {} : { programs }));
    }
    const audit = await audited(world);
    assert.deepEqual(audit.problems, []);
    assert.deepEqual(
      audit.rows.map(({ receipt }) => receipt),
      expected,
    );
    assert.equal(audit.rows.filter(({ outcome }) => outcome === 'signed').length, 200);
  });
});

describe('the audit of a tampered history', () => {
  /** One more request, answered as the options say; the audit must report that receipt. */
  const tampered = (
    name: string,
    code: string,
    options: () => ReceiptOptions = () => ({ programs }),
    asked: () => RequestOptions = () => ({}),
  ): void => {
    it(`${code}: ${name}`, async () => {
      const world = await begun();
      const receipt = await world.receipt(await world.request(asked()), options());
      const audit = await audited(world);
      assert.deepEqual(problemsOf(audit), [[code, receipt]]);
      assert.deepEqual(outcomes(audit), ['signed', 'unproven']);
    });
  };

  tampered('a receipt by an unlisted key', 'commit-signer-unknown', () => ({
    programs,
    by: keys.keys.stranger,
  }));
  tampered('a receipt by a builder, who may sign other things', 'receipt-foreign-key', () => ({
    programs,
    by: keys.keys.builder,
  }));

  it('commit-unsigned: a receipt without a signature', async () => {
    const world = await begun();
    const request = await world.request();
    const sound = await world.receipt(request, { programs });
    const raw = world.pending(sound).toString('latin1');
    const bare = world.rawCommit(Buffer.from(raw.replace(/^gpgsig (.|\n )*\n/m, ''), 'latin1'));
    world.signed.splice(-1, 1, bare);
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), [['commit-unsigned', bare]]);
    assert.deepEqual(outcomes(audit), ['signed', 'unproven']);
    assert.equal(audit.rows[1]?.certificate, null, 'an unsigned statement is not shown as a fact');
  });

  it('commit-signature-wrong: a receipt whose message was changed afterwards', async () => {
    const world = await begun();
    const sound = await world.receipt(await world.request(), {});
    const raw = world.pending(sound).toString('utf8');
    const changed = world.rawCommit(Buffer.from(raw.replace('Outcome: rejected', 'Outcome: signed')));
    world.signed.splice(-1, 1, changed);
    assert.deepEqual(problemsOf(await audited(world)), [['commit-signature-wrong', changed]]);
  });

  /** Signs the receipt commit again with other contents, as only the key's holder could. */
  const rewritten = async (
    world: AuditWorld,
    receipt: string,
    change: { message?: (text: string) => string; files?: Record<string, string | Buffer | null> },
  ): Promise<string> => {
    const { tree, parents, message } = partsOf(world, receipt);
    const entries = new Map<string, { mode: string; name: string; id: string }>();
    for (let rest = world.pending(tree); rest.length > 0;) {
      const nul = rest.indexOf(0);
      const [mode = '', name = ''] = rest.toString('utf8', 0, nul).split(' ');
      entries.set(name, { mode, name, id: rest.toString('hex', nul + 1, nul + 21) });
      rest = rest.subarray(nul + 21);
    }
    for (const [name, content] of Object.entries(change.files ?? {}))
      if (content === null) entries.delete(name);
      else entries.set(name, { mode: '100644', name, id: world.blob(content) });
    const commit = await world.commit(
      { tree: world.tree([...entries.values()]), parents, message: change.message?.(message) ?? message },
      world.keys.receipts,
    );
    world.signed.splice(-1, 1, commit);
    return commit;
  };

  for (const [name, code, change] of [
    [
      'trailers and receipt.json say different things',
      'receipt-message-differs',
      { message: (text: string) => text.replace(/^Output-SHA256: .{8}/m, 'Output-SHA256: 00000000') },
    ],
    [
      'a trailer is repeated with another value',
      'receipt-message-differs',
      { message: (text: string) => `${text}Outcome: rejected\n` },
    ],
    [
      'SHA256SUMS is about other bytes',
      'receipt-sums-differ',
      { files: { SHA256SUMS: `${hashOf('x')}  build-2.zip\n` } },
    ],
    ['SHA256SUMS is missing', 'receipt-sums-differ', { files: { SHA256SUMS: null } }],
    ['receipt.json is empty', 'receipt-malformed', { files: { 'receipt.json': '{"version":2}' } }],
    ['receipt.json is something else', 'receipt-malformed', { files: { 'receipt.json': 'not JSON' } }],
    ['receipt.json is missing', 'receipt-malformed', { files: { 'receipt.json': null } }],
  ] as const)
    it(`${code}: ${name}`, async () => {
      const world = await begun();
      const receipt = await world.receipt(await world.request(), { programs });
      const commit = await rewritten(world, receipt, change);
      assert.deepEqual(problemsOf(await audited(world)), [[code, commit]]);
    });

  it('accepts a message that a later version words differently', async () => {
    const world = await begun();
    const receipt = await world.receipt(await world.request(), { programs });
    await rewritten(world, receipt, {
      message: (text) => `Signed for you\n\n${text.slice(text.indexOf('Request:'))}Extra: yes\n`,
    });
    assert.deepEqual((await audited(world)).problems, []);
  });

  it('receipt-no-signature: the detached signatures are missing', async () => {
    const world = await begun();
    const receipt = await world.receipt(await world.request(), { programs });
    const commit = await rewritten(world, receipt, { files: { signatures: null } });
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), [
      ['receipt-no-signature', commit],
      ['receipt-no-signature', commit],
    ]);
    assert.deepEqual(
      audit.rows[1]?.files[0]?.signed.map(({ proven }) => proven),
      [false, false],
    );
  });

  const SUMS = `${hashOf('build-2.zip out')}  build-2.zip\n`;
  const withSums = (receipt: Receipt): Receipt => ({
    ...receipt,
    files: receipt.files.map((file) => ({
      ...file,
      attachments: [
        { name: 'build-2.zip.SHA256SUMS', kind: 'sha256sums', size: SUMS.length, sha256: hashOf(SUMS) },
      ],
    })),
  });

  it('receipt-no-attachment: what was delivered beside a file is missing', async () => {
    const world = await begun();
    const options = { programs, edit: withSums, attachments: new Map([[hashOf(SUMS), Buffer.from(SUMS)]]) };
    const receipt = await world.receipt(await world.request(), options);
    const commit = await rewritten(world, receipt, { files: { attachments: null } });
    assert.deepEqual(problemsOf(await audited(world)), [['receipt-no-attachment', commit]]);
  });

  it('receipt-stray-attachment: one that the receipt does not name', async () => {
    const world = await begun();
    let without = '';
    const edit = (receipt: Receipt): Receipt => {
      without = JSON.stringify(receipt);
      return withSums(receipt);
    };
    const attachments = new Map([[hashOf(SUMS), Buffer.from(SUMS)]]);
    const receipt = await world.receipt(await world.request(), { programs, edit, attachments });
    const commit = await rewritten(world, receipt, { files: { 'receipt.json': without } });
    assert.deepEqual(problemsOf(await audited(world)), [['receipt-stray-attachment', commit]]);
  });

  it('receipt-stray-signature: a signature that belongs to no program', async () => {
    const world = await begun();
    const [first, second] = programs;
    assert(first && second);
    const tree = world.tree(
      [first, second].map(({ entry, signature }) => ({
        mode: '100644',
        name: `${entry.before.sha256}.p7`,
        id: world.blob(signature),
      })),
    );
    const receipt = await world.receipt(await world.request(), { programs: [first] });
    const { tree: old, parents, message } = partsOf(world, receipt);
    const top = world.pending(old);
    const at = top.indexOf('signatures\0') + 'signatures\0'.length;
    const changed = Buffer.concat([top.subarray(0, at), Buffer.from(tree, 'hex'), top.subarray(at + 20)]);
    const commit = await world.commit(
      { tree: world.rawTree(changed), parents, message },
      world.keys.receipts,
    );
    world.signed.splice(-1, 1, commit);
    assert.deepEqual(problemsOf(await audited(world)), [['receipt-stray-signature', commit]]);
  });

  it('receipt-mismatch: receipt.json is about another request than the commit', async () => {
    const world = await begun();
    const [first, second] = [await world.request(), await world.request()];
    await world.receipt(first, {});
    const receipt = await world.receipt(second, {});
    const stated = JSON.stringify(world.receiptOf(first, [], new Date(world.clock)));
    const commit = await rewritten(world, receipt, { files: { 'receipt.json': stated } });
    assert.deepEqual(problemsOf(await audited(world)), [['receipt-mismatch', commit]]);
  });

  /** A receipt that says this of its request. */
  const stating = (change: Partial<Receipt['request']>): ReceiptOptions => ({
    programs,
    edit: (stated) => ({ ...stated, request: { ...stated.request, ...change } }),
  });
  tampered('the receipt names another signer', 'request-signer-differs', () =>
    stating({ signer: 'second@example.org' }),
  );
  tampered('the receipt names another key', 'request-signer-differs', () =>
    stating({ key: keys.keys.second.signer.fingerprint }),
  );
  tampered('the receipt states another channel', 'request-differs', () => stating({ channel: 'release' }));
  tampered('the receipt states a revision that the request does not have', 'request-differs', () =>
    stating({ sourceRevision: 'v1.0' }),
  );
  tampered('a file was signed that was not requested', 'receipt-other-file', () => ({
    programs,
    edit: (stated) => ({
      ...stated,
      files: stated.files.flatMap((file) => [file, { ...file, input: { ...file.input, name: 'evil.zip' } }]),
    }),
  }));
  tampered(
    'an unsigned request, stated to be signed',
    'commit-unsigned',
    () => stating({ signer: 'builder@example.org', key: keys.keys.builder.signer.fingerprint }),
    () => ({ by: null }),
  );
  for (const [who, by] of [
    ['nobody', () => null],
    ['a stranger', () => keys.keys.stranger],
  ] as const)
    tampered(
      `signed for a requester who is not proven, a request by ${who}`,
      'request-unproven',
      () => stating({ signer: null, key: null }),
      () => ({ by: by() }),
    );
  tampered('a file other than the pinned one was signed', 'receipt-other-bytes', () => ({
    programs,
    edit: (stated) => ({
      ...stated,
      files: stated.files.map((file) => ({ ...file, input: { ...file.input, sha256: hashOf('other') } })),
    }),
  }));

  it('receipt-other-bytes: an entry is not the one that was pinned', async () => {
    const world = await begun();
    const lines = programs.map(({ entry }) => `${entry.before.sha256}  app.zip!/${entry.path}\n`);
    const sound = await world.request({ name: 'app.zip', zipname: lines.join('') });
    await world.receipt(sound, { programs });
    const request = await world.request({
      name: 'app.zip',
      zipname: (lines[0] ?? '') + (lines[1] ?? '').replace(/^.{8}/, '00000000'),
    });
    const receipt = await world.receipt(request, { programs });
    assert.deepEqual(problemsOf(await audited(world)), [['receipt-other-bytes', receipt]]);
  });

  tampered('a requested file is missing', 'receipt-file-missing', undefined, () => ({
    name: 'one.zip',
    zipname: ['one.zip', 'two.zip'].map((name) => `${hashOf(name)}  ${name}\n`).join(''),
  }));
  tampered('signed although the request cannot be read', 'request-unsound', undefined, () => ({
    zipname: '../../etc/shadow\n',
  }));
  tampered('signed for a vouch on the request branch', 'vouch-not-request', undefined, () => ({
    message: 'Vouch for it\n\nVouch: yes\n',
  }));

  it('request-none: a receipt for a commit that is not a request', async () => {
    const world = await begun();
    const [last = ''] = world.main.slice(-1);
    const { tree } = partsOf(world, last);
    const idle = await world.commit({ tree, parents: [last], message: 'Nothing new\n' }, world.keys.builder);
    world.main.push(idle);
    world.know(idle, last);
    const receipt = await world.receipt(idle, { programs });
    assert(
      problemsOf(await audited(world)).some(
        ([code, commit]) => code === 'request-none' && commit === receipt,
      ),
    );
  });

  it('request-elsewhere: a receipt for a request that the request branch does not have', async () => {
    const world = await begun();
    const request = await world.request();
    world.main.pop();
    const receipt = await world.receipt(request, { programs });
    assert.deepEqual(problemsOf(await audited(world)), [['request-elsewhere', receipt]]);
  });

  it('request-elsewhere: the request branch was rewritten after it was answered', async () => {
    const world = await begun();
    await world.write();
    world.main.splice(0);
    await world.request({ name: 'other.zip' });
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), [['request-elsewhere', world.signed.at(-1)]]);
    assert.deepEqual(outcomes(audit), ['unproven', 'waiting']);
  });

  it('request-answered-twice: two receipts for one request', async () => {
    const world = await keys.another();
    const request = await world.request();
    await world.receipt(request, {});
    const again = await world.receipt(request, { programs });
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), [['request-answered-twice', again]]);
    assert.deepEqual(outcomes(audit), ['rejected', 'unproven']);
  });

  /** The request in another form: another id, the same payload and key. */
  function copyOf(world: AuditWorld, request: string): string {
    const raw = rewrapped(world.pending(request).toString('latin1'));
    const copy = world.rawCommit(Buffer.from(raw, 'latin1'));
    world.main.push(copy);
    world.know(copy, request);
    return copy;
  }

  const repeating =
    (request: string, receipt: string) =>
    (stated: Receipt): Receipt => ({
      ...stated,
      reason: { code: 'request-repeated', message: 'it was answered before' },
      repeats: { request, receipt },
    });

  it('request-answered-twice: two receipts for one request under two ids, as older signers wrote them', async () => {
    const world = await keys.another();
    const request = await world.request();
    const copy = copyOf(world, request);
    world.main.splice(-1, 1, await world.request({ parents: [request, copy] }));
    await world.receipt(request, { programs });
    const again = await world.receipt(copy, { programs });
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), [['request-answered-twice', again]]);
    assert.deepEqual(outcomes(audit), ['signed', 'unproven', 'waiting']);
  });

  it('shows repeated requests, and accepts their receipts', async () => {
    const world = await keys.another();
    const request = await world.request();
    const copy = copyOf(world, request);
    world.main.splice(-1, 1, await world.request({ parents: [request, copy] }));
    const first = await world.receipt(request, { programs });
    await world.receipt(copy, { edit: repeating(request, first) });
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), []);
    assert.deepEqual(
      [...audit.rows].map(({ repeats }) => repeats),
      [null, { request, receipt: first }, null],
    );
  });

  it('receipt-repeats-other: a receipt wrongly says that a request repeats another', async () => {
    const world = await keys.another();
    const request = await world.request();
    const first = await world.receipt(request, { programs });
    const copy = copyOf(world, request);
    const other = await world.request({ parents: [request, copy] });
    world.main.splice(-2, 1);
    const unsigned = await world.request({ by: null, name: 'unsigned.zip' });
    const wrong = await world.receipt(copy, { edit: repeating(other, first) });
    const unproved = await world.receipt(unsigned, { edit: repeating(request, first) });
    assert.deepEqual(problemsOf(await audited(world)), [
      ['receipt-repeats-other', wrong],
      ['receipt-repeats-other', unproved],
    ]);
  });

  it('receipt-not-one: a commit on the receipt branch that is not an answer', async () => {
    const world = await begun();
    const tree = world.tree([{ mode: '100644', name: 'README', id: world.blob('hello\n') }]);
    const odd = await world.commit({ tree, parents: world.signed.slice(-1) }, world.keys.receipts);
    world.signed.push(odd);
    await world.receipt(await world.request(), { programs });
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), [['receipt-not-one', odd]]);
    assert.deepEqual(outcomes(audit), ['signed', 'signed']);
  });

  it('commit-signer-unknown: a policy by an unlisted key', async () => {
    const world = await begun();
    const policy = JSON.stringify(policyOf({}));
    const tree = world.tree([{ mode: '100644', name: 'policy.json', id: world.blob(policy) }]);
    const odd = await world.commit({ tree, parents: world.signed.slice(-1) }, world.keys.stranger);
    world.signed.push(odd);
    assert.deepEqual(problemsOf(await audited(world)), [['commit-signer-unknown', odd]]);
  });

  it('receipt-not-one: a merge of three, with another history hidden behind it', async () => {
    const world = await begun();
    const request = await world.request();
    const [tip = ''] = world.signed.slice(-1);
    const stray = await world.commit({ tree: world.tree([]) }, world.keys.stranger);
    const sound = await world.receipt(request, { programs });
    const { tree } = partsOf(world, sound);
    const octopus = await world.commit({ tree, parents: [tip, request, stray] }, world.keys.receipts);
    world.signed.splice(-1, 1, octopus);
    const audit = await audited(world);
    assert.deepEqual(sortedProblemsOf(audit), [
      ['receipt-not-one', octopus],
      ['receipts-strange-history', stray],
    ]);
  });

  it('receipts-root: a merge with its parents exchanged, so that the receipts before it disappear', async () => {
    const world = await begun();
    const request = await world.request();
    const [tip = ''] = world.signed.slice(-1);
    const sound = await world.receipt(request, { programs });
    const { tree } = partsOf(world, sound);
    const crossed = await world.commit({ tree, parents: [request, tip] }, world.keys.receipts);
    world.signed.splice(-1, 1, crossed);
    const codes = problemsOf(await audited(world));
    assert(codes.some(([code]) => code === 'receipts-root'));
    assert(codes.some(([, commit]) => commit === crossed));
    assert(codes.some(([code]) => code === 'receipts-strange-history'));
  });

  it('receipts-root: a branch whose first commit is by an unlisted key', async () => {
    const world = await keys.another();
    const root = await world.root(world.keys.stranger);
    const receipt = await world.receipt(await world.request(), { programs });
    const audit = await audited(world);
    assert.deepEqual(problemsOf(audit), [
      ['commit-signer-unknown', root],
      ['receipt-foreign-key', receipt],
    ]);
    assert.equal(audit.receiptsBy, null);
  });

  it('receipts-root: it names one key and is signed with another', async () => {
    const world = await keys.another();
    const sound = await world.root();
    const { tree } = partsOf(world, sound);
    const root = await world.commit({ tree }, world.keys.builder);
    world.signed.splice(0, 1, root);
    await world.request();
    assert.deepEqual(problemsOf(await audited(world)), [['receipts-root', root]]);
  });

  it('receipt-key-asks: a builder begins a receipt branch of its own and answers itself', async () => {
    const world = await keys.another();
    await world.root(world.keys.builder);
    const request = await world.request();
    await world.receipt(request, { programs, by: world.keys.builder });
    assert.deepEqual(problemsOf(await audited(world)), [['receipt-key-asks', request]]);
    const receiptSigners = world.allowed('receipts');
    const codes = problemsOf(await audited(world, { receiptSigners })).map(([code]) => code);
    assert.deepEqual(codes, ['commit-signer-unknown', 'commit-signer-unknown']);
  });

  it('finds every fault of a receipt, not only the first', async () => {
    const world = await begun();
    const receipt = await world.receipt(await world.request(), {
      programs: altered((entry) => ({
        ...entry,
        authenticode: { algorithm: 'sha256', digest: hashOf('x') },
      })),
      edit: (stated) => ({ ...stated, request: { ...stated.request, channel: 'release', signer: 'nobody' } }),
    });
    assert.deepEqual(sortedProblemsOf(await audited(world)), [
      ['request-differs', receipt],
      ['request-signer-differs', receipt],
      ['signature-digest-differs', receipt],
    ]);
  });
});

describe('the audit of detached signatures', () => {
  const refused = (name: string, code: string, made: () => Made[] | Promise<Made[]>): void => {
    it(`${code}: ${name}`, async () => {
      const world = await begun();
      const receipt = await world.receipt(await world.request(), { programs: await made() });
      const audit = await audited(world);
      assert.deepEqual(problemsOf(audit), [[code, receipt]]);
      assert.equal(audit.rows[1]?.files[0]?.signed[0]?.proven, false);
    });
  };

  refused('it is over another program', 'signature-digest-differs', () =>
    altered((entry) => ({ ...entry, authenticode: { algorithm: 'sha256', digest: hashOf('other') } })),
  );
  refused('the receipt states another time', 'signature-timestamp-differs', () =>
    altered((entry) => ({
      ...entry,
      timestamp: entry.timestamp && { ...entry.timestamp, time: '2025-01-01T00:00:00Z' },
    })),
  );
  refused('the receipt states another authority', 'signature-timestamp-differs', () =>
    altered((entry) => ({
      ...entry,
      timestamp: entry.timestamp && { ...entry.timestamp, authority: 'CN=Somebody' },
    })),
  );
  refused('it has a timestamp that the receipt does not state', 'signature-timestamp-differs', () =>
    altered((entry) => ({ ...entry, timestamp: null })),
  );
  refused('it is by another certificate than the receipt says', 'signature-certificate-differs', async () => {
    const [first] = programs;
    assert(first);
    return [{ ...first, by: keys.successor }];
  });
  for (const [same, problems] of [
    [true, []],
    [false, ['signature-identity-differs']],
  ] as const)
    it(`${problems[0] ?? 'is accepted'}: the receipt states another certificate for it, of ${same ? 'its' : 'another'} identity`, async () => {
      const world = await begun();
      const { certificate } = world.successor;
      const renewed = await world.program('renewed.exe', new Date('2026-02-01T12:00:00Z'), world.successor);
      const entry = { ...renewed.entry, certificate: certificate.sha256 };
      await world.receipt(await world.request(), {
        programs: [{ ...renewed, entry, by: world.publisher }],
        edit: (receipt) => ({
          ...receipt,
          version: 2,
          identity: certificateIdentity((same ? world.successor : world.publisher).certificate),
        }),
      });
      assert.deepEqual(
        problemsOf(await audited(world)).map(([code]) => code),
        problems,
      );
    });
  refused('it was stamped when its certificate was not valid', 'signature-outside-validity', async () => [
    await keys.program('late.exe', new Date('2023-06-01T00:00:00Z')),
  ]);
  refused('its bytes were changed', 'cms-signature-wrong', () => {
    const [first] = programs;
    assert(first);
    const { signer } = parseSignature(first.signature, 'signature');
    const signature = Buffer.from(first.signature);
    const last = signature.indexOf(signer.signature) + signer.signature.length - 1;
    signature.writeUInt8(signature.readUInt8(last) ^ 1, last);
    return [{ ...first, signature }];
  });
  refused('its digest is too short for the algorithm that it names', 'authenticode-digest-length', () => {
    const [first] = programs;
    assert(first);
    const signature = Buffer.from(first.signature);
    // SHA-256 by name in SignedData, then in SpcIndirectDataContent; its last byte there makes it SHA-384.
    const sha256 = Buffer.from('0609608648016503040201', 'hex');
    const inContent = signature.indexOf(sha256, signature.indexOf(sha256) + 1);
    signature.writeUInt8(2, inContent + sha256.length - 1);
    const { digest } = first.entry.authenticode;
    const entry = { ...first.entry, authenticode: { algorithm: 'sha384' as const, digest } };
    return [{ ...first, signature, entry }];
  });
  refused('it is not a signature', 'der-malformed', () => {
    const [first] = programs;
    assert(first);
    return [{ ...first, signature: Buffer.from('hello') }];
  });

  it('accepts the last nested signature if ours was appended to another', async () => {
    const world = await begun();
    await world.receipt(await world.request(), {
      programs: [await world.appended('both.exe', new Date('2026-01-05T08:00:00Z'))],
    });
    assert.deepEqual((await audited(world)).problems, []);
  });
});

describe('the audit of vouches', () => {
  for (const [code, what, vouches] of [
    ['vouches-too-few', 'signed with fewer than the policy published with it asks for', async () => []],
    [
      'vouch-differs',
      'it is for other bytes',
      async (world, request) => [await world.vouch(request, undefined, hashOf('other'))],
    ],
    [
      'vouch-own',
      'it is by the requester',
      async (world, request) => [await world.vouch(request, world.keys.builder)],
    ],
    [
      'commit-signer-unknown',
      'it is by a stranger',
      async (world, request) => [await world.vouch(request, world.keys.stranger)],
    ],
    [
      'vouch-signer-differs',
      'it is by another than the receipt says',
      async (world, request) => [{ ...(await world.vouch(request)), signer: 'stranger@example.net' }],
    ],
    [
      'vouch-missing',
      'it is not on its branch',
      async (world, request) => {
        const vouch = await world.vouch(request);
        world.vouches.get('second')?.pop();
        return [vouch];
      },
    ],
    [
      'vouch-repeated',
      'one person counts once',
      async (world, request) => {
        const vouch = await world.vouch(request);
        return [vouch, vouch];
      },
    ],
  ] as readonly [string, string, (world: AuditWorld, request: string) => Promise<Receipt['vouches']>][])
    it(`${code}: ${what}`, async () => {
      const world = await begun();
      const request = await world.request();
      const counted = await vouches(world, request);
      const receipt = await world.receipt(request, {
        programs,
        policy: policyOf({ vouches: 1 }),
        edit: (stated) => ({ ...stated, vouches: counted }),
      });
      assert.deepEqual(problemsOf(await audited(world)), [[code, receipt]]);
    });
});

describe('the audit of persons', () => {
  /** An auditor's list with the stranger, and an outdated line that ties the stranger to others. */
  const joined = (world: AuditWorld, ...names: ('builder' | 'second')[]): AllowedSigners => {
    const principals = names.map((name) => world.keys[name].principal).join(',');
    const line = world.keys.stranger.allowed.replace(/^\S+ /, `${principals} valid-before="20010101" `);
    const text = `${world.allowedText('builder', 'second', 'stranger', 'receipts')}${line}\n`;
    return AllowedSigners.parse(text, 'allowed_signers');
  };

  /** A vouch after one for other bytes, since committing the same zipname twice changes nothing. */
  const vouchAgain = async (
    world: AuditWorld,
    request: string,
    name: 'second' | 'stranger',
  ): Promise<Receipt['vouches'][number]> => {
    await world.vouch(request, world.keys[name], hashOf(name));
    return world.vouch(request, world.keys[name]);
  };

  async function codes(by: ('builder' | 'second')[], counted: ('second' | 'stranger')[]): Promise<string[]> {
    const world = await begun();
    const request = await world.request();
    const vouches: Receipt['vouches'] = [];
    for (const name of counted) vouches.push(await vouchAgain(world, request, name));
    await world.receipt(request, { programs, edit: (stated) => ({ ...stated, vouches }) });
    return problemsOf(await audited(world, { allowed: joined(world, ...by) })).map(([code]) => code);
  }

  it('vouch-own: by a key that a line ties to the requester', async () => {
    assert.deepEqual(await codes(['builder'], ['second', 'stranger']), ['vouch-own']);
  });

  it('vouch-repeated: by two keys that a line ties to one person', async () => {
    assert.deepEqual(await codes(['second'], ['second', 'stranger']), ['vouch-repeated']);
  });

  it('counts a person once for a request that waits', async () => {
    const world = await begun();
    const request = await world.request();
    for (const name of ['second', 'stranger'] as const) await vouchAgain(world, request, name);
    const vouchedBy = async (...names: ('builder' | 'second')[]): Promise<number | undefined> =>
      (await audited(world, { allowed: joined(world, ...names) })).rows.at(-1)?.vouchedBy.length;
    assert.equal(await vouchedBy('second'), 1);
    assert.equal(await vouchedBy('builder'), 1);
  });
});

describe('the audit of times', () => {
  it('receipt-backdated: a receipt is older than its request', async () => {
    const world = await begun();
    const request = await world.request({ at: new Date('2026-03-01T00:00:00Z') });
    const receipt = await world.receipt(request, { programs, at: new Date('2026-02-28T23:59:59Z') });
    assert.ok(
      problemsOf(await audited(world)).some(
        ([code, commit]) => code === 'receipt-backdated' && commit === receipt,
      ),
    );
  });

  it('accepts a receipt of the same second', async () => {
    const world = await begun();
    const at = new Date('2026-03-01T00:00:00Z');
    await world.receipt(await world.request({ at }), { at });
    assert.deepEqual((await audited(world)).problems, []);
  });
});
