import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { jsonOrNull } from '../../../lib/json.ts';
import { commitId } from '../../../protocol/control/commit-id.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';

/** After this many requests, the checkpoint is written again. */
const EVERY = 50;

const schema = z.strictObject({
  version: z.literal(1),
  /** The `control.since` for which it was written: earlier requests may be unanswered. */
  since: z.string().nullable(),
  requests: commitId,
  receipts: commitId,
  /** `CommitGraph.touched`. */
  touched: z.array(z.tuple([z.string(), z.strictObject({ tip: commitId, ids: z.array(commitId) })])),
});

/** Heads up to which all is answered: each request in the history of `requests` by a receipt in that of `receipts`. */
interface AnsweredHeads {
  readonly requests: string;
  readonly receipts: string;
}

/**
 * How far everything is answered, kept in the file `landmark` of the state folder. Only for speed: without it, or
 * if it does not fit the history or the configuration, a signer that starts reads the whole history.
 */
export class Checkpoint {
  /** Requests listed since it was written; at the start it is due. */
  private due = EVERY;
  /** The number of paths for which it lists the commits that changed them. */
  private paths = 0;

  constructor(
    private readonly path: string,
    private readonly since: string | undefined,
  ) {}

  /** Where to begin, or null. `receipts` is the head of the receipt branch, which may have been set back. */
  async read(repository: ControlRepository, receipts: string | null): Promise<AnsweredHeads | null> {
    const text = await readFile(this.path, 'utf8').catch(() => 'null');
    const { data } = schema.safeParse(jsonOrNull(text));
    if (!data || data.since !== (this.since ?? null) || receipts === null) return null;
    if (!(await repository.hasCommit(data.requests))) return null;
    if (!(await repository.isAncestor(data.receipts, receipts))) return null;
    for (const [key, value] of data.touched) repository.touched.set(key, value);
    this.due = 0;
    this.paths = data.touched.length;
    return { requests: data.requests, receipts: data.receipts };
  }

  /** Counts listed requests. */
  count(requests: number): void {
    this.due += requests;
  }

  /** Writes it if enough requests were listed, or if it lacks a path. */
  async set(repository: ControlRepository, { requests, receipts }: AnsweredHeads): Promise<void> {
    if (this.due < EVERY && this.paths >= repository.touched.size) return;
    const touched = [...repository.touched].map(([key, { tip, ids }]): [string, object] => [
      key,
      { tip, ids },
    ]);
    const record = { version: 1, since: this.since ?? null, requests, receipts, touched };
    await writeFileAtomically(this.path, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    this.due = 0;
    this.paths = repository.touched.size;
  }
}
