import { after } from 'node:test';
import { Hostile } from '../../world/hostile.ts';
import { World } from '../../world/site.ts';

/** A world without SSH, which is faster, and its hostile Git host, for all tests of one file. */
export async function startHostile(): Promise<{ readonly world: World; readonly host: Hostile }> {
  const world = await World.start();
  after(() => world.stop());
  await world.withoutSsh();
  return { world, host: new Hostile(world) };
}
