/**
 * A slow network between a client and a server on this machine: a TCP proxy with a rate and a round-trip time, which
 * counts the bytes that pass and can cut connections. Each direction has the whole rate.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface NetworkProxyOptions {
  /** The server's port on 127.0.0.1. */
  readonly port: number;
  /** Bits per second; unlimited unless given. */
  readonly rate?: number;
  /** Round trip in milliseconds; none unless given. */
  readonly roundTrip?: number;
}

/** The most bytes in transit in one direction, before the sender is paused. */
const QUEUE = 512 * 1024;

export class NetworkProxy {
  /** Bytes that passed to the server and back, including those of the SSH protocol. */
  readonly passed = { there: 0, back: 0 };
  private readonly sockets = new Set<Socket>();
  /** When each direction is free again, by `performance.now()`. */
  private readonly free = { there: 0, back: 0 };
  /** Total number of bytes after which every connection is cut, once. */
  private cutAt = Infinity;

  private constructor(
    private readonly options: NetworkProxyOptions,
    private readonly server: Server,
  ) {
    server.on('connection', (client) => this.join(client));
  }

  static async open(options: NetworkProxyOptions): Promise<NetworkProxy> {
    const server = createServer({ noDelay: true });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new NetworkProxy(options, server);
  }

  /** The port for clients. */
  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return address.port;
  }

  get total(): number {
    return this.passed.there + this.passed.back;
  }

  /** Cuts every connection now; new ones are accepted. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Cuts every connection after this many more bytes have passed. */
  cutAfter(bytes: number): void {
    this.cutAt = this.total + bytes;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(client: Socket): void {
    const server = connect({ port: this.options.port, host: '127.0.0.1', noDelay: true });
    for (const [from, to, way] of [
      [client, server, 'there'],
      [server, client, 'back'],
    ] as const) {
      this.sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        this.sockets.delete(from);
        to.destroy();
      });
      void this.carry(from, to, way);
    }
  }

  private async carry(from: Socket, to: Socket, way: 'there' | 'back'): Promise<void> {
    const { roundTrip = 0 } = this.options;
    let queued = 0;
    let last: Promise<void> = Promise.resolve();
    const arrive = async (chunk: Buffer, at: number, before: Promise<void>): Promise<void> => {
      const wait = at + roundTrip / 2 - performance.now();
      // A timer ignores fractions of a millisecond.
      if (wait > 0) await sleep(Math.ceil(wait));
      await before;
      if (!to.destroyed) to.write(chunk);
      queued -= chunk.length;
      if (queued < QUEUE) from.resume();
    };
    try {
      from.on('data', (chunk: Buffer) => {
        this.count(way, chunk.length);
        queued += chunk.length;
        if (queued >= QUEUE) from.pause();
        last = arrive(chunk, this.sentAt(way, chunk.length), last);
      });
      await new Promise((resolve) => from.once('end', resolve));
      await last;
      to.end();
    } catch {
      to.destroy();
    }
  }

  private count(way: 'there' | 'back', bytes: number): void {
    this.passed[way] += bytes;
    if (this.total < this.cutAt) return;
    this.cutAt = Infinity;
    this.cut();
  }

  /** When the last bit of the next `bytes` has been sent. */
  private sentAt(way: 'there' | 'back', bytes: number): number {
    const { rate } = this.options;
    const now = performance.now();
    if (rate === undefined) return now;
    this.free[way] = Math.max(now, this.free[way]) + (bytes * 8000) / rate;
    return this.free[way];
  }
}
