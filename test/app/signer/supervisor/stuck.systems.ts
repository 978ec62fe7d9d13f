import assert from 'node:assert/strict';
import { afterEach, before, describe, it } from 'node:test';
import { makeSample } from '../../../../src/sandbox/sample-release.ts';
import { startWorld } from '../../../world/site.ts';
import { Watching } from '../../../world/watching.ts';

const world = await startWorld();

/** Halts the host's end of every open connection, as a network does that drops all packets; new ones are served. */
async function halt(): Promise<readonly number[]> {
  const halted = await world.sshd.sessions();
  for (const pid of halted) process.kill(pid, 'SIGSTOP');
  return halted;
}

describe('a signer whose host hangs without closing a connection', () => {
  let watching: Watching;
  before(async () => {
    await makeSample(world.at('product.zip'));
    await world.configure('watchdog: 3s');
  });
  afterEach(() => watching?.stop());

  const watch = async (): Promise<Watching> => {
    watching = new Watching(world.site.signerConfig);
    await watching.logged(/^watching$/);
    return watching;
  };

  it('ends, and answers what it left when it is started again: signer-stuck', async () => {
    const signer = await watch();
    const first = await world.submit([world.at('product.zip')]);
    await signer.logged(new RegExp(`answered ${first.slice(0, 12)}: signed`));
    const halted = await halt();
    assert.ok(halted.length > 0);
    const { code } = await signer.logged(/^polling: nothing has moved for \d+ s$/);
    assert.equal(code, 'signer-stuck');
    assert.equal(await signer.ended(), 1, 'a status after which systemd starts it again');
    for (const pid of halted) process.kill(pid, 'SIGCONT');
    const again = await watch();
    const second = await world.submit([world.at('product.zip')], '--revision', 'after the hang');
    await again.logged(new RegExp(`answered ${second.slice(0, 12)}: signed`));
  });

  it('without a watchdog, gives up what hangs by itself, connects again and goes on', async () => {
    await world.reconfigure((text) => text.replace('watchdog: 3s', 'watchdog: 0'));
    const signer = await watch();
    const before = await world.submit([world.at('product.zip')], '--revision', 'before the hang');
    await signer.logged(new RegExp(`answered ${before.slice(0, 12)}: signed`));
    await halt();
    const request = await world.submit([world.at('product.zip')], '--revision', 'during the hang');
    // Half a minute for the listing, a minute for git's own attempt, two for a transfer.
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: signed`), { timeoutMs: 300_000 });
    assert.equal(await signer.stop(), 0);
  });
});
