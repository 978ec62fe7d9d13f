import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { ServiceManager } from '../../../../src/app/signer/supervisor/service-manager.ts';
import { until } from '../../../until.ts';
import { NotifySocket } from '../../../world/notify-socket.ts';

describe('what the service manager is told', () => {
  const warnings: string[] = [];
  const write = (line: string): void => void warnings.push((JSON.parse(line) as { msg: string }).msg);
  const log = pino({}, { write });
  let socket: NotifySocket | undefined;
  const folder = mkdtemp(join(tmpdir(), 'signpipe-notify-'));
  afterEach(() => {
    socket?.close();
    delete process.env['NOTIFY_SOCKET'];
  });
  after(async () => rm(await folder, { recursive: true, force: true }));

  /** A service manager that listens at an address, and what signpipe is started with by it. */
  const listen = async (address: string, more: NodeJS.ProcessEnv = {}): Promise<ServiceManager> => {
    socket = await NotifySocket.listen(address);
    process.env['NOTIFY_SOCKET'] = address;
    return new ServiceManager(log, { NOTIFY_SOCKET: address, ...more });
  };
  const messages = (): string[] => socket?.messages ?? [];

  it('is, in order: ready, one line about the work, a reload, the end', async () => {
    const manager = await listen(join(await folder, 'socket'));
    manager.ready();
    manager.status('nothing to\nsign');
    manager.status('soon replaced');
    manager.reloading();
    manager.stopping();
    await manager.close();
    await until('four messages', () => messages().length === 4);
    const [ready, status, reloading, stopping] = messages();
    assert.equal(ready, 'READY=1');
    assert.match(status ?? '', /^STATUS=nothing to\S* ?\S*sign$/, 'one line');
    assert.match(reloading ?? '', /^RELOADING=1 MONOTONIC_USEC=\d+$/);
    assert.equal(stopping, 'STOPPING=1');
    assert.deepEqual(warnings, []);
  });

  it('arrives at a socket in the abstract namespace', async () => {
    const manager = await listen(`@signpipe-test-${process.pid}`);
    manager.ready();
    await manager.close();
    await until('ready', () => messages().includes('READY=1'));
  });

  it('is a sign of life twice as often as systemd asks for one, and none when the signer does not get on', async () => {
    let alive = true;
    const manager = await listen(join(await folder, 'alive'), { WATCHDOG_USEC: '400000' });
    manager.keepAlive(() => alive);
    await until('three signs of life', () => messages().length >= 3);
    alive = false;
    await manager.close();
    const before = messages().length;
    await new Promise((resolve) => void setTimeout(resolve, 500));
    assert.equal(messages().length, before);
  });

  it('is no sign of life if systemd watches another process', async () => {
    const manager = await listen(join(await folder, 'other'), { WATCHDOG_USEC: '400000', WATCHDOG_PID: '1' });
    manager.keepAlive(() => true);
    manager.ready();
    await manager.close();
    await until('a message', () => messages().length > 0);
    assert.deepEqual(messages(), ['READY=1']);
  });

  it('is nothing without a service manager', async () => {
    const manager = new ServiceManager(log, {});
    manager.ready();
    manager.keepAlive(() => true);
    await manager.close();
    assert.deepEqual(warnings, []);
  });

  it('is missed once in the log if it cannot be sent: service-manager', async () => {
    process.env['NOTIFY_SOCKET'] = join(await folder, 'nothing-here');
    const manager = new ServiceManager(log, process.env);
    manager.ready();
    manager.stopping();
    await manager.close();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /the service manager is not informed/);
  });
});
