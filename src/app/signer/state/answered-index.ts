import { firstIndex } from '../../../lib/bytes/binary-search.ts';

/** Stands for a missing commit id. */
const NONE = '0'.repeat(40);

/** An answered request; without a receipt if it is from before `control.since`. */
export interface EarlierAnswer {
  readonly request: string;
  readonly receipt: string | null;
}

/** A record: the first half of an identity (16 bytes), then request and receipt (20 bytes each). */
const KEY = 16;
const ID = 20;
const RECORD = KEY + 2 * ID;

/**
 * Answers by the identity of their request, 56 bytes each. Only for speed, most are sorted in one buffer, so that
 * hundreds of thousands load in some milliseconds; the newest are in a map. Keys are cut to 16 bytes: a result is a
 * candidate whose whole identity must be compared.
 */
export class AnsweredIndex {
  private readonly recent = new Map<string, Buffer>();

  private constructor(private readonly sorted: Buffer) {}

  static empty(): AnsweredIndex {
    return new AnsweredIndex(Buffer.alloc(0));
  }

  /** The inverse of `toBuffer`; null if the bytes cannot be its result. */
  static from(bytes: Buffer): AnsweredIndex | null {
    return bytes.length % RECORD === 0 ? new AnsweredIndex(bytes) : null;
  }

  /** At least the number of answers: a replaced one counts twice. */
  get size(): number {
    return this.sorted.length / RECORD + this.recent.size;
  }

  /** `identity` in hex. */
  get(identity: string): EarlierAnswer | null {
    const key = Buffer.from(identity, 'hex').subarray(0, KEY);
    const record = this.recent.get(key.toString('latin1')) ?? this.find(key);
    if (!record) return null;
    const [request, receipt] = [KEY, KEY + ID].map((at) => record.toString('hex', at, at + ID));
    return { request: request ?? '', receipt: receipt === NONE ? null : (receipt ?? null) };
  }

  /** Adds or replaces an answer. */
  set(identity: string, { request, receipt }: EarlierAnswer): void {
    const key = identity.slice(0, 2 * KEY);
    const record = Buffer.from(`${key}${request}${receipt ?? NONE}`, 'hex');
    this.recent.set(record.toString('latin1', 0, KEY), record);
  }

  /** All records, sorted. */
  toBuffer(): Buffer {
    const records: Buffer[] = [...this.recent.values()];
    for (let at = 0; at < this.sorted.length; at += RECORD)
      if (!this.recent.has(this.sorted.toString('latin1', at, at + KEY)))
        records.push(this.sorted.subarray(at, at + RECORD));
    return Buffer.concat(records.sort((a, b) => Buffer.compare(a, b)));
  }

  private find(key: Buffer): Buffer | undefined {
    const order = (index: number): number =>
      this.sorted.compare(key, 0, KEY, index * RECORD, index * RECORD + KEY);
    const count = this.sorted.length / RECORD;
    const index = firstIndex(count, (each) => order(each) >= 0);
    if (index === count || order(index) !== 0) return undefined;
    return this.sorted.subarray(index * RECORD, (index + 1) * RECORD);
  }
}
