import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import type { AuditRow, Problem, Rows } from './model.ts';
import { withFinalOutcome } from './build-rows.ts';

/** The text of one pack, in UTF-16 units; its last row may exceed it. */
const PACK_TEXT = 256 * 1024;

/** Consecutive rows as deflated JSON, to be sent between threads and kept in memory. */
export interface Pack {
  readonly rows: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function pack(texts: readonly string[]): Pack {
  const bytes = deflateRawSync(`[${texts.join(',')}]`, { level: constants.Z_BEST_SPEED });
  // A copy: the result of zlib is part of a larger buffer, all of which would be kept and sent.
  return { rows: texts.length, bytes: new Uint8Array(bytes) };
}

const unpack = ({ bytes }: Pack): AuditRow[] =>
  JSON.parse(inflateRawSync(bytes).toString('utf8')) as AuditRow[];

/** Packs rows as they are added, which take a tenth of the memory of objects. */
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

  /** The packs since the last call. */
  flush(): Pack[] {
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
 * The rows of a long history. Each iteration unpacks them, one pack at a time, which takes about 10 µs per row: iterate
 * once for all that is needed.
 */
export class PackedRows implements Rows {
  private readonly packs: Pack[] = [];
  /** Problems that were found after a row had been packed, by its index. */
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

  /** Adds problems to a row; to be called once for each row. */
  addProblems(at: number, problems: readonly Problem[]): void {
    this.later.set(at, problems);
  }

  *[Symbol.iterator](): Generator<AuditRow> {
    let at = 0;
    for (const each of this.packs)
      for (const row of unpack(each)) {
        const later = this.later.get(at++);
        yield withFinalOutcome(later ? { ...row, problems: [...row.problems, ...later] } : row);
      }
  }
}
