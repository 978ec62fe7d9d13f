import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeSample } from '../../../../src/sandbox/sample-release.ts';
import { startWorld } from '../../../world/site.ts';
import { Watching } from '../../../world/watching.ts';

/** Debian's libfaketime, in the folder of this architecture. */
async function faketime(): Promise<string> {
  for (const folder of await readdir('/usr/lib')) {
    const path = `/usr/lib/${folder}/faketime/libfaketime.so.1`;
    if (existsSync(path)) return path;
  }
  throw new Error('libfaketime is not installed: apt-get install faketime');
}

const HOUR = 3_600_000;

/** How many minutes a zone's clocks are ahead of UTC. */
function offset(zone: string, at: number): number {
  const parts = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' }).formatToParts(
    at,
  );
  const [, sign, hours, minutes] =
    /GMT([+-])(\d\d):(\d\d)/.exec(parts.map(({ value }) => value).join('')) ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

/**
 * When the next two repeated hours begin, in ms since 1970, while the test certificate is valid:
 * northern zones have theirs in October and November, southern ones in April.
 */
function nextRepeatedHours(): { zone: string; begin: number }[] {
  const first = Math.ceil(Date.now() / HOUR) * HOUR + 48 * HOUR;
  const hours = Array.from({ length: 300 * 24 }, (_, index) => first + index * HOUR);
  const zones = ['Europe/Vienna', 'America/New_York', 'Australia/Sydney', 'Pacific/Auckland'];
  const found = zones.flatMap((zone) => {
    const begin = hours.find((at) => offset(zone, at) < offset(zone, at - 1000));
    return begin === undefined ? [] : [{ zone, begin }];
  });
  assert.ok(found.length >= 2, 'some two of these zones set their clocks back within 300 days');
  return found.sort((a, b) => a.begin - b.begin).slice(0, 2);
}

const world = await startWorld({ ssh: false });

/** A signer in a process whose time of day is not that of this one; its monotonic clock is the real one. */
describe('a signer whose clock is set', () => {
  let watching: Watching;
  before(async () => {
    await makeSample(world.at('product.zip'));
  });
  afterEach(() => watching?.stop());

  const watch = async (env: NodeJS.ProcessEnv): Promise<Watching> => {
    watching = new Watching(world.site.signerConfig, {
      LD_PRELOAD: await faketime(),
      DONT_FAKE_MONOTONIC: '1',
      FAKETIME_NO_CACHE: '1',
      ...env,
    });
    await watching.logged(/^watching$/);
    return watching;
  };

  /** The log of a poll that saw the request, within seconds, however it judged the request's date. */
  const sees = async (signer: Watching, text: string): Promise<void> => {
    const request = await world.submit([world.at('product.zip')], '--revision', text);
    await signer.logged(new RegExp(`request ${request.slice(0, 12)}`), { timeoutMs: 15_000 });
  };

  for (const [back, how] of [
    ['+3600', 'back by 3600 s'],
    ['-3600', 'forward by 3600 s'],
  ] as const)
    it(`continues to poll, and says that the clock was set ${how}`, async () => {
      const stamp = world.at('faketime');
      await writeFile(stamp, `${back}\n`);
      const signer = await watch({ FAKETIME_TIMESTAMP_FILE: stamp });
      await sleep(4000);
      await writeFile(stamp, '+0\n');
      const set = await signer.logged(/the clock was set/);
      assert.match(set.msg, new RegExp(how.replace('3600', '3(?:599|600|601)')));
      await sees(signer, how);
    });

  for (const { zone, begin } of nextRepeatedHours())
    it(`polls on by a cron expression in the repeated hour of autumn in ${zone}, in UTC or there`, async () => {
      for (const timezone of ['UTC', zone]) {
        await world.reconfigure((text) =>
          text
            .replace(/\n {2}(?:timezone|poll): .*/g, '')
            .replace('control:\n', `control:\n  poll: "* * * * * *"\n  timezone: ${timezone}\n`),
        );
        // Three seconds before, as a distance from now: a local time of that hour would have two meanings.
        const ahead = Math.round((begin - 3000 - Date.now()) / 1000);
        const signer = await watch({ TZ: zone, FAKETIME: `+${ahead}s` });
        await sleep(5000);
        await sees(signer, `${zone} ${timezone}`);
        await signer.stop();
      }
    });
});
