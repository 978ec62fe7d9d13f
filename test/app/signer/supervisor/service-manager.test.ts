import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { ServiceManager } from '../../../../src/app/signer/supervisor/service-manager.ts';
import { until } from '../../../until.ts';

/** Prints each datagram that arrives at a socket, as systemd's own receives them. */
const RECEIVER = `import os, socket, sys
address = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind('\\0' + address[1:] if address.startswith('@') else address)
print('bound', flush=True)
while True: print(receiver.recv(4096).decode().replace('\\n', ' '), flush=True)`;

describe('what the service manager is told', () => {
  const warnings: string[] = [];
  const write = (line: string): void => void warnings.push((JSON.parse(line) as { msg: string }).msg);
  const log = pino({}, { write });
  let receiver: ChildProcess | undefined;
  let received = '';
  const folder = mkdtemp(join(tmpdir(), 'signpipe-notify-'));
  afterEach(() => {
    receiver?.kill();
    delete process.env['NOTIFY_SOCKET'];
  });
  after(async () => rm(await folder, { recursive: true, force: true }));

  /** A service manager that listens at an address, and what signpipe is started with by it. */
  const listen = async (address: string, more: NodeJS.ProcessEnv = {}): Promise<ServiceManager> => {
    receiver = spawn('python3', ['-c', RECEIVER, address], { stdio: ['ignore', 'pipe', 'inherit'] });
    received = '';
    receiver.stdout?.on('data', (data: Buffer) => (received += data.toString()));
    await once(receiver.stdout as NodeJS.ReadableStream, 'data');
    process.env['NOTIFY_SOCKET'] = address;
    return new ServiceManager(log, { NOTIFY_SOCKET: address, ...more });
  };
  const messages = (): string[] =>
    received.split('\n').filter((each) => !/^(?:|bound|BARRIER=1)$/.test(each));

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
