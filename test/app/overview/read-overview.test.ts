import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Overview } from '../../../src/app/overview/model.ts';
import { readOverview, type OverviewOptions } from '../../../src/app/overview/read-overview.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import type { Heartbeat } from '../../../src/protocol/control/signer-health.ts';
import { AuditWorld, type WorldKey } from '../auditor/sample-history.ts';
import { policyOf } from '../../protocol/control/sample-policy.ts';

let keys: AuditWorld;
before(async () => (keys = await AuditWorld.create()));
after(() => keys.close());

const NOW = new Date('2026-01-05T12:00:00Z');

async function overview(world: AuditWorld, options: Partial<OverviewOptions> = {}): Promise<Overview> {
  await world.write();
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    return await readOverview(repository, {
      requestSigners: world.allowed('builder', 'second'),
      receiptSigners: world.allowed('receipts'),
      now: NOW,
      ...options,
    });
  } finally {
    repository.close();
  }
}

const heartbeatOf = (change: Partial<Heartbeat>): Heartbeat => ({
  version: 1,
  signer: '0123456789abcdef',
  name: 'Example signer',
  signpipe: '0.1.0',
  written: NOW.toISOString(),
  every: 300,
  started: NOW.toISOString(),
  ended: false,
  heads: { requests: null, receipts: null },
  waiting: [],
  queue: 0,
  channels: [],
  ...change,
});

const queued = ({ queue }: Overview): string[] => queue.requests.map(({ request }) => request);
const reasons = ({ queue }: Overview): string[] => queue.requests.map(({ waitsFor }) => waitsFor.code);
const codes = ({ alarms }: Overview): string[] => alarms.map(({ code }) => code);

describe('the overview of a control repository: its queue', () => {
  it('lists the requests without an answer, oldest first, whatever was answered meanwhile', async () => {
    const world = await keys.another();
    const requests = [];
    for (let made = 0; made < 4; made += 1) requests.push(await world.request());
    const [first = '', second = '', third = '', fourth = ''] = requests;
    await world.receipt(fourth);
    await world.receipt(second);
    const seen = await overview(world);
    assert.deepEqual(queued(seen), [first, third]);
    assert.equal(seen.queue.total, 2);
    assert.deepEqual(reasons(seen), ['signer', 'signer']);
    assert.deepEqual(codes(seen), []);
  });

  it('describes a request: its files, and who asked for them when', async () => {
    const world = await keys.another();
    await world.request({ name: 'product.zip', message: 'Sign product.zip\n\nChannel: nightly\n' });
    const [request] = (await overview(world)).queue.requests;
    assert.deepEqual(request?.files, ['product.zip']);
    assert.equal(request.askedBy?.principal, 'builder@example.org');
    assert.equal(request.channel, 'nightly');
    assert.equal(request.subject, 'Sign product.zip');
    assert.equal(request.askedAt?.toISOString(), '2026-01-05T09:01:00.000Z');
  });

  it('does not name a requester whose key is not in the list', async () => {
    const world = await keys.another();
    await world.request({ by: world.keys.stranger });
    await world.request({ by: null });
    const { queue } = await overview(world);
    assert.deepEqual(
      queue.requests.map(({ askedBy }) => askedBy),
      [null, null],
    );
  });

  it('names keys by their fingerprints for a reader without a list', async () => {
    const world = await keys.another();
    await world.request();
    const { queue } = await overview(world, { requestSigners: null });
    assert.equal(queue.requests[0]?.askedBy?.principal, world.keys.builder.signer.fingerprint);
  });

  it('says that a request is cancelled, by a person who may do that; without a list, only by the key that made it', async () => {
    const world = await keys.another();
    const zipname = `${'0'.repeat(64)}  a.zip\n`;
    const cancelledBy = async (by: WorldKey): Promise<void> => {
      const request = await world.request({ zipname: `# ${by.principal} ${world.main.length}\n${zipname}` });
      const blob = world.blob(`# ${by.principal} ${world.main.length - 1}\n${zipname}`);
      const tree = world.tree([{ mode: '100644', name: 'zipname', id: blob }]);
      const message = `Cancel\n\nCancel: ${request}\n`;
      world.main.push(await world.commit({ tree, parents: [request], message }, by));
    };
    await world.request();
    for (const by of [world.keys.builder, world.keys.second, world.keys.stranger]) await cancelledBy(by);
    const seen = await overview(world);
    assert.deepEqual(reasons(seen), ['signer', 'cancelled', 'cancelled', 'signer']);
    assert.match(
      seen.queue.requests[1]?.waitsFor.text ?? '',
      /^cancelled by builder@example\.org \(commit [0-9a-f]{12}\); the signer has not seen that yet$/,
    );
    assert.deepEqual(reasons(await overview(world, { requestSigners: null })), [
      'signer',
      'cancelled',
      'signer',
      'signer',
    ]);
  });

  it('counts all requests, and describes only the oldest', async () => {
    const world = await keys.another();
    const first = await world.request();
    await world.request();
    const seen = await overview(world, { queue: 1 });
    assert.deepEqual([seen.queue.total, queued(seen)], [2, [first]]);
  });

  it('leaves out requests up to `after`', async () => {
    const world = await keys.another();
    const old = await world.request();
    const fresh = await world.request();
    assert.deepEqual(queued(await overview(world, { after: old })), [fresh]);
  });

  it('is empty before the first request', async () => {
    const world = await keys.another();
    await world.root();
    assert.equal((await overview(world)).queue.total, 0);
  });
});

