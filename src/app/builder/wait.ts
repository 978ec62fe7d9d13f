import { setTimeout as sleep } from 'node:timers/promises';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { shortId } from '../../lib/git/objects.ts';
import { requireNotOlder } from '../../protocol/control/receipt-time.ts';
import {
  readReceipt,
  receiptsSince,
  type FoundReceipt,
  type Receipt,
} from '../../protocol/control/receipt.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { readRequest, type Request } from '../../protocol/control/request.ts';
import { notAllowed, SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import type { RequestedFile } from '../../protocol/control/zipname.ts';
import { requireAnswersRequest } from './check-receipt.ts';
import { whyWaiting } from './why-waiting.ts';
import { firstAnswer, requestMeant } from './repeated-requests.ts';
import { receiptSigners, type BuilderSession } from './session.ts';
import { hintOfRefusal, explainFailedDownload } from './same-name-requests.ts';
import { downloadSigned } from './download-signed.ts';
import { verifyReceiptSignature } from './receipt-signature.ts';

export interface WaitOptions {
  /** Milliseconds. */
  readonly timeout: number;
  /** Where the signed files go; null downloads nothing. */
  readonly output: string | null;
  /** What the signed files are proved against. */
  readonly originals?: readonly string[] | undefined;
  /** Take files signed with a test certificate. */
  readonly allowTest: boolean;
  /** The request was made by this very process: its receipt cannot have come before. */
  readonly justMade?: boolean | undefined;
  /** Milliseconds between looks; 2 s unless given. */
  readonly interval?: number;
}

/** What came back. */
export interface Waited {
  readonly receipt: Receipt;
  /** The receipt's commit. */
  readonly commit: string;
  /** Paths of the downloaded files. */
  readonly files: readonly string[];
}

/**
 * Looks until there is something, or time is up. No one who waits is hit by one failed look: the next
 * may succeed; only when the last one failed, too, does the time-out say why.
 */
async function until<T>(
  what: string,
  look: () => Promise<T | null>,
  { deadline, interval = 2000 }: { deadline: number; interval?: number | undefined },
  say: (line: string) => void,
  why: () => string | null = () => null,
): Promise<T> {
  for (;;) {
    let trouble: SignpipeError | null = null;
    try {
      const found = await look();
      if (found !== null) return found;
    } catch (error) {
      if (!(error instanceof SignpipeError) || !error.retryable) throw error;
      trouble = error;
    }
    const left = deadline - Date.now();
    if (left <= 0) throw timedOut(what, trouble, why());
    if (trouble) say(`${trouble.message}; trying again`);
    await sleep(Math.min(left, interval));
  }
}

/** `why` is what the request waits for, as far as that can be seen. */
function timedOut(what: string, trouble: SignpipeError | null, why: string | null): SignpipeError {
  const reason = trouble?.message ?? why;
  const hint =
    trouble?.hint ?? `wait again with the same request id${why === null ? '; is the signer running?' : ''}`;
  return new SignpipeError(
    'timeout',
    'wait-timeout',
    `${what} was not answered in time${reason === null ? '' : `: ${reason}`}`,
    { hint, cause: trouble },
  );
}

/**
 * Refuses a receipt that no trusted key signed, that is older than its request, or that speaks of other bytes than
 * were asked for. `cameNow`: it came while this process was waiting, so its key has to be good now too. Returns what
 * was asked for.
 */
async function checkReceipt(
  session: BuilderSession,
  found: FoundReceipt,
  allowed: AllowedSigners,
  cameNow: boolean,
): Promise<readonly RequestedFile[]> {
  const { committedAt } = verifyReceiptSignature(
    found.commit.raw,
    allowed,
    cameNow ? { now: new Date() } : {},
  );
  const request = await readRequest(session.repository, found.receipt.request.id);
  requireNotOlder(committedAt, request);
  if (found.receipt.outcome === 'signed') requireAnswersRequest(found.receipt.files, request.files);
  return request.files;
}

/** Finds the receipt for a request, looking only at what is new on the branch each time. */
function receiptFinder(
  { repository }: BuilderSession,
  request: string,
): (tip: string | null) => Promise<FoundReceipt | null> {
  let seenTo: string | null = null;
  return async (tip) => {
    if (tip === null || tip === seenTo) return null;
    const steps = await receiptsSince(repository, tip, seenTo);
    const step = steps.find((each) => each.request === request);
    const found = step ? await readReceipt(repository, step.id) : null;
    seenTo = tip;
    return found;
  };
}

/** Says that a request is not answered yet, and what it waits for as far as that can be seen, whenever that changes. */
class WaitingReport {
  /** What stands in its way; null if nothing is known to. */
  why: string | null = null;
  private said: string | null = null;
  private request: Request | null = null;

  constructor(
    private readonly session: BuilderSession,
    private readonly id: string,
    private readonly allowed: AllowedSigners,
  ) {}

  async look(heads: Heads): Promise<void> {
    const { repository, say } = this.session;
    this.request ??= await readRequest(repository, this.id);
    this.why = await whyWaiting(repository, this.request, heads, this.allowed);
    const line = this.why ?? 'waiting for the signer to answer';
    if (line !== this.said) say(`request ${shortId(this.id)}: ${line}`);
    this.said = line;
  }
}

async function refused({ repository }: BuilderSession, { receipt }: FoundReceipt): Promise<SignpipeError> {
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
 * Waits until a request is answered, checks the receipt's signature and what it answers, and takes
 * the signed files, held to the receipt's digests, or proved by the originals. Throws the refusal (exit status 3), the failure
 * (1), or `wait-timeout` (4).
 */
export async function wait(session: BuilderSession, request: string, options: WaitOptions): Promise<Waited> {
  const allowed = await receiptSigners(session.config);
  const times = { deadline: Date.now() + options.timeout, interval: options.interval };
  let before: Heads | undefined;
  const named = async (): Promise<string> => {
    const heads = await session.repository.fetch();
    before ??= heads;
    return requestMeant(session, await session.repository.resolveCommit(request));
  };
  const id = await until(`request ${shortId(request)}`, named, times, session.say);
  const find = receiptFinder(session, id);
  const waiting = new WaitingReport(session, id, allowed);
  const look = async (): Promise<FoundReceipt | null> => {
    const heads = await session.repository.fetch();
    const receipt = await find(heads.receipts);
    if (receipt === null) await waiting.look(heads);
    return receipt;
  };
  const answer = await until(`request ${shortId(id)}`, look, times, session.say, () => waiting.why);
  const found = await firstAnswer(session, answer, allowed);
  const known = options.justMade === true ? null : (before?.receipts ?? null);
  const cameNow = known === null || !(await session.repository.isAncestor(found.id, known));
  const requested = await checkReceipt(session, found, allowed, cameNow);
  if (found.receipt.outcome !== 'signed') throw await refused(session, found);
  if (found.receipt.test && !options.allowTest)
    throw notAllowed('test-certificate', `request ${shortId(id)} was signed with a test certificate`, {
      hint: 'to take it anyway, give --allow-test-certificate',
    });
  const { output, originals } = options;
  const files =
    output === null
      ? []
      : await downloadSigned(session, { files: found.receipt.files, requested }, output, originals).catch(
          async (error: unknown) => {
            throw await explainFailedDownload(session.repository, found, allowed, error);
          },
        );
  return { receipt: found.receipt, commit: found.id, files };
}
