import { open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { jsonOrNull } from '../../lib/json.ts';
import { commitId } from './commit-id.ts';
import { hasCode } from '../../lib/errors.ts';
import { syncFolder, writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { sha256Hex } from '../../lib/bytes/hash.ts';
import { shortId } from '../../lib/git/objects.ts';
import { alarm, judgeHeads, nameOf, type HeadsJudgement, type JudgeOptions } from './judge-heads.ts';
import type { ControlRepository, MainHeads } from './repository.ts';

const id = commitId.nullable();
const recordSchema = z.strictObject({
  version: z.literal(1),
  at: z.iso.datetime(),
  requests: id,
  receipts: id,
  /** An operator accepted a history that would have been refused. */
  forced: z.literal(true).optional(),
  /** The roots of the request branch, in a line that pins them: other commits belong to other repositories. */
  roots: z.array(commitId).min(1).optional(),
  /** Tips of the receipt branch whose loss an operator accepted: what was answered there stays answered. */
  lost: z.array(commitId).optional(),
  /** SHA-256 of the line before this one, without its line feed. */
  previous: z.string().regex(/^[0-9a-f]{64}$/),
});

type HeadsRecord = z.infer<typeof recordSchema>;

/** Found in a line that may be an operator's decision, before it is parsed. */
const FORCED = '"forced":true';

const BEGINNING = '0'.repeat(64);
/** With more lines than this, the file is shortened to the last `KEEP`. */
const COMPACT_AT = 10_000;
const KEEP = 1000;

/** What is recorded besides the heads. */
interface AcceptOptions {
  /** An operator decided to accept a history that would have been refused. */
  readonly forced?: boolean;
  readonly at?: Date;
  /** Pins the roots of the request branch. */
  readonly roots?: readonly string[];
}

/** What stays in force until a later line changes it. */
interface StandingDecisions {
  readonly roots: readonly string[] | null;
  readonly lost: readonly string[];
}

/**
 * The heads that the signer accepted, kept where the Git host cannot reach them: a file of JSON lines, each with the
 * hash of the line before, flushed to disk before anything is done because of them. With it, the signer can
 * distinguish history that was rewound or rewritten from history that grew.
 *
 * A last line without its line feed is what a crash during `accept` leaves: it is dropped, and the heads before it
 * count. Any other damage is an alarm.
 */
export class AcceptedHeads {
  private constructor(
    readonly path: string,
    private lines: string[],
    private last: HeadsRecord | null,
    private standing: StandingDecisions,
  ) {}

  /** Reads the file, if it exists; throws `witness-damaged` if it is not as it was written. */
  static async open(path: string): Promise<AcceptedHeads> {
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return '';
      throw error;
    });
    const lines = text.split('\n');
    const torn = lines.pop() !== '';
    const { last, standing } = readChain(lines, path);
    const acceptedHeads = new AcceptedHeads(path, lines, last, standing);
    if (torn) await acceptedHeads.rewrite(lines);
    return acceptedHeads;
  }

  /** The last accepted heads, or null before the first. */
  get heads(): MainHeads | null {
    return this.last && { requests: this.last.requests, receipts: this.last.receipts };
  }

  /** The pinned roots of the request branch; null until they are pinned. */
  get roots(): readonly string[] | null {
    return this.standing.roots;
  }

  /** Earlier tips of the receipt branch whose loss an operator accepted. */
  get lost(): readonly string[] {
    return this.standing.lost;
  }

  /** Whether the remote's heads continue the accepted ones; see `judgeHeads`. Nothing is written: that is `accept`. */
  judge(
    repository: ControlRepository,
    heads: MainHeads,
    options: JudgeOptions = {},
  ): Promise<HeadsJudgement> {
    return judgeHeads(repository, this.heads, heads, options);
  }

  /** Records heads as accepted; on return they are on disk. */
  async accept(
    heads: MainHeads,
    { forced = false, at = new Date(), roots }: AcceptOptions = {},
  ): Promise<void> {
    const compact = this.lines.length >= COMPACT_AT;
    const next = afterDecision(this.standing, this.last, { forced, roots });
    const line: HeadsRecord = {
      version: 1,
      at: at.toISOString(),
      requests: heads.requests,
      receipts: heads.receipts,
      ...(forced && { forced: true as const }),
      // The earlier lines that state it may be dropped now.
      ...(next.roots && (roots || compact) && { roots: [...next.roots] }),
      ...(next.lost.length > 0 && (forced || compact) && { lost: [...next.lost] }),
      previous: hashOf(this.lines.at(-1)),
    };
    const text = JSON.stringify(line);
    if (compact) await this.rewrite([...this.lines.slice(-KEEP), text]);
    else {
      await append(this.path, `${text}\n`);
      this.lines.push(text);
    }
    this.last = line;
    this.standing = next;
  }

  /**
   * Implements `--accept-history COMMIT`: accepts heads that were refused and pins the given roots of the request
   * branch. The operator names the commit that was inspected; the request or the receipt branch must be at it now.
   */
  async acceptHistory(
    commit: string,
    heads: MainHeads,
    options: Omit<AcceptOptions, 'forced'> = {},
  ): Promise<void> {
    if (commit !== heads.requests && commit !== heads.receipts)
      throw alarm(
        'history-not-as-named',
        `${shortId(commit)} was to be accepted, but neither branch stands there: requests ${nameOf(heads.requests)}, receipts ${nameOf(heads.receipts)}`,
        'give the full id of one of them; if history changed since you looked, look at it again first',
      );
    await this.accept(heads, { ...options, forced: true });
  }

  /**
   * When a commit came into the accepted history of requests; null if it is not in it. A commit that an accepted
   * rewrite removed and that was pushed again counts from its return. If compaction dropped the line that first had
   * it, the oldest remaining line counts: a later time, never an earlier one.
   */
  async firstSeen(repository: ControlRepository, commit: string): Promise<Date | null> {
    const has = async (at: number): Promise<boolean> => {
      const { requests } = this.lineAt(at);
      return (
        requests !== null &&
        (await repository.hasCommit(requests)) &&
        (await repository.isAncestor(commit, requests))
      );
    };
    let oldest: number | null = null;
    for (let end = this.lines.length; end > 0;) {
      const start = this.grownSince(end);
      const moves = this.movesBetween(start, end);
      const first = await firstWith(0, moves.length, (at) => has(moves[at] ?? start));
      oldest = first === null ? oldest : (moves[first] ?? start);
      if (first !== 0) break;
      end = start;
    }
    return oldest === null ? null : new Date(this.lineAt(oldest).at);
  }

  /** The first line after the last operator's decision before `end`: from it to `end`, history only grew. */
  private grownSince(end: number): number {
    for (let at = end - 1; at > 0; at -= 1)
      if (this.lines[at]?.includes(FORCED) && this.lineAt(at).forced === true) return at;
    return 0;
  }

  /** The lines from `start` to before `end` that have another request head than the line before. */
  private movesBetween(start: number, end: number): number[] {
    const moves: number[] = [];
    for (let at = start; at < end; at += 1)
      if (at === start || requestsText(this.lines[at]) !== requestsText(this.lines[at - 1])) moves.push(at);
    return moves;
  }

  private lineAt(at: number): HeadsRecord {
    return JSON.parse(this.lines[at] ?? '') as HeadsRecord;
  }

  private async rewrite(lines: string[]): Promise<void> {
    await writeFileAtomically(this.path, lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
    this.lines = lines;
  }
}

/**
 * Binary search for the first index from `start` to before `end` for which `has` is true, as it is for all after it;
 * null if it is false for the last. It starts at the end with steps that double: most commits have just come.
 */
async function firstWith(
  start: number,
  end: number,
  has: (at: number) => Promise<boolean>,
): Promise<number | null> {
  if (end <= start || !(await has(end - 1))) return null;
  let [low, high] = [start, end - 1];
  for (let step = 1; high - step >= low; step *= 2) {
    if (!(await has(high - step))) {
      low = high - step + 1;
      break;
    }
    high -= step;
  }
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await has(middle)) high = middle;
    else low = middle + 1;
  }
  return high;
}

