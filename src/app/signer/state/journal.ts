import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { commitId } from '../../../protocol/control/commit-id.ts';
import { receiptSchema } from '../../../protocol/control/receipt-schema.ts';
import { hasCode, messageOf, SignpipeError } from '../../../lib/errors.ts';
import { syncFolder, writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { upgraded } from './journal-version-1.ts';
import { blobStores } from './blob-store.ts';

const count = z.int().nonnegative();
const spans = z.array(z.strictObject({ from: z.enum(['source', 'fresh']), start: count, end: count }));

const place = {
  /** Name on the exchange, without the incoming folder. */
  name: z.string(),
  /** Path on the exchange, below the outgoing folder. */
  path: z.string(),
  /** Size of the signed file in bytes. */
  size: count,
  /** Part of its temporary name on the exchange: a second delivery deletes what a crash left there. */
  temporary: z
    .string()
    .regex(/^[0-9a-f]{12}$/)
    .optional(),
};

/** A signed file that lies complete in the request's work folder. */
const fileOutput = z.strictObject({
  mode: z.literal('file'),
  ...place,
  file: z.string(),
  /** SHA-256 of the signed file. */
  sha256: z.string(),
});

/** A signed file made from the unsigned one, which was fetched as a whole, and new bytes: here or on the exchange. */
const deltaOutput = z.strictObject({
  mode: z.literal('delta'),
  ...place,
  sha256: z.string(),
  /** In the work folder. `modified` is its time on the exchange; without it the exchange cannot assemble the file. */
  unsigned: z.strictObject({ file: z.string(), size: count, modified: z.iso.datetime().optional() }),
  newBytes: z.strictObject({ file: z.string(), sha256: z.string() }),
  spans,
});

/** A signed file made on the exchange from the unsigned one, of which only parts were read, and new bytes. */
const sparseOutput = z.strictObject({
  mode: z.literal('sparse'),
  ...place,
  unsigned: z.strictObject({ size: count, modified: z.iso.datetime() }),
  /** Without a file, they were in memory and can be made again from the signatures. */
  newBytes: z.strictObject({ file: z.string().optional(), sha256: z.string() }),
  spans,
});

/** A small file beside a signed one; its bytes are in the store of attachments, by their SHA-256. */
const attachmentOutput = z.strictObject({
  mode: z.literal('attachment'),
  ...place,
  sha256: z.string(),
});

const output = z.discriminatedUnion('mode', [fileOutput, deltaOutput, sparseOutput, attachmentOutput]);

export type JournaledOutput = z.output<typeof output>;
/** An output that the exchange can assemble from the unsigned file and new bytes. */
export type DeltaOutput = Extract<JournaledOutput, { mode: 'delta' | 'sparse' }>;
export type SparseOutput = z.output<typeof sparseOutput>;
export type AttachmentOutput = z.output<typeof attachmentOutput>;

const record = z.discriminatedUnion('stage', [
  z.strictObject({ version: z.literal(2), stage: z.literal('begun'), request: commitId }),
  z.strictObject({
    version: z.literal(2),
    stage: z.literal('signed'),
    request: commitId,
    receipt: receiptSchema,
    outputs: z.array(output),
  }),
  z.strictObject({
    version: z.literal(2),
    stage: z.literal('answered'),
    request: commitId,
    receipt: receiptSchema,
    /** The tip of the receipt branch before the receipt was first pushed. */
    since: z.string().nullable(),
  }),
]);

/**
 * How far the current request has come. What a stage writes is on disk, flushed, before the record says so; what
 * follows it can be done again with the same result.
 *
 * - `begun`: nothing outside this machine has changed; begin again.
 * - `signed`: the signatures are made; deliver exactly these files, which lie in the work folder or can be made again
 *   from the unsigned ones and the signatures beside this record, and the attachments, which lie beside it too.
 * - `answered`: the files are delivered, or none will be; the receipt is final and must be pushed.
 */
export type JournalRecord = z.output<typeof record>;

/**
 * The current request, on disk before anything is done about it, so that a crash at any instruction ends in exactly
 * one delivered file and one receipt.
 */
export class Journal {
  private readonly file: string;
  private readonly folder: string;
  /** Known to have no record: only the process that holds the lock writes one. */
  private empty = false;

  private constructor(folder: string) {
    this.folder = folder;
    this.file = join(folder, 'journal.json');
  }

  /** Opens the journal of a state folder, which is created if it does not exist. */
  static async open(folder: string): Promise<Journal> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new Journal(folder);
  }

  /** The request that a crash left unfinished, or null. */
  async read(): Promise<JournalRecord | null> {
    if (this.empty) return null;
    let text: string;
    try {
      text = await readFile(this.file, 'utf8');
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
      // They belong to a record that was being cleared when the process was killed.
      await this.removeStores();
      this.empty = true;
      return null;
    }
    try {
      return record.parse(upgraded(JSON.parse(text)));
    } catch (error) {
      throw new SignpipeError(
        'local',
        'journal-damaged',
        `${this.file}: cannot be understood: ${messageOf(error).slice(0, 300)}`,
        {
          hint: 'check whether the request in it was answered (signpipe audit), then move the file away',
          cause: error,
        },
      );
    }
  }

  /** Replaces the record; when this returns, it is on disk. */
  async write(next: JournalRecord): Promise<void> {
    this.empty = false;
    await writeFileAtomically(this.file, `${JSON.stringify(next)}\n`, { mode: 0o600 });
  }

  /** The request is answered and its receipt pushed. */
  async clear(): Promise<void> {
    await rm(this.file, { force: true });
    await this.removeStores();
    await syncFolder(this.folder);
    this.empty = true;
  }

  private async removeStores(): Promise<void> {
    for (const { file } of blobStores(this.folder)) await rm(file, { force: true });
  }
}
