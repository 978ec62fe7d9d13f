import { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';

/**
 * A forwarded connection, with the methods that Node's http and tls call on a socket and that ssh2's channels lack.
 * Its bytes are part of an SSH connection, which has keep-alive probes and no Nagle's algorithm (`connectSsh`).
 */
export class TunnelSocket extends Duplex {
  /** Set by `setTimeout`, in ms; Node's http reads it. */
  timeout = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly channel: ClientChannel) {
    super();
    channel.on('data', (bytes: Buffer) => {
      this.restartTimer();
      if (!this.push(bytes)) channel.pause();
    });
    channel.stderr.resume();
    channel.once('end', () => this.push(null));
    // Never removed: an `error` without a listener would end the process.
    channel.on('error', (error: Error) => this.destroy(error));
    channel.once('close', () => this.destroy());
  }

  /** Emits `timeout` when no byte has passed for `ms`. As in node:net, 0 means never, and removes the listener. */
  setTimeout(ms: number, listener?: () => void): this {
    this.timeout = ms;
    if (listener && ms === 0) this.removeListener('timeout', listener);
    else if (listener) this.once('timeout', listener);
    this.restartTimer();
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  /** The SSH connection keeps the process running, until it is closed. */
  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  override _read(): void {
    this.channel.resume();
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.restartTimer();
    this.channel.write(bytes, done);
  }

  override _final(done: () => void): void {
    this.channel.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.timer);
    this.channel.close();
    done(error);
  }

  private restartTimer(): void {
    clearTimeout(this.timer);
    if (this.timeout > 0 && !this.destroyed)
      this.timer = setTimeout(() => this.emit('timeout'), this.timeout).unref();
  }
}
