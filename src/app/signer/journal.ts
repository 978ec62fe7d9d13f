import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { receiptSchema } from '../../protocol/control/receipt.ts';
import { hasCode, messageOf, SignpipeError } from '../../lib/errors.ts';
import { syncFolder, writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { signaturesFile } from './signature-store.ts';

const offset = z.int().nonnegative();

/** How the exchange makes a file out of one that it has: `file`, if there is one, then holds the new bytes only. */
const assembly = z.strictObject({
  /** The unsigned file, of the same name, as it was read; without a time, nothing is made out of it there. */
  source: z.strictObject({ size: offset, modified: z.iso.datetime().optional() }),
  spans: z.array(z.strictObject({ from: z.enum(['source', 'fresh']), start: offset, end: offset })),
  /** Where all of it was fetched: the unsigned file in the work folder, and the SHA-256 of the result. */
  whole: z.strictObject({ unsigned: z.string(), sha256: z.string() }).optional(),
});

const output = z.strictObject({
  /** Name on the exchange, without the outgoing folder. */
  name: z.string(),
  /** Where it goes below the outgoing folder; under its name if absent, as earlier versions wrote it. */
  path: z.string().optional(),
  /** File in the request's work folder; none where the new bytes can be made again. */
  file: z.string().optional(),
  /** Of what is delivered. */
  size: offset,
  /** Of `file`, or of the new bytes. */
  sha256: z.string(),
  assembly: assembly.optional(),
  /** Of its temporary name on the exchange: delivering again takes away what a crash left there. */
  temporary: z
    .string()
    .regex(/^[0-9a-f]{12}$/)
    .optional(),
});

/**
 * How far the request in hand has come. What a stage writes is on disk, flushed, before the record
 * says so; what follows it can be done again with the same result.
 *
 * - `begun`: nothing outside this machine has changed; begin again.
 * - `signed`: the signatures are made; deliver exactly these files, which lie in the work folder or can be made
 *   again out of the unsigned ones and the signatures beside this record.
 * - `answered`: the files are delivered, or none will be; the receipt is settled and must be pushed.
 */
const record = z.strictObject({
  version: z.literal(1),
  request: z.string().regex(/^[0-9a-f]{40}$/),
  stage: z.enum(['begun', 'signed', 'answered']),
  receipt: receiptSchema.optional(),
  /** With `answered`: where the receipt branch stood before the receipt was first pushed. */
  since: z.string().nullable().optional(),
  outputs: z.array(output).default([]),
});

export type JournalRecord = z.output<typeof record>;
export type JournaledOutput = z.output<typeof output>;

/**
 * The request in hand, on disk before anything is done about it, so that a crash at any instruction
 * ends in exactly one delivered file and one receipt.
 */
export class Journal {
  private readonly file: string;
  private readonly folder: string;
  /** That no record is there is remembered: whoever holds the lock is the only one to write one. */
  private empty = false;

  private constructor(folder: string) {
    this.folder = folder;
    this.file = join(folder, 'journal.json');
  }

  /** Opens the journal of a state folder, which is made when it is not there. */
  static async open(folder: string): Promise<Journal> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new Journal(folder);
  }

  /** The request that a crash left in hand, or null. */
  async read(): Promise<JournalRecord | null> {
    if (this.empty) return null;
    let text: string;
    try {
      text = await readFile(this.file, 'utf8');
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
      // Of a record that was cleared when the process was killed.
      await rm(signaturesFile(this.folder), { force: true });
      this.empty = true;
      return null;
    }
    try {
      return record.parse(JSON.parse(text));
    } catch (error) {
      throw new SignpipeError(
        'local',
        'journal-damaged',
        `${this.file}: cannot be understood: ${messageOf(error).slice(0, 300)}`,
        {
          hint: 'look whether the request in it was answered (signpipe audit), then move the file away',
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
    await rm(signaturesFile(this.folder), { force: true });
    await syncFolder(this.folder);
    this.empty = true;
  }
}
