/** A builder's command whose exchange cannot be opened says so and ends. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { Hostile } from '../world/hostile.ts';
import { signpipe, World } from '../world/site.ts';

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

/** Runs a command with `exchange.url` changed; killed, which is status -1, if it has not ended by itself. */
async function run(url: (sound: string) => string, args: readonly string[]): Promise<void> {
  const config = sound.replace(world.places.exchange, url(world.places.exchange));
  assert.notEqual(config, sound);
  await writeFile(world.site.builderConfig, config);
  const ended = await signpipe([...args, '-c', world.site.builderConfig], { killAfter: 15_000 });
  assert.ok([1, 2].includes(ended.status), `${args[0]}: ${ended.status} ${ended.stderr}`);
  assert.match(ended.stderr, /\[(host-unreachable|exchange-folder-missing)\]/);
}

describe('an exchange that cannot be opened ends', () => {
  for (const command of ['submit', 'wait', 'vouch'] as const)
    for (const [what, url] of [
      ['nobody listens', (value: string) => value.replace(/:\d+\//, ':1/')],
      ['no such folder', () => 'file:///no/such/folder'],
    ] as const)
      it(`${command}, where ${what}`, () =>
        run(url, [command, command === 'wait' ? request : world.at('b.zip')]));
});
