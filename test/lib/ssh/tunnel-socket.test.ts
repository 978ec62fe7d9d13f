import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import type { ClientChannel } from 'ssh2';
import { TunnelSocket } from '../../../src/lib/ssh/tunnel-socket.ts';

describe('a forwarded connection', () => {
  it('ends with the first error of its channel; later ones do not end the process', () => {
    const channel = Object.assign(new PassThrough(), { stderr: new PassThrough(), close: () => {} });
    const socket = new TunnelSocket(channel as unknown as ClientChannel);
    const errors: string[] = [];
    socket.on('error', ({ message }) => errors.push(message));
    channel.emit('error', new Error('first'));
    channel.emit('error', new Error('second'));
    assert.ok(socket.destroyed);
    return new Promise<void>((resolve) => {
      socket.once('close', () => {
        assert.deepEqual(errors, ['first']);
        resolve();
      });
    });
  });
});
