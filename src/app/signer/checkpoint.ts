import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { writeFileAtomically } from '../../lib/bytes/atomic-file.ts';

/** So many requests may be answered before the landmark is set anew. */
const EVERY = 50;

const id = z.string().regex(/^[0-9a-f]{40}$/);
const schema = z.strictObject({
  version: z.literal(1),
  /** `control.since` as it was: what lies before it may not have been answered. */
  since: z.string().nullable(),
  requests: id,
  receipts: id,
  /** `CommitGraph.touched`. */
  touched: z.array(z.tuple([z.string(), z.strictObject({ tip: id, ids: z.array(id) })])),
});

/** Every request in the history of `requests` is answered in the history of `receipts`. */
export interface Settled {
  readonly requests: string;
  readonly receipts: string;
}

/**
 * Up to where everything is answered, kept in the state folder, so that a signer which starts again need not go
 * through the whole history. Git can give it back: where it is missing, cannot be read or does not fit the
 * history or the configuration, the whole history is gone through.
 */
export class Checkpoint {
  /** Requests listed since it was last set; from the start on it is due. */
  private due = EVERY;
  /** Paths of which it tells what touched them. */
  private paths = 0;

  constructor(
    private readonly path: string,
    private readonly since: string | undefined,
  ) {}

  /** Where to begin, or null. `receipts` is where the receipt branch stands, which may have been set back. */
  async read(repository: ControlRepository, receipts: string | null): Promise<Settled | null> {
    const text = await readFile(this.path, 'utf8').catch(() => 'null');
    const { data } = schema.safeParse(parse(text));
    if (!data || data.since !== (this.since ?? null) || receipts === null) return null;
    if (!(await repository.hasCommit(data.requests))) return null;
    if (!(await repository.isAncestor(data.receipts, receipts))) return null;
    for (const [key, value] of data.touched) repository.touched.set(key, value);
    this.due = 0;
    this.paths = data.touched.length;
    return { requests: data.requests, receipts: data.receipts };
  }

  /** Tells that so many more requests were listed. */
  count(requests: number): void {
    this.due += requests;
  }

  /** Sets it, if it is time to, or if it lacks what is known by now. */
  async set(repository: ControlRepository, { requests, receipts }: Settled): Promise<void> {
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

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
