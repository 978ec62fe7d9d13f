import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { commitId } from '../../../protocol/control/commit-id.ts';
import { receiptSchema } from '../../../protocol/control/receipt-schema.ts';
import { hasCode, messageOf, SignpipeError } from '../../../lib/errors.ts';
import { syncFolder, writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { Semaphore } from '../../../lib/concurrency/semaphore.ts';
import { upgraded } from './earlier-journals.ts';
import { blobStores, earlierStores, requestOfStore } from './blob-store.ts';

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
  z.strictObject({ stage: z.literal('begun'), request: commitId }),
  z.strictObject({
    stage: z.literal('signed'),
    request: commitId,
    receipt: receiptSchema,
    outputs: z.array(output),
  }),
  z.strictObject({
    stage: z.literal('answered'),
    request: commitId,
    receipt: receiptSchema,
    /** The tip of the receipt branch before the receipt was first pushed, or an earlier one. */
    since: z.string().nullable(),
  }),
]);

/**
 * How far a request has come. What a stage writes is on disk, flushed, before the record says so; what follows it can
 * be done again with the same result.
 *
 * - `begun`: nothing outside this machine has changed; begin again.
 * - `signed`: the signatures are made; deliver exactly these files, which lie in the work folder or can be made again
 *   from the unsigned ones and the signatures beside the journal, and the attachments, which lie beside it too.
 * - `answered`: the files are delivered, or none will be; the receipt is final and must be pushed.
 */
export type JournalRecord = z.output<typeof record>;
export type SignedRecord = Extract<JournalRecord, { stage: 'signed' }>;
export type AnsweredRecord = Extract<JournalRecord, { stage: 'answered' }>;

/** Far more requests than are ever in hand. */
const MOST_RECORDS = 1000;

const journalFile = z.strictObject({ version: z.literal(3), records: z.array(record).max(MOST_RECORDS) });

/** A record, and its text in the file. */
interface Entry {
  readonly record: JournalRecord;
  readonly text: string;
}

/**
 * The requests in hand, in the order of their receipts: on disk before anything is done about them, so that a crash at
 * any instruction ends in exactly one delivered file and one receipt for each. It is one file, replaced at each stage.
 */
export class Journal {
  private readonly file: string;
  private readonly folder: string;
  /** What the file holds, by request; null if that is not known. Only the process that holds the lock writes it. */
  private entries: ReadonlyMap<string, Entry> | null = null;
  /** One write at a time: each writes the whole file. */
  private readonly writing = new Semaphore(1);

  private constructor(folder: string) {
    this.folder = folder;
    this.file = join(folder, 'journal.json');
  }

  /** Opens the journal of a state folder, which is created if it does not exist. */
  static async open(folder: string): Promise<Journal> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new Journal(folder);
  }

  /** The requests that a crash, or a Git host that was down, left unfinished. Without any, the file is not read again. */
  read(): Promise<readonly JournalRecord[]> {
    return this.writing.run(async () => {
      if (this.entries?.size !== 0) await this.load();
      return [...this.known()].map(([, each]) => each.record);
    });
  }

  /** Adds or replaces the record of a request; when this returns, it is on disk. */
  write(next: JournalRecord): Promise<void> {
    return this.writing.run(async () => {
      if (!this.entries) await this.load();
      const entries = new Map(this.known()).set(next.request, { record: next, text: JSON.stringify(next) });
      // A request that is only begun gets its receipt after all that are further.
      const begun = [...entries].filter(([, { record }]) => record.stage === 'begun');
      for (const [request, each] of begun) {
        entries.delete(request);
        entries.set(request, each);
      }
      await this.save(entries);
    });
  }

  /** Removes the records of requests whose receipts are pushed, or that are given up, and all that belongs to them. */
  remove(requests: readonly string[]): Promise<void> {
    return this.writing.run(async () => {
      if (!this.entries) await this.load();
      const entries = new Map(this.known());
      const removed = requests.filter((request) => entries.delete(request));
      if (removed.length > 0) await this.save(entries);
      // The records go first: a crash in between leaves unneeded files, not a record without its files.
      for (const request of requests)
        for (const { file } of blobStores(this.folder, request)) await rm(file, { force: true });
    });
  }

  private known(): ReadonlyMap<string, Entry> {
    return this.entries ?? new Map();
  }

  private async save(entries: ReadonlyMap<string, Entry>): Promise<void> {
    if (entries.size > 0) {
      const texts = [...entries.values()].map(({ text }) => text);
      await writeFileAtomically(this.file, `{"version":3,"records":[\n${texts.join(',\n')}\n]}\n`, {
        mode: 0o600,
      });
    } else {
      await rm(this.file, { force: true });
      await syncFolder(this.folder);
    }
    this.entries = entries;
  }

  /** Reads the file, brings it to the current version, and removes stores that belong to no record. */
  private async load(): Promise<void> {
    this.entries = null;
    const { records, earlier } = await this.parse();
    const entries = new Map(
      records.map((each) => [each.request, { record: each, text: JSON.stringify(each) }]),
    );
    if (earlier) {
      for (const { request } of records)
        for (const [before, now] of earlierStores(this.folder, request)) await renameIfThere(before, now);
      await this.save(entries);
    }
    await this.removeStrayStores(entries);
    this.entries = entries;
  }

  private async parse(): Promise<{ records: readonly JournalRecord[]; earlier: boolean }> {
    let text: string;
    try {
      text = await readFile(this.file, 'utf8');
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
      return { records: [], earlier: false };
    }
    try {
      const value: unknown = JSON.parse(text);
      const { records } = journalFile.parse(upgraded(value));
      return { records, earlier: !journalFile.safeParse(value).success };
    } catch (error) {
      throw new SignpipeError(
        'local',
        'journal-damaged',
        `${this.file}: cannot be understood: ${messageOf(error).slice(0, 300)}`,
        {
          hint: 'check whether the requests in it were answered (signpipe audit), then move the file away',
          cause: error,
        },
      );
    }
  }

  /** They belong to records that were being removed when the process was killed. */
  private async removeStrayStores(entries: ReadonlyMap<string, Entry>): Promise<void> {
    for (const name of await readdir(this.folder)) {
      const request = requestOfStore(name);
      if (request !== null && !entries.has(request)) await rm(join(this.folder, name), { force: true });
    }
    for (const [earlier] of earlierStores(this.folder, '')) await rm(earlier, { force: true });
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
