import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { writeConfigs } from '../../src/sandbox/site.ts';
import { makeSample } from '../../src/sandbox/sample-release.ts';
import { until } from '../until.ts';
import { NotifySocket } from '../world/notify-socket.ts';
import { World } from '../world/site.ts';
import { main, Watching } from '../world/watching.ts';

const run = promisify(execFile);

describe('a signer and a courier as services of systemd', () => {
  let world: World;
  let socket: NotifySocket;
  let running: Watching | undefined;
  before(async () => {
    world = await World.start();
    await makeSample(world.at('product.zip'));
    socket = await NotifySocket.listen(world.at('notify'));
  });
  afterEach(() => running?.stop());
  after(async () => {
    socket.close();
    await world.stop();
  });

  const start = (config: string, command: string, more: NodeJS.ProcessEnv = {}): Watching => {
    running = new Watching(config, { NOTIFY_SOCKET: world.at('notify'), ...more }, command);
    return running;
  };
  /** Waits for a message that came after the first `from`. */
  const message = (pattern: RegExp, from = 0): Promise<void> =>
    until(`${pattern} in ${socket.messages.join('; ')}`, () =>
      socket.messages.slice(from).some((each) => pattern.test(each)),
    );

  it('says when the signer is ready, what it does, that it lives, that it reads its configuration, and its end', async () => {
    const signer = start(world.site.signerConfig, 'watch', { WATCHDOG_USEC: '2000000' });
    await message(/^READY=1$/);
    await message(/^WATCHDOG=1$/);
    await message(/^STATUS=nothing to sign$/);
    const before = socket.messages.length;
    signer.signal('SIGHUP');
    await message(/^RELOADING=1 MONOTONIC_USEC=\d+$/, before);
    await message(/^READY=1$/, before);
    const request = await world.submit([world.at('product.zip')]);
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: signed`));
    assert.equal(await signer.stop(), 0);
    await message(/^STOPPING=1$/, before);
  });

  it('is ready although a host is away, and signs when it is back', async () => {
    const from = socket.messages.length;
    const config = await readFile(world.site.signerConfig, 'utf8');
    await world.reconfigure((text) => text.replaceAll(`:${world.sshd.port}/`, ':1/'));
    const signer = start(world.site.signerConfig, 'watch');
    await message(/^READY=1$/, from);
    await message(/^STATUS=waiting for a key or a host that cannot be reached$/, from);
    await signer.logged(/; the signer begins when the host can be reached$/);
    await writeFile(world.site.signerConfig, config);
    const request = await world.submit([world.at('product.zip')], '--revision', 'host is back');
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: signed`));
  });

  it('does the same for a courier', async () => {
    const from = socket.messages.length;
    const timestamp = [{ url: world.authority.url, via: 'courier' }];
    await writeConfigs(world.site, { ...world.places, timestamp });
    const courier = start(world.site.courierConfig, 'courier', { WATCHDOG_USEC: '2000000' });
    await message(/^READY=1$/, from);
    await message(/^WATCHDOG=1$/, from);
    const text = await readFile(world.site.courierConfig, 'utf8');
    await writeFile(world.site.courierConfig, `${text}nonsense: 1\n`);
    await courier.logged(/unknown key "nonsense"/);
    await writeFile(world.site.courierConfig, `${text}poll: 2s\n`);
    await courier.logged(/^the new configuration will be used after the current round$/);
    await until(
      'it carries again',
      () => courier.records.filter(({ msg }) => msg === 'carrying timestamps').length === 2,
    );
    courier.signal('SIGHUP');
    await until(
      'it carries after SIGHUP',
      () => courier.records.filter(({ msg }) => msg === 'carrying timestamps').length === 3,
    );
    assert.equal(await courier.stop(), 0);
  });

  for (const role of ['signer', 'courier'])
    it(`has a unit for the ${role} that systemd-analyze accepts`, async () => {
      const unit = resolve(import.meta.dirname, `../../pipeline/${role}/signpipe-${role}.service`);
      const folder = world.at(`unit-${role}`);
      await mkdir(folder);
      const text = await readFile(unit, 'utf8');
      await writeFile(
        `${folder}/signpipe-${role}.service`,
        text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath} ${main}`),
      );
      const judged = await run('systemd-analyze', [
        'verify',
        '--man=no',
        `${folder}/signpipe-${role}.service`,
      ]);
      assert.equal(judged.stderr.trim(), '');
    });

  it('costs little: a message in some milliseconds', async () => {
    const env = { ...process.env, NOTIFY_SOCKET: world.at('notify') };
    const started = performance.now();
    for (let count = 0; count < 20; count += 1) await run('systemd-notify', ['WATCHDOG=1'], { env });
    const each = (performance.now() - started) / 20;
    console.log(`systemd-notify: ${each.toFixed(1)} ms a message`);
    assert.ok(each < 100);
  });
});
