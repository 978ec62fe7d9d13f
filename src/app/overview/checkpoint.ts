import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { readOnce } from '../../lib/bytes/byte-source.ts';
import { jsonOrNull } from '../../lib/json.ts';
import { commitId } from '../../protocol/control/commit-id.ts';
import { unansweredRequests, unansweredSince } from '../../protocol/control/receipt-history.ts';
import type { ControlRepository, MainHeads } from '../../protocol/control/repository.ts';

/** A longer queue is not kept: it is read from the history each time. */
const MOST_UNANSWERED = 10_000;
const FILE_LIMIT = 4 * 1024 * 1024;

const schema = z.strictObject({
  version: z.literal(1),
  /** The commit up to which requests need no answer, or null. */
  after: commitId.nullable(),
  requests: commitId,
  receipts: commitId,
  /** The requests in the history of `requests` that no receipt in that of `receipts` answers, oldest first. */
  unanswered: z.array(commitId).max(MOST_UNANSWERED),
  /** The first commit of the receipt branch. */
  root: commitId.nullable(),
  /** `CommitGraph.touched`. */
  touched: z.array(z.tuple([z.string(), z.strictObject({ tip: commitId, ids: z.array(commitId) })])),
});

type Content = z.infer<typeof schema>;

/**
 * What an overview read from a long history, kept in a file of the reader. Only for speed: 100,000 receipts take some
 * seconds to read; with the file, only newer commits are. It is used only if both branches continue where it stopped, so
 * the result is the same on every history. The file belongs to the reader, and is trusted like a clone of the reader's.
 */
export class OverviewCheckpoint {
  private constructor(
    /** Null to keep nothing. */
    private readonly file: string | null,
    private readonly repository: ControlRepository,
    private readonly after: string | null,
    private content: Content | null,
  ) {}

  /** Reads the file; one that is missing, damaged or about another `after` counts as none. */
  static async open(
    file: string | null,
    repository: ControlRepository,
    after: string | undefined,
  ): Promise<OverviewCheckpoint> {
    const content = file === null ? null : await readContent(file);
    const usable = content?.after === (after ?? null) ? content : null;
    for (const [key, value] of usable?.touched ?? []) repository.touched.set(key, value);
    return new OverviewCheckpoint(file, repository, after ?? null, usable);
  }

  /** The requests without an answer, oldest first. */
  async unanswered(heads: MainHeads): Promise<string[]> {
    const { content, repository, after } = this;
    const known = content && (await unansweredSince(repository, heads, content));
    if (known) return known;
    // The branch may begin elsewhere now.
    this.content = null;
    return unansweredRequests(repository, heads, after === null ? null : { requests: after });
  }

  /** The first commit of the receipt branch; call `unanswered` before. */
  async receiptsRoot(receipts: string): Promise<string | null> {
    return this.content?.root ?? this.repository.firstParentRoot(receipts);
  }

  /** Writes the file if it has something new. A file that cannot be written only costs time. */
  async save(
    { requests, receipts }: MainHeads,
    unanswered: readonly string[],
    root: string | null,
  ): Promise<void> {
    const { file, content, after, repository } = this;
    if (file === null || requests === null || receipts === null || unanswered.length > MOST_UNANSWERED)
      return;
    if (content?.requests === requests && content.receipts === receipts) return;
    // Otherwise later commits may be in the history of `after`, and need no answer either.
    if (content === null && after !== null && !(await repository.isAncestor(after, requests))) return;
    const touched: Content['touched'] = [...repository.touched].map(([key, { tip, ids }]) => [
      key,
      { tip, ids: [...ids] },
    ]);
    const next: Content = {
      version: 1,
      after,
      requests,
      receipts,
      unanswered: [...unanswered],
      root,
      touched,
    };
    try {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      await writeFileAtomically(file, `${JSON.stringify(next)}\n`, { mode: 0o600 });
    } catch {
      // Another account may read the clone, and not write beside it.
    }
  }
}

async function readContent(file: string): Promise<Content | null> {
  try {
    const bytes = await readOnce(file, FILE_LIMIT);
    return schema.safeParse(bytes && jsonOrNull(bytes.toString('utf8'))).data ?? null;
  } catch {
    return null;
  }
}
