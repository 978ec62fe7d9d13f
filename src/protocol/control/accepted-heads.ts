import { open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { hasCode, isRefused, SignpipeError } from '../../lib/errors.ts';
import { syncFolder, writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { sha256Hex } from '../../lib/bytes/hash.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { ControlRepository } from './repository.ts';

/** The heads that a signer accepts; null for a branch that is not there yet. */
export interface MainHeads {
  requests: string | null;
  receipts: string | null;
}

const commitId = z.string().regex(/^[0-9a-f]{40}$/);
const id = commitId.nullable();
const lineSchema = z.strictObject({
  version: z.literal(1),
  at: z.iso.datetime(),
  requests: id,
  receipts: id,
  /** Set where an operator accepted a history that would have been refused. */
  forced: z.literal(true).optional(),
  /** The roots of the request branch, in lines that pin them: other commits belong to other repositories. */
  roots: z.array(commitId).min(1).optional(),
  /** Tips of the receipt branch whose loss an operator accepted: what was answered there stays answered. */
  lost: z.array(commitId).optional(),
  /** SHA-256 of the line before this one, without its line end. */
  previous: z.string().regex(/^[0-9a-f]{64}$/),
});

type Line = z.infer<typeof lineSchema>;

/** How a line shows that it may be a decision of an operator, before it is parsed. */
const FORCED = '"forced":true';

const BEGINNING = '0'.repeat(64);
/** A file of more lines than this is made shorter; so many of the last stay. */
const COMPACT_AT = 10_000;
const KEEP = 1000;
/** Receipts checked side by side; the reader answers them in one stream. */
const BATCH = 200;

const alarm = (code: string, message: string, hint: string, cause?: unknown): SignpipeError =>
  new SignpipeError('alarm', code, message, { hint, cause });

/** What is accepted besides the heads. */
export interface AcceptOptions {
  /** An operator's decision to take a history that would have been refused. */
  readonly forced?: boolean;
  readonly at?: Date;
  /** Pins the roots of the request branch. */
  readonly roots?: readonly string[];
}

/** What holds from the line that says it until a later one says otherwise. */
interface Standing {
  readonly roots: readonly string[] | null;
  readonly lost: readonly string[];
}

export interface Verdict {
  /** No heads had been accepted before: these are taken as they are, which should be said aloud. */
  first: boolean;
  /** The heads differ from the last accepted ones. */
  changed: boolean;
}

export interface JudgeOptions {
  /** Checks that a new commit on the receipt branch is signed by one whose receipts we take; throws where it is not. */
  checkReceipt?: (commit: string) => Promise<void>;
  /** The configuration file, for the command in a hint. */
  config?: string;
}

/**
 * The last heads that the signer accepted, kept where the Git host cannot reach: a file of JSON lines, each
 * with the hash of the one before, fsynced before anything is done on the strength of it. With it, history
 * that was rewound or rewritten is told from history that grew.
 *
 * A last line without its line end is what a crash during `accept` leaves: it is dropped, and the heads before
 * it hold. Any other damage is an alarm.
 */
export class AcceptedHeads {
  private constructor(
    readonly path: string,
    private lines: string[],
    private last: Line | null,
    private standing: Standing,
  ) {}

  /** Reads the file, which need not be there yet; `witness-damaged` when it is not as it was written. */
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

  /**
   * Whether the remote's heads continue what was accepted. Throws an alarm when they do not:
   * `history-rewound` (the request branch is back at an earlier commit, or gone), `history-rewritten` (it lacks
   * accepted commits and has others instead), `history-forked` (new receipts answer requests that the request
   * branch does not have: somebody was shown another history), `receipts-rewound`, `receipts-foreign`.
   * Nothing is written: that is `accept`.
   */
  async judge(repository: ControlRepository, heads: MainHeads, options: JudgeOptions = {}): Promise<Verdict> {
    const before = this.heads;
    const changed = before?.requests !== heads.requests || before.receipts !== heads.receipts;
    if (!changed) return { first: false, changed };
    const how = acceptance(repository, options.config ?? 'signer.yaml');
    await judgeRequests(repository, before?.requests ?? null, heads.requests, how);
    await judgeReceipts(repository, before?.receipts ?? null, heads.receipts, how);
    await judgeNewReceipts(repository, before?.receipts ?? null, heads, how, options.checkReceipt);
    return { first: before === null, changed };
  }

  /** Records heads as accepted; on return they are on disk. */
  async accept(
    heads: MainHeads,
    { forced = false, at = new Date(), roots }: AcceptOptions = {},
  ): Promise<void> {
    const compact = this.lines.length >= COMPACT_AT;
    const next = afterDecision(this.standing, this.last, { forced, roots });
    const line: Line = {
      version: 1,
      at: at.toISOString(),
      requests: heads.requests,
      receipts: heads.receipts,
      ...(forced && { forced: true as const }),
      // The lines that said it before may be among those that are dropped.
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
   * What `--accept-history COMMIT` does: accepts heads that were refused, and pins the roots of the request branch
   * as it is now, which the caller gives. The operator names the commit that was looked at, which has to be the one
   * that the request or the receipt branch stands at now.
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
   * When a commit came into the accepted history of requests, or null where it is not in it. A commit that an
   * accepted rewrite took out and that was pushed again counts from its return. Where compaction dropped the
   * line that first had it, the oldest line that is left counts: later than it was, never earlier.
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
    let found: number | null = null;
    for (let end = this.lines.length; end > 0;) {
      const start = this.grownSince(end);
      const first = await firstWith(start, end, has);
      found = first ?? found;
      if (first !== start) break;
      end = start;
    }
    return found === null ? null : new Date(this.lineAt(found).at);
  }

  /** Between decisions of an operator history only grew: what is in one line is in all that follow, from this line to `end`. */
  private grownSince(end: number): number {
    for (let at = end - 1; at > 0; at -= 1)
      if (this.lines[at]?.includes(FORCED) && this.lineAt(at).forced === true) return at;
    return 0;
  }

  private lineAt(at: number): Line {
    return JSON.parse(this.lines[at] ?? '') as Line;
  }

  private async rewrite(lines: string[]): Promise<void> {
    await writeFileAtomically(this.path, lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
    this.lines = lines;
  }
}

/**
 * The first place from `start` to before `end` that has what all places after it have; null when not even the last
 * has it. Sought from the end in steps that double: what is asked for has mostly just come.
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

const hashOf = (line: string | undefined): string => (line === undefined ? BEGINNING : sha256Hex(line));
const nameOf = (head: string | null): string => (head === null ? '(gone)' : shortId(head));

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

/** Checks every line and its link to the one before. The first may follow lines that compaction dropped. */
function readChain(lines: readonly string[], path: string): { last: Line | null; standing: Standing } {
  let last: Line | null = null;
  let standing: Standing = { roots: null, lost: [] };
  for (const [i, text] of lines.entries()) {
    const parsed = lineSchema.safeParse(parseLine(text));
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

/** What stands after a line: roots as it pins them, and, if an operator decided it, the receipts before it as lost. */
function afterDecision(
  { roots, lost }: Standing,
  last: Line | null,
  line: { readonly forced: boolean; readonly roots?: readonly string[] | undefined },
): Standing {
  const gone = line.forced && last?.receipts ? [last.receipts] : [];
  return { roots: line.roots ?? roots, lost: [...new Set([...lost, ...gone])] };
}

function parseLine(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The sentence that says how to look at two histories, and how to accept the newer. */
type Acceptance = (before: string, now: string | null) => string;

const acceptance =
  ({ path }: ControlRepository, config: string): Acceptance =>
  (before, now) =>
    `look with: git -C ${path} log --graph ${shortId(before)} ${now === null ? '' : `${shortId(now)} `}; ` +
    (now === null
      ? 'have the branch pushed again as it was'
      : `if it is meant, accept it with: signpipe watch -c ${config} --accept-history ${now}`);

async function judgeRequests(
  repository: ControlRepository,
  before: string | null,
  now: string | null,
  how: Acceptance,
): Promise<void> {
  if (before === null || before === now) return;
  const branch = repository.branches.requests;
  if (now === null)
    throw alarm('history-rewound', `${branch} is gone; it stood at ${shortId(before)}`, how(before, now));
  if (await repository.isAncestor(before, now)) return;
  if (await isRewind(repository, before, now))
    throw alarm(
      'history-rewound',
      `${branch} was set back from ${shortId(before)} to ${shortId(now)}`,
      how(before, now),
    );
  throw alarm(
    'history-rewritten',
    `${branch} was rewritten: it stood at ${shortId(before)}, which the history of ${shortId(now)} does not have`,
    how(before, now),
  );
}

/** Whether `now` lies in the history of `before`, which a clone made anew may not have. */
async function isRewind(repository: ControlRepository, before: string, now: string): Promise<boolean> {
  return (await repository.hasCommit(before)) && (await repository.isAncestor(now, before));
}

async function judgeReceipts(
  repository: ControlRepository,
  before: string | null,
  now: string | null,
  how: Acceptance,
): Promise<void> {
  if (before === null || before === now) return;
  if (now !== null && (await repository.isAncestor(before, now))) return;
  const branch = repository.branches.receipts;
  throw alarm(
    'receipts-rewound',
    `${branch} has lost receipts: it stood at ${shortId(before)}, and is now ${now === null ? 'gone' : `at ${shortId(now)}`}`,
    how(before, now),
  );
}

async function judgeNewReceipts(
  repository: ControlRepository,
  before: string | null,
  { requests, receipts }: MainHeads,
  how: Acceptance,
  check: JudgeOptions['checkReceipt'],
): Promise<void> {
  if (receipts === null || receipts === before) return;
  const known = before === null ? [] : [before];
  const line = (await repository.firstParents(receipts, known)).map((step) => step.id).reverse();
  for (let at = 0; at < line.length; at += BATCH) {
    const batch = line.slice(at, at + BATCH);
    const checked = await Promise.allSettled(batch.map((commit) => checkOne(commit, receipts, how, check)));
    const failed = checked.find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
  }
  const ours = new Set(line);
  const exclude = requests === null ? known : [...known, requests];
  const strange = (await repository.commitsBetween(receipts, exclude)).filter((commit) => !ours.has(commit));
  if (strange.length > 0)
    throw alarm(
      'history-forked',
      `${repository.branches.receipts} answers requests that ${repository.branches.requests} does not have, such as ${shortId(strange.at(-1) ?? '')}: somebody was shown another history`,
      how(strange.at(-1) ?? receipts, requests ?? receipts),
    );
}

async function checkOne(
  commit: string,
  tip: string,
  how: Acceptance,
  check: JudgeOptions['checkReceipt'],
): Promise<void> {
  try {
    await check?.(commit);
  } catch (error) {
    if (!isRefused(error)) throw error;
    throw alarm(
      'receipts-foreign',
      `the receipt branch has gained ${shortId(commit)}, which none of our keys made: ${error.message}`,
      how(commit, tip),
      error,
    );
  }
}
