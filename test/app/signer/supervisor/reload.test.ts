import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { onNewConfiguration, type Judgement } from '../../../../src/app/signer/supervisor/reload.ts';
import { ServiceManager } from '../../../../src/app/signer/supervisor/service-manager.ts';

/** How often a configuration is judged if SIGHUP comes `first` times, then `then` times after the judgements. */
async function judgements(judgement: Judgement, first: number, then = 0): Promise<number> {
  let judged = 0;
  const stop = onNewConfiguration({
    file: '/nowhere/signer.yaml',
    version: null,
    hangup: true,
    manager: new ServiceManager({ warn: () => {} }, {}),
    judge: async () => {
      judged += 1;
      await turn();
      return judgement;
    },
    use: () => {},
  });
  const hangUp = (): boolean => process.emit('SIGHUP', 'SIGHUP');
  for (let sent = 0; sent < first; sent += 1) hangUp();
  for (let turns = 0; turns < 20; turns += 1) await turn();
  for (let sent = 0; sent < then; sent += 1) hangUp();
  for (let turns = 0; turns < 20; turns += 1) await turn();
  stop();
  return judged;
}

/** Each judgement opens all keys, which asks a token for its PIN, or costs money. */
describe('a configuration that is to be read again', () => {
  it('is judged once more, however often that is asked for meanwhile', async () => {
    assert.ok((await judgements('unusable', 50)) <= 2);
    assert.equal(await judgements('unusable', 1, 1), 2);
  });

  it('is not judged again once it will be used: then it is read after the current work', async () => {
    assert.equal(await judgements('usable', 1, 50), 1);
  });
});
