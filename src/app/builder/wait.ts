import { setTimeout as sleep } from 'node:timers/promises';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { shortId } from '../../lib/git/objects.ts';
import { requireNotOlder } from '../../protocol/control/receipt-time.ts';
import { readReceipt, type FoundReceipt } from '../../protocol/control/receipt.ts';
import { receiptsSince } from '../../protocol/control/receipt-history.ts';
import type { Receipt } from '../../protocol/control/receipt-schema.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { readRequest } from '../../protocol/control/request.ts';
import { notAllowed, SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { requireAnswersRequest, verifyReceiptSignature } from './check-receipt.ts';
import { WaitingReport } from './why-waiting.ts';
import { answeringReceipt, requestNamed } from './answering-receipt.ts';
import { receiptSigners, type BuilderSession } from './session.ts';
import { hintOfRefusal, explainFailedDownload } from './same-name-requests.ts';
import { downloadSigned } from './download-signed.ts';

export interface WaitOptions {
  /** Milliseconds. */
  readonly timeout: number;
  /** The folder for the signed files. */
  readonly output: string;
  /** The files that the signed files are proved against. */
  readonly originals?: readonly string[] | undefined;
  /** Accepts files signed with a test certificate. */
  readonly allowTest: boolean;
  /** This process made the request, so its receipt cannot be older than the waiting. */
  readonly justMade?: boolean | undefined;
  /** Milliseconds between polls; 2 s unless given. */
  readonly interval?: number;
}

/** The answer to a request. */
export interface Waited {
  readonly receipt: Receipt;
  /** The receipt's commit. */
  readonly commit: string;
  /** Paths of the downloaded files. */
  readonly files: readonly string[];
}

interface PollTimes {
  /** When to give up, by the monotonic clock (`performance.now()`). */
  readonly deadline: number;
  readonly interval?: number | undefined;
}

/**
 * Calls `poll` until it returns something, or time is up. A failure that may pass does not end the waiting; only if
 * the last call fails too does the time-out report it.
 */
async function pollUntil<T>(
  what: string,
  poll: () => Promise<T | null>,
  { deadline, interval = 2000 }: PollTimes,
  say: (line: string) => void,
  why: () => string | null = () => null,
): Promise<T> {
  for (;;) {
    let failure: SignpipeError | null = null;
    try {
      const result = await poll();
      if (result !== null) return result;
    } catch (error) {
      if (!(error instanceof SignpipeError) || !error.retryable) throw error;
      failure = error;
    }
    const left = deadline - performance.now();
    if (left <= 0) throw timedOut(what, failure, why());
    if (failure) say(`${failure.message}; trying again`);
    await sleep(Math.min(left, interval));
  }
}

/** The error if time is up. `why` is what the request waits for, as far as that is known. */
function timedOut(what: string, failure: SignpipeError | null, why: string | null): SignpipeError {
  const reason = failure?.message ?? why;
  const hint =
    failure?.hint ?? `wait again with the same request id${why === null ? '; is the signer running?' : ''}`;
  return new SignpipeError(
    'timeout',
    'wait-timeout',
    `${what} was not answered in time${reason === null ? '' : `: ${reason}`}`,
    { hint, cause: failure },
  );
}

/**
 * Refuses a receipt that no trusted key signed, that is older than its request, or that is about other bytes than the
 * request. `isNew`: it arrived while this process was waiting, so its key has to be valid now too. Returns the files
 * of the request.
 */
async function checkReceipt(
  session: BuilderSession,
  answer: FoundReceipt,
  allowed: AllowedSigners,
  isNew: boolean,
): Promise<readonly RequestedFile[]> {
  const { committedAt } = verifyReceiptSignature(
    answer.commit.raw,
    allowed,
    isNew ? { now: new Date() } : {},
  );
  const request = await readRequest(session.repository, answer.receipt.request.id);
  requireNotOlder(committedAt, request);
  if (answer.receipt.outcome === 'signed') requireAnswersRequest(answer.receipt.files, request.files);
  return request.files;
}

/** Finds the receipt for a request. Each call reads only the new commits of the branch. */
function receiptFinder(
  { repository }: BuilderSession,
  request: string,
): (tip: string | null) => Promise<FoundReceipt | null> {
  let seenTo: string | null = null;
  return async (tip) => {
    if (tip === null || tip === seenTo) return null;
    const steps = await receiptsSince(repository, tip, seenTo);
    const step = steps.find((each) => each.request === request);
    const answer = step ? await readReceipt(repository, step.id) : null;
    seenTo = tip;
    return answer;
  };
}

/** The error for a rejected or failed request. */
async function refusal({ repository }: BuilderSession, { receipt }: FoundReceipt): Promise<SignpipeError> {
  const { code = 'unknown', message = 'no reason was given' } = receipt.reason ?? {};
  const hint = await hintOfRefusal(repository, await repository.heads(), receipt);
  const kind = receipt.outcome === 'failed' ? 'unavailable' : 'not-allowed';
  return new SignpipeError(
    kind,
    code,
    `request ${shortId(receipt.request.id)} was ${receipt.outcome}: ${printable(message, 4000)}`,
    hint === undefined ? {} : { hint: printable(hint, 4000) },
  );
}

/**
 * Waits until a request is answered, checks the receipt's signature and its files, and downloads the signed files,
 * which must have the receipt's digests and match the originals. Throws the rejection (exit status 3), the failure (1),
 * or `wait-timeout` (4).
 */
export async function wait(session: BuilderSession, request: string, options: WaitOptions): Promise<Waited> {
  const { repository, say } = session;
  const allowed = await receiptSigners(session.config);
  const times = { deadline: performance.now() + options.timeout, interval: options.interval };
  let before: Heads | undefined;
  const resolve = async (): Promise<string> => {
    const heads = await repository.fetch();
    before ??= heads;
    return requestNamed(session, await repository.resolveCommit(request));
  };
  const id = await pollUntil(`request ${shortId(request)}`, resolve, times, say);
  const answer = await waitForReceipt(session, id, times, allowed);
  const previousTip = options.justMade === true ? null : (before?.receipts ?? null);
  const isNew = previousTip === null || !(await repository.isAncestor(answer.id, previousTip));
  const requested = await checkReceipt(session, answer, allowed, isNew);
  const { receipt } = answer;
  if (receipt.outcome !== 'signed') throw await refusal(session, answer);
  if (receipt.test && !options.allowTest)
    throw notAllowed('test-certificate', `request ${shortId(id)} was signed with a test certificate`, {
      hint: 'to accept it anyway, give --allow-test-certificate',
    });
  const { output, originals } = options;
  try {
    const files = await downloadSigned(session, { ...receipt, requested }, output, originals);
    return { receipt, commit: answer.id, files };
  } catch (error) {
    throw await explainFailedDownload(repository, answer, allowed, error);
  }
}

/** Waits for the receipt that answers a request, and reports what the request waits for whenever that changes. */
async function waitForReceipt(
  session: BuilderSession,
  id: string,
  times: PollTimes,
  allowed: AllowedSigners,
): Promise<FoundReceipt> {
  const { repository, say } = session;
  const find = receiptFinder(session, id);
  const waiting = new WaitingReport(session, id, allowed);
  const poll = async (): Promise<FoundReceipt | null> => {
    const heads = await repository.fetch();
    const receipt = await find(heads.receipts);
    if (receipt === null) await waiting.update(heads);
    return receipt;
  };
  const answer = await pollUntil(`request ${shortId(id)}`, poll, times, say, () => waiting.why);
  return answeringReceipt(session, answer, allowed);
}
