import { invalid, type SignpipeError } from '../errors.ts';

/** The longest string in a key, certificate or signature, in bytes, unless the caller sets another limit. */
const MAX_STRING = 64 * 1024;

/**
 * Reads the data types of RFC 4251 section 5 in order.
 *
 * Every value is a slice of the input, so that exact bytes can be hashed. Call `end` after the last value: it
 * refuses trailing bytes. Errors are `invalid` with the given code.
 */
export class SshReader {
  readonly bytes: Buffer;
  readonly #what: string;
  readonly #code: string;
  #at = 0;

  constructor(bytes: Buffer, what: string, code = 'ssh-malformed') {
    this.bytes = bytes;
    this.#what = what;
    this.#code = code;
  }

  /** The number of bytes read. */
  get offset(): number {
    return this.#at;
  }

  get done(): boolean {
    return this.#at === this.bytes.length;
  }

  take(length: number): Buffer {
    if (length > this.bytes.length - this.#at) throw this.error('ends in the middle of a value');
    const start = this.#at;
    this.#at += length;
    return this.bytes.subarray(start, this.#at);
  }

  byte(): number {
    return this.take(1).readUInt8();
  }

  uint32(): number {
    return this.take(4).readUInt32BE();
  }

  uint64(): bigint {
    return this.take(8).readBigUInt64BE();
  }

  string(limit = MAX_STRING): Buffer {
    const length = this.uint32();
    if (length > limit) throw this.error(`holds a string of ${length} bytes`);
    return this.take(length);
  }

  /** Reads a string that must be UTF-8 text without control characters. */
  text(): string {
    const bytes = this.string();
    const text = bytes.toString('utf8');
    if (!Buffer.from(text, 'utf8').equals(bytes)) throw this.error('holds text that is not UTF-8');
    if (/\p{Cc}/u.test(text)) throw this.error('holds text with control characters');
    return text;
  }

  /** Reads an mpint, which must not be negative or have needless leading zeros; returns its magnitude. */
  mpint(limit = MAX_STRING): Buffer {
    const bytes = this.string(limit);
    const [first = 0, second = 0] = bytes;
    if (first >= 0x80) throw this.error('holds a negative number');
    if (bytes.length > 0 && first === 0 && second < 0x80)
      throw this.error('holds a number with needless zeros');
    return first === 0 ? bytes.subarray(1) : bytes;
  }

  /** A reader of the strings inside a string, such as a certificate's principals. */
  nested(limit = MAX_STRING): SshReader {
    return new SshReader(this.string(limit), this.#what, this.#code);
  }

  end(): void {
    if (!this.done) throw this.error(`has ${this.bytes.length - this.#at} trailing bytes`);
  }

  error(problem: string): SignpipeError {
    return invalid(this.#code, `${this.#what} ${problem}`);
  }
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Writes a string: its length, then its bytes. */
export function sshString(value: Buffer | string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** Writes a magnitude as an mpint in its shortest form. */
export function sshMpint(magnitude: Buffer): Buffer {
  const start = magnitude.findIndex((byte) => byte !== 0);
  const digits = start < 0 ? Buffer.alloc(0) : magnitude.subarray(start);
  const high = digits.length > 0 && digits.readUInt8() >= 0x80;
  return sshString(high ? Buffer.concat([Buffer.of(0), digits]) : digits);
}
