/** A builder's command that needs the exchange reports that it cannot be opened, and ends. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { Hostile } from '../../world/hostile.ts';
import { signpipe, World, type Ended } from '../../world/site.ts';

let world: World;
let sound: string;
let request: string;
before(async () => {
  world = await World.start();
  sound = await readFile(world.site.builderConfig, 'utf8');
  const host = new Hostile(world);
  request = await host.request('a.zip');
  await writeFile(world.at('b.zip'), await host.zip(2));
});
after(() => world.stop());

/** Runs a command with another `exchange.url`; killed, which is status -1, if it has not ended by itself. */
async function run(exchange: string, args: readonly string[]): Promise<Ended> {
  const config = sound.replace(world.places.exchange, exchange);
  assert.notEqual(config, sound);
  await writeFile(world.site.builderConfig, `${config}vouch:\n  name: alice\n`);
  return signpipe([...args, '-c', world.site.builderConfig], { killAfter: 15_000 });
}

for (const [what, url] of [
  ['on which nothing listens', (value: string) => value.replace(/:\d+\//, ':1/')],
  ['whose folder is not there', () => 'file:///no/such/folder'],
] as const)
  describe(`an exchange ${what}`, () => {
    for (const command of ['submit', 'wait'] as const)
      it(`ends ${command} and reports the reason`, async () => {
        const what = command === 'wait' ? request : world.at('b.zip');
        const ended = await run(url(world.places.exchange), [command, what]);
        assert.ok([1, 2].includes(ended.status), `${ended.status} ${ended.stderr}`);
        assert.match(ended.stderr, /\[(host-unreachable|exchange-folder-missing)\]/);
      });

    it('does not matter to vouch, which also ends', async () => {
      const ended = await run(url(world.places.exchange), ['vouch', world.at('b.zip')]);
      assert.equal(ended.status, 0, ended.stderr);
    });
  });