/** Only for speed: what a line says about the request head, without parsing it. */
const requestsText = (line = ''): string =>
  line.slice(line.indexOf('"requests":'), line.indexOf(',"receipts":'));

const hashOf = (line: string | undefined): string => (line === undefined ? BEGINNING : sha256Hex(line));

async function append(path: string, text: string): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncFolder(dirname(path));
}

/** Checks every line and its hash of the line before. The first line may follow lines that compaction dropped. */
function readChain(
  lines: readonly string[],
  path: string,
): { last: HeadsRecord | null; standing: StandingDecisions } {
  let last: HeadsRecord | null = null;
  let standing: StandingDecisions = { roots: null, lost: [] };
  for (const [i, text] of lines.entries()) {
    const parsed = recordSchema.safeParse(jsonOrNull(text));
    const linked = parsed.success && (i === 0 || parsed.data.previous === hashOf(lines[i - 1]));
    if (!linked)
      throw alarm(
        'witness-damaged',
        `${path}: line ${i + 1} is not as it was written`,
        'compare the control repository with a copy you trust, then move the file away: the next run accepts what is there',
        parsed.error,
      );
    const { forced = false, roots, lost } = parsed.data;
    standing = afterDecision(standing, last, { forced, roots });
    if (lost) standing = { ...standing, lost };
    last = parsed.data;
  }
  return { last, standing };
}

/** The decisions in force after a line: roots as it pins them and, if an operator decided it, the receipts before it as lost. */
function afterDecision(
  { roots, lost }: StandingDecisions,
  last: HeadsRecord | null,
  line: { readonly forced: boolean; readonly roots?: readonly string[] | undefined },
): StandingDecisions {
  const abandonedTips = line.forced && last?.receipts ? [last.receipts] : [];
  return { roots: line.roots ?? roots, lost: [...new Set([...lost, ...abandonedTips])] };
}