describe('the overview of a control repository: what a request waits for', () => {
  it('is vouches, as long as some are missing', async () => {
    const world = await keys.another();
    await world.root(undefined, policyOf({ vouches: 1 }));
    const request = await world.request();
    assert.deepEqual(reasons(await overview(world)), ['vouches']);
    await world.vouch(request);
    assert.deepEqual(reasons(await overview(world)), ['signer']);
  });

  it('is a time lock, an outage, or an expired certificate', async () => {
    const identity = { subject: 'CN=Publisher', issuer: 'CN=Authority' };
    const expired = { identity, notAfter: '2026-01-05T11:00:00.000Z' };
    const since = '2026-01-05T11:00:00.000Z';
    for (const [code, change] of [
      ['time-lock', { delay: 86_400 }],
      ['outage-timestamp', { waiting: { for: 'timestamp', since } }],
      ['outage-key', { waiting: { for: 'key', since } }],
      ['outage', { waiting: { for: 'something new', since } }],
      ['certificate-expired', { certificate: expired }],
      ['successor-due', { successor: { from: since } }],
    ] as const) {
      const world = await keys.another();
      await world.root(undefined, policyOf(change));
      await world.request();
      assert.deepEqual(reasons(await overview(world)), [code]);
    }
  });

  it('is its own date, if that is ahead', async () => {
    const world = await keys.another();
    await world.request({ at: new Date(NOW.getTime() + 3_600_000) });
    assert.deepEqual(reasons(await overview(world)), ['request-in-future']);
  });

  it('is what the signer reports, if nothing in the repository explains it', async () => {
    const world = await keys.another();
    const request = await world.request();
    const since = NOW.toISOString();
    const reasonWith = async (
      state: 'alive' | 'silent' | 'stopped',
      change: Partial<Heartbeat>,
    ): Promise<string> =>
      reasons(await overview(world, { signers: [{ content: heartbeatOf(change), state }] })).join();
    assert.equal(await reasonWith('alive', {}), 'signer');
    assert.equal(await reasonWith('silent', {}), 'signer-silent');
    assert.equal(await reasonWith('stopped', {}), 'signer-stopped');
    const alarm = { code: 'history-rewound', since };
    assert.equal(await reasonWith('alive', { alarm }), 'history-rewound');
    assert.equal(
      await reasonWith('alive', { waiting: [{ request, code: 'time-lock', since }] }),
      'time-lock',
    );
    assert.equal(
      await reasonWith('alive', { problem: { code: 'host-unreachable', since } }),
      'host-unreachable',
    );
  });

  it('is not explained by a policy that no trusted key signed', async () => {
    const world = await keys.another();
    await world.root(world.keys.stranger, policyOf({ vouches: 1 }));
    await world.request();
    const seen = await overview(world);
    assert.deepEqual(reasons(seen), ['signer']);
    assert.deepEqual(codes(seen), ['commit-signer-unknown']);
    assert.deepEqual(seen.channels, []);
  });

  it('receipt-foreign-key: a policy by a builder, if one list has the keys of all', async () => {
    const world = await keys.another();
    await world.root();
    await world.receipt(await world.request(), { by: world.keys.builder });
    const all = { receiptSigners: world.allowed('builder', 'receipts'), ownerOnly: true };
    assert.ok(codes(await overview(world, all)).includes('receipt-foreign-key'));
  });
});

