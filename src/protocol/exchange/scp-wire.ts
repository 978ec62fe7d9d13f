import type { ClientChannel } from 'ssh2';
import { captureText } from '../../lib/ssh/exec.ts';
import {
  fileChanged,
  fileMissing,
  notAFile,
  permissionDenied,
  protocolBroken,
  refused,
} from './exchange-errors.ts';
import type { GuardedConnection } from './guarded-connection.ts';

/** The longest control line that is read, in bytes; OpenSSH's own limit is 2048. */
const LINE_LIMIT = 4096;
const OK = 0;
const WARNING = 1;
const FATAL = 2;
const NEWLINE = 10;

/** A file as `scp -f` announces it: a `T` line (with `-p`) and a `C` line. */
export interface ScpFileHeader {
  readonly size: number;
  /** Seconds since 1970; null without a `T` line. */
  readonly mtime: number | null;
}

const T_LINE = /^T(\d{1,12}) \d{1,6} \d{1,12} \d{1,6}$/;
const C_LINE = /^C[0-7]{4} (\d{1,15}) ([^/]+)$/;

/**
 * The legacy SCP protocol on one channel (OpenSSH scp.c, `source` and `sink`): control lines that end with a newline,
 * file bytes, and after each a status byte: 0, or 1 or 2 and a line of text. The server is not trusted: every line
 * and every count is bounded and must have the known form.
 */
export class ScpWire {
  private buffer: Buffer = Buffer.alloc(0);
  private readonly incoming: AsyncIterator<Buffer>;
  private readonly errorText: () => string;

  constructor(
    private readonly channel: ClientChannel,
    private readonly connection: GuardedConnection,
    /** The path as the caller gave it, for messages. */
    private readonly name: string,
  ) {
    // A cut connection ends the stream; the connection has the reason.
    channel.on('error', () => {});
    this.errorText = captureText(channel.stderr);
    this.incoming = (channel as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** Confirms to the server that it may continue, unless it has ended: then its last message is read next. */
  async confirm(): Promise<void> {
    if (this.channel.writable) await this.send(Buffer.from([OK]));
  }

  /** Sends bytes and waits until the channel accepts more. */
  send(bytes: Buffer): Promise<void> {
    const sent = new Promise<void>((resolve, reject) => {
      this.channel.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    return this.connection.guard(sent, `scp ${this.name}`);
  }

  /** Reads the status of the last step; throws the error that it reports. */
  async status(): Promise<void> {
    const [byte = -1] = await this.read(1);
    if (byte === OK) return;
    if (byte === WARNING || byte === FATAL) throw this.errorOf(await this.line());
    throw protocolBroken(this.name, `status byte ${byte}`);
  }

  /** Reads the header of one regular file and confirms each of its lines except the last. */
  async header(baseName: string): Promise<ScpFileHeader> {
    let mtime: number | null = null;
    let line = await this.controlLine();
    const times = T_LINE.exec(line);
    if (times) {
      mtime = Number(times[1]);
      await this.confirm();
      line = await this.controlLine();
    }
    if (line.startsWith('D')) throw notAFile(this.name);
    const file = C_LINE.exec(line);
    // A server that announces another name than requested may be attacking (CVE-2019-6111).
    if (!file || file[2] !== baseName) throw protocolBroken(this.name, `unexpected line ${line}`);
    return { size: Number(file[1]), mtime };
  }

  /** Exactly `size` bytes, in chunks as they arrive. */
  async *bytes(size: number): AsyncGenerator<Buffer> {
    for (let left = size; left > 0;) {
      if (this.buffer.length === 0) await this.more();
      const chunk = this.buffer.subarray(0, left);
      this.buffer = this.buffer.subarray(chunk.length);
      left -= chunk.length;
      yield chunk;
    }
  }

  /** Closes the channel; the program on the host then stops by itself. */
  close(): void {
    this.channel.close();
    this.channel.destroy();
  }

  private async controlLine(): Promise<string> {
    if (this.buffer.length === 0) await this.more();
    if (this.buffer[0] === WARNING || this.buffer[0] === FATAL) await this.status();
    return this.line();
  }

  private async line(): Promise<string> {
    let end: number;
    while ((end = this.buffer.indexOf(NEWLINE)) < 0) {
      if (this.buffer.length > LINE_LIMIT) throw protocolBroken(this.name, 'a line that is too long');
      await this.more();
    }
    const line = this.buffer.toString('utf8', 0, end);
    this.buffer = this.buffer.subarray(end + 1);
    return line;
  }

  private async read(count: number): Promise<Buffer> {
    while (this.buffer.length < count) await this.more();
    const bytes = this.buffer.subarray(0, count);
    this.buffer = this.buffer.subarray(count);
    return bytes;
  }

  private async more(): Promise<void> {
    const next = await this.connection.guard(this.incoming.next(), `scp ${this.name}`);
    if (next.done === true) throw this.connection.lost ?? this.errorOf(this.errorText() || 'scp ended early');
    this.buffer = this.buffer.length === 0 ? next.value : Buffer.concat([this.buffer, next.value]);
  }

  /** scp has no error codes, only English sentences (it never translates them). */
  private errorOf(text: string): Error {
    if (/no such file/i.test(text)) return fileMissing(this.name);
    if (/not a regular file/i.test(text)) return notAFile(this.name);
    if (/permission denied/i.test(text)) return permissionDenied(this.name);
    if (/input\/output error/i.test(text)) return fileChanged(this.name);
    return refused(this.name, text);
  }
}
