import { isRefused, SignpipeError } from '../../lib/errors.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { ControlRepository, MainHeads } from './repository.ts';

/** Receipts that are checked at the same time; Git's reader delivers them in one stream. */
const BATCH = 200;

export const alarm = (code: string, message: string, hint: string, cause?: unknown): SignpipeError =>
  new SignpipeError('alarm', code, message, { hint, cause });

export const nameOf = (head: string | null): string => (head === null ? '(gone)' : shortId(head));

export interface HeadsJudgement {
  /** No heads had been accepted before: these are accepted as they are, which should be logged. */
  first: boolean;
  /** The heads differ from the last accepted ones. */
  changed: boolean;
}

export interface JudgeOptions {
  /** Throws unless a new commit on the receipt branch is signed by a key whose receipts we accept. */
  checkReceipt?: (commit: string) => Promise<void>;
  /** The configuration file, for the command in a hint. */
  config?: string;
}

/**
 * Whether the remote's heads continue those that were accepted `before`. Throws an alarm if they do not:
 * `history-rewound` (the request branch is back at an earlier commit, or gone), `history-rewritten` (it lacks accepted
 * commits and has others instead), `history-forked` (new receipts answer requests that the request branch does not
 * have: another signer was shown another history), `receipts-rewound`, `receipts-foreign`.
 */
export async function judgeHeads(
  repository: ControlRepository,
  before: MainHeads | null,
  heads: MainHeads,
  { checkReceipt, config = 'signer.yaml' }: JudgeOptions,
): Promise<HeadsJudgement> {
  const changed = before?.requests !== heads.requests || before.receipts !== heads.receipts;
  if (!changed) return { first: false, changed };
  const context = { repository, how: acceptance(repository, config), checkReceipt };
  const requests = before?.requests ?? null;
  const receipts = before?.receipts ?? null;
  await judgeRequests(context, requests, heads.requests);
  await judgeReceipts(context, receipts, heads.receipts);
  await judgeNewReceipts(context, receipts, heads);
  return { first: before === null, changed };
}

/** Makes the hint that says how to compare two histories and how to accept the newer. */
type Acceptance = (before: string, now: Head) => string;

type Head = string | null;

interface JudgeContext {
  readonly repository: ControlRepository;
  readonly checkReceipt: JudgeOptions['checkReceipt'];
  readonly how: Acceptance;
}

const acceptance =
  ({ path }: ControlRepository, config: string): Acceptance =>
  (before, now) =>
    `look with: git -C ${path} log --graph ${shortId(before)} ${now === null ? '' : `${shortId(now)} `}; ` +
    (now === null
      ? 'have the branch pushed again as it was'
      : `if it is meant, accept it with: signpipe watch -c ${config} --accept-history ${now}`);

async function judgeRequests({ repository, how }: JudgeContext, before: Head, now: Head): Promise<void> {
  if (before === null || before === now) return;
  const branch = repository.branches.requests;
  if (now === null)
    throw alarm('history-rewound', `${branch} is gone; it was at ${shortId(before)}`, how(before, now));
  if (await repository.isAncestor(before, now)) return;
  if (await isRewind(repository, before, now))
    throw alarm(
      'history-rewound',
      `${branch} was set back from ${shortId(before)} to ${shortId(now)}`,
      how(before, now),
    );
  throw alarm(
    'history-rewritten',
    `${branch} was rewritten: it was at ${shortId(before)}, which the history of ${shortId(now)} does not have`,
    how(before, now),
  );
}

/** Whether `now` is in the history of `before`, which a new clone may not have. */
async function isRewind(repository: ControlRepository, before: string, now: string): Promise<boolean> {
  return (await repository.hasCommit(before)) && (await repository.isAncestor(now, before));
}

async function judgeReceipts({ repository, how }: JudgeContext, before: Head, now: Head): Promise<void> {
  if (before === null || before === now) return;
  if (now !== null && (await repository.isAncestor(before, now))) return;
  const branch = repository.branches.receipts;
  throw alarm(
    'receipts-rewound',
    `${branch} has lost receipts: it was at ${shortId(before)}, and is now ${now === null ? 'gone' : `at ${shortId(now)}`}`,
    how(before, now),
  );
}

async function judgeNewReceipts(
  context: JudgeContext,
  before: Head,
  { requests, receipts }: MainHeads,
): Promise<void> {
  const { repository, how } = context;
  if (receipts === null || receipts === before) return;
  const earlier = before === null ? [] : [before];
  const newReceipts = (await repository.firstParents(receipts, earlier)).map((step) => step.id).reverse();
  for (let at = 0; at < newReceipts.length; at += BATCH) {
    const batch = newReceipts.slice(at, at + BATCH);
    const checked = await Promise.allSettled(batch.map((commit) => checkOne(context, commit, receipts)));
    const failed = checked.find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
  }
  const ours = new Set(newReceipts);
  const exclude = requests === null ? earlier : [...earlier, requests];
  const unknown = (await repository.commitsBetween(receipts, exclude)).filter((commit) => !ours.has(commit));
  if (unknown.length > 0)
    throw alarm(
      'history-forked',
      `${repository.branches.receipts} answers requests that ${repository.branches.requests} does not have, such as ${shortId(unknown.at(-1) ?? '')}: another reader was shown another history`,
      how(unknown.at(-1) ?? receipts, requests ?? receipts),
    );
}

async function checkOne({ how, checkReceipt }: JudgeContext, commit: string, tip: string): Promise<void> {
  try {
    await checkReceipt?.(commit);
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
