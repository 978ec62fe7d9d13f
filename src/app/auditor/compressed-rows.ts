import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import type { AuditRow, Problem, Rows } from './model.ts';
import { settle } from './build-rows.ts';

/** Text that one pack holds, in UTF-16 units; its last row may go beyond. */
const PACK_TEXT = 256 * 1024;

/** Some rows, one after another, as threads send them and memory keeps them: JSON, deflated. */
export interface Pack {
  readonly rows: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function pack(texts: readonly string[]): Pack {
  const bytes = deflateRawSync(`[${texts.join(',')}]`, { level: constants.Z_BEST_SPEED });
  // A copy of its own: what zlib gives lies in a larger buffer, which would stay, and be sent, as a whole.
  return { rows: texts.length, bytes: new Uint8Array(bytes) };
}

const unpack = ({ bytes }: Pack): AuditRow[] =>
  JSON.parse(inflateRawSync(bytes).toString('utf8')) as AuditRow[];

/** Packs rows as they come: a tenth of the memory that they take as objects. */
export class RowPacker {
  private packs: Pack[] = [];
  private texts: string[] = [];
  private length = 0;

  add(row: AuditRow): void {
    const text = JSON.stringify(row);
    this.texts.push(text);
    this.length += text.length;
    if (this.length >= PACK_TEXT) this.close();
  }

  /** What was added since the last time. */
  take(): Pack[] {
    this.close();
    return this.packs.splice(0);
  }

  private close(): void {
    if (this.texts.length > 0) this.packs.push(pack(this.texts));
    this.texts = [];
    this.length = 0;
  }
}

/**
 * The rows of a long history. They are unpacked anew, a pack at a time, whenever somebody goes through them: that
 * takes some 10 µs a row, so go through them once for all that is asked.
 */
export class PackedRows implements Rows {
  private readonly packs: Pack[] = [];
  /** What was found about a row after it had been packed, by its place. */
  private readonly later = new Map<number, readonly Problem[]>();
  private count = 0;

  get length(): number {
    return this.count;
  }

  add(packs: readonly Pack[]): void {
    for (const each of packs) {
      this.packs.push(each);
      this.count += each.rows;
    }
  }

  /** Says what else does not hold about a row; once for each. */
  blame(at: number, problems: readonly Problem[]): void {
    this.later.set(at, problems);
  }

  *[Symbol.iterator](): Generator<AuditRow> {
    let at = 0;
    for (const each of this.packs)
      for (const row of unpack(each)) {
        const later = this.later.get(at++);
        yield settle(later ? { ...row, problems: [...row.problems, ...later] } : row);
      }
  }
}
