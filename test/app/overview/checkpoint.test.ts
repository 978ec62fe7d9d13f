import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readOverview } from '../../../src/app/overview/read-overview.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { AuditWorld } from '../auditor/sample-history.ts';

let keys: AuditWorld;
before(async () => (keys = await AuditWorld.create()));
after(() => keys.close());

/** What an overview shows of queue and HOLD; with a file from what it kept of the history. */
async function seen(world: AuditWorld, checkpoint: string | null): Promise<object> {
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    const { queue, hold } = await readOverview(repository, {
      requestSigners: world.allowed('builder', 'second'),
      receiptSigners: world.allowed('receipts'),
      checkpoint,
    });
    return { queue: queue.requests.map(({ request }) => request).toSorted(), hold: hold?.commit ?? null };
  } finally {
    repository.close();
  }
}

describe('the overview from what was kept of the history', () => {
  it('is that of the whole history: merges, answers out of order, HOLDs, branches set back', async () => {
    const world = await keys.another();
    const file = join(world.folder, 'overview');
    const check = async (what: string): Promise<void> => {
      await world.write();
      assert.deepEqual(await seen(world, file), await seen(world, null), what);
    };
    const open: string[] = [await world.request(), await world.request(), await world.request()];
    await world.root();
    await check('a beginning');
    await world.receipt(open[2] ?? '');
    await check('the last is answered first');
    const base = world.main.at(-1) ?? '';
    const left = await world.request({ parents: [base] });
    const right = await world.request({ parents: [base] });
    const zipname = { mode: '100644', name: 'zipname', id: world.blob('x') };
    const held = world.tree([{ mode: '100644', name: 'HOLD', id: world.blob('stop') }, zipname]);
    const hold = await world.commit({ tree: held, parents: [left] }, world.keys.second);
    world.main.push(await world.commit({ tree: held, parents: [hold, right] }, world.keys.builder));
    await check('a merge, with a HOLD on one side');
    await world.receipt(left);
    await check('one side is answered');
    world.main.push(
      await world.commit({ tree: world.tree([zipname]), parents: world.main.slice(-1) }, world.keys.second),
    );
    await check('the HOLD is lifted');
    for (let more = 0; more < 70; more += 1) await world.receipt(await world.request());
    await check('more commits than are read one by one');
    const [request, receipt] = [await world.request(), await world.receipt(right)];
    await check('an old one is answered after newer ones');
    world.signed.splice(world.signed.indexOf(receipt));
    world.main.splice(world.main.indexOf(request));
    await world.request();
    await check('both branches are set back, and go on elsewhere');
  });
});
