import { shortId } from '../../lib/git/objects.ts';
import { readReceipt, type FoundReceipt } from '../../protocol/control/receipt.ts';
import { receiptsSince, unansweredRequests, type LookAfter } from '../../protocol/control/receipt-history.ts';
import type { Receipt } from '../../protocol/control/receipt-schema.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { listRequests, readRequest, type Request } from '../../protocol/control/request.ts';
import { zipnameLines, type RequestedFile } from '../../protocol/control/zipname.ts';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { verifyReceiptSignature } from './check-receipt.ts';

/**
 * Two requests for files with the same name use one place on the exchange: the later upload replaces the earlier one,
 * and so does the later signed file unless `exchange.delivered` keeps them apart. This module explains that to users;
 * nothing is decided by it.
 */

/** At most this many requests or receipts are read, the newest. */
const MAX_READ = 200;

const pinsOf = (file: RequestedFile): string => zipnameLines(file).join('\n');

/** The first of these files that a request names with other pins. */
const fileInConflict = (request: Request, files: readonly RequestedFile[]): RequestedFile | undefined =>
  files.find((file) =>
    request.files.some((other) => other.name === file.name && pinsOf(other) !== pinsOf(file)),
  );

async function requestsOf(repository: ControlRepository, ids: readonly string[]): Promise<Request[]> {
  const requests: Request[] = [];
  for (const id of ids.slice(-MAX_READ)) requests.push(await readRequest(repository, id));
  return requests;
}

/**
 * Where to begin looking for unanswered requests: after the one that the oldest of the newest receipts answers. Null,
 * for all requests, if there are few receipts. Only for speed: a submission takes no longer after years.
 */
async function lookAfter(repository: ControlRepository, { receipts }: Heads): Promise<LookAfter | null> {
  if (receipts === null) return null;
  const steps = await repository.newestFirstParents(receipts, MAX_READ);
  const oldest = steps.findLast(({ parents }) => parents.length === 2);
  const [, requests] = oldest?.parents ?? [];
  return steps.length < MAX_READ || !oldest || requests === undefined
    ? null
    : { requests, receipts: oldest.id };
}

/** Reports which of the newest unanswered requests will lose their file to an upload of these files. */
export async function warnOfPending(
  repository: ControlRepository,
  heads: Heads,
  files: readonly RequestedFile[],
  say: (line: string) => void,
): Promise<void> {
  const ids = await unansweredRequests(repository, heads, await lookAfter(repository, heads));
  const pending = await requestsOf(repository, ids);
  for (const request of pending) {
    const file = fileInConflict(request, files);
    if (file)
      say(
        `warning: request ${shortId(request.id)} is not answered yet and names another ${file.name}: this upload replaces that file, and the request will be refused; give another name with --as NAME`,
      );
  }
}

/** Codes of refusals that a later upload under the same name can explain. */
const REPLACED_UPLOAD = ['digest-differs', 'exchange-file-changed'];

/** The hint of a refusal; if a later request for a file of the same name explains it, a hint that names that request. */
export async function hintOfRefusal(
  repository: ControlRepository,
  { requests }: Heads,
  { request, reason }: Receipt,
): Promise<string | undefined> {
  const { code = '', hint } = reason ?? {};
  if (requests === null || !REPLACED_UPLOAD.includes(code)) return hint;
  const { files } = await readRequest(repository, request.id);
  const later = await requestsOf(repository, await listRequests(repository, requests, [request.id]));
  const other = later.find((each) => fileInConflict(each, files));
  if (!other) return hint;
  return `request ${shortId(other.id)}, made after this one, names another file of the same name, whose upload replaced this one: submit it again, under another name with --as NAME`;
}

const placesOf = ({ files }: Receipt): string[] =>
  files.flatMap(({ output }) => (output ? [output.path ?? output.name] : []));

/** The newest receipt after this one for a file that was delivered to the same place. */
async function laterDelivery(
  repository: ControlRepository,
  { receipts }: Heads,
  answer: FoundReceipt,
  allowed: AllowedSigners,
): Promise<{ receipt: Receipt; place: string } | null> {
  if (receipts === null) return null;
  const places = new Set(placesOf(answer.receipt));
  const steps = await receiptsSince(repository, receipts, answer.id);
  for (const { id, request } of steps.slice(-MAX_READ).reverse()) {
    if (request === null) continue;
    const { receipt, commit } = await readReceipt(repository, id);
    const place = placesOf(receipt).find((each) => places.has(each));
    if (place === undefined) continue;
    verifyReceiptSignature(commit.raw, allowed);
    return { receipt, place };
  }
  return null;
}

/**
 * Why a signed file could not be downloaded: `signed-file-replaced` if a later request's file was delivered to the same
 * place, else the failure itself.
 */
export async function explainFailedDownload(
  repository: ControlRepository,
  answer: FoundReceipt,
  allowed: AllowedSigners,
  failure: unknown,
): Promise<unknown> {
  if (!(failure instanceof SignpipeError) || failure.kind === 'usage' || failure.retryable) return failure;
  const later = await repository
    .fetch()
    .then((heads) => laterDelivery(repository, heads, answer, allowed))
    .catch(() => null);
  if (!later) return failure;
  const { receipt, place } = later;
  return invalid(
    'signed-file-replaced',
    `${place}: replaced by the signed file of request ${shortId(receipt.request.id)}, answered at ${receipt.times.answered}; that of this request is no longer on the exchange`,
    {
      hint: "submit it again, under another name with --as NAME; the signer's operator can keep requests apart (exchange.delivered)",
      cause: failure,
    },
  );
}