describe('the overview of a control repository: the newest outcomes', () => {
  it('shows them, the newest first, with the reason of a refusal', async () => {
    const world = await keys.another();
    const [first, second] = [await world.request(), await world.request()];
    await world.receipt(first);
    await world.receipt(second);
    const { recent } = await overview(world);
    assert.deepEqual(
      recent.map(({ request }) => request),
      [second, first],
    );
    assert.equal(recent[0]?.outcome, 'rejected');
    assert.equal(recent[0].reason?.code, 'digest-differs');
    assert.equal(recent[0].proven, true);
    assert.deepEqual((await overview(world, { recent: 1 })).recent.length, 1);
  });

  it('marks receipts by keys that are not trusted for them: receipts-unproven', async () => {
    const world = await keys.another();
    await world.receipt(await world.request(), { by: world.keys.builder });
    const seen = await overview(world);
    assert.equal(seen.recent[0]?.proven, false);
    assert.ok(codes(seen).includes('receipts-unproven'));
  });
});

describe('the overview of a control repository: alarms', () => {
  const signerWith = (change: Partial<Heartbeat>, state: 'alive' | 'silent' | 'ahead' = 'alive') => ({
    signers: [{ content: heartbeatOf(change), state }],
  });

  it('history-differs: a signer has accepted a head that is not in the history here', async () => {
    const world = await keys.another();
    const request = await world.request();
    const receipt = await world.receipt(request);
    const seenWith = async (requests: string, receipts: string | null) =>
      codes(await overview(world, signerWith({ heads: { requests, receipts } })));
    assert.deepEqual(await seenWith(request, null), []);
    assert.deepEqual(await seenWith(request, receipt), []);
    assert.deepEqual(await seenWith('9'.repeat(40), receipt), ['history-differs']);
    assert.deepEqual(await seenWith(request, '9'.repeat(40)), ['history-differs'], 'receipts are kept back');
  });

  it('names silent signers, and those whose clock or history is wrong', async () => {
    const world = await keys.another();
    await world.request();
    const since = NOW.toISOString();
    assert.deepEqual(codes(await overview(world, signerWith({}, 'silent'))), ['signer-silent']);
    assert.deepEqual(codes(await overview(world, signerWith({}, 'ahead'))), ['heartbeat-ahead']);
    assert.deepEqual(
      codes(await overview(world, signerWith({ alarm: { code: 'receipts-rewound', since } }))),
      ['receipts-rewound'],
    );
  });

  it('certificate-expires: less than 30 days are left, and no successor is configured', async () => {
    const identity = { subject: 'CN=Publisher', issuer: 'CN=Authority' };
    const certificate = { identity, notAfter: '2026-01-20T00:00:00.000Z' };
    const world = await keys.another();
    await world.root(undefined, policyOf({ certificate }));
    await world.request();
    const seen = await overview(world);
    assert.deepEqual(codes(seen), ['certificate-expires']);
    assert.equal(seen.channels[0]?.daysLeft, 14);
  });
});
