import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { startWorld } from '../../../world/site.ts';

const world = await startWorld({ ssh: false });

/** A checkpoint may only change how long a signer takes to start. */
describe('a signer that starts again', () => {
  before(async () => {
    for (const name of ['a', 'b']) await world.request(`${name}.zip\n`);
    assert.equal((await world.poll()).answered, 2);
  });

  const checkpoint = async (): Promise<Record<string, string>> =>
    JSON.parse(await readFile(world.at('signer-state', 'landmark'), 'utf8')) as Record<string, string>;

  it('begins where everything was answered, and answers later requests', async () => {
    assert.equal((await checkpoint())['requests'], await world.git('rev-parse', 'main'));
    assert.equal((await checkpoint())['receipts'], await world.git('rev-parse', 'signed'));
    assert.equal((await world.poll()).answered, 0);
    await world.request('c.zip\n');
    assert.equal((await world.poll()).answered, 1);
    assert.equal((await world.poll()).answered, 0);
  });

  it('reads the whole history if the checkpoint is damaged, and writes it again', async () => {
    await writeFile(world.at('signer-state', 'landmark'), '{"version":1,');
    await world.request('d.zip\n');
    assert.equal((await world.poll()).answered, 1);
    assert.equal((await checkpoint())['requests'], await world.git('rev-parse', 'main'));
  });

  it('answers again if receipts were removed and an operator accepted that', async () => {
    await world.git('update-ref', 'refs/heads/signed', await world.git('rev-parse', 'signed~2'));
    await assert.rejects(world.poll(), { code: 'receipts-rewound' });
    const { signer, close } = await world.openSigner();
    await signer.acceptHistory(await world.git('rev-parse', 'signed'));
    assert.equal((await signer.poll()).answered, 2);
    await close();
  });

  it('does not answer again a request that was removed and pushed again', async () => {
    const tip = await world.git('rev-parse', 'main');
    await world.git('update-ref', 'refs/heads/main', `${tip}~1`);
    const { signer, close } = await world.openSigner();
    await signer.acceptHistory(await world.git('rev-parse', 'main'));
    assert.equal((await signer.poll()).answered, 0);
    await world.git('update-ref', 'refs/heads/main', tip);
    assert.equal((await signer.poll()).answered, 0);
    await close();
    assert.equal((await world.poll()).answered, 0);
  });

  it('answers requests before `control.since` once that is set back', async () => {
    const first = await world.git('rev-parse', 'main~1');
    await world.reconfigure((text) => text.replace(/^control:\n/m, `control:\n  since: ${first}\n`));
    assert.equal((await world.poll()).answered, 0);
    assert.equal((await checkpoint())['since'], first);
    await world.request('e.zip\n');
    await world.request('f.zip\n');
    const last = await world.git('rev-parse', 'main~1');
    await world.reconfigure((text) => text.replace(first, last));
    assert.equal((await world.poll()).answered, 1);
    assert.equal((await checkpoint())['since'], last);
    await world.reconfigure((text) => text.replace(/^ {2}since: .*\n/m, ''));
    assert.equal((await world.poll()).answered, 1);
  });
});
