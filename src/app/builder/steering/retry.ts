import { notAllowed, usage } from '../../../lib/errors.ts';
import { sha256OfSource } from '../../../lib/bytes/hash.ts';
import { shortId } from '../../../lib/git/objects.ts';
import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { RequestedFile } from '../../../protocol/control/zipname.ts';
import { committerOf } from '../../config/open.ts';
import { pushRequest } from '../push-request.ts';
import type { BuilderSession } from '../session.ts';
import { findRequest, type KnownRequest } from './known-request.ts';

/** Files up to this size are read back from the exchange to compare their digest; of larger ones only the size is compared. */
const READ_BACK = 64 * 1024 * 1024;

/** The answer of a request that may be made again. Throws `retry-…` for any other. */
function requireRetryable({ request, answer }: KnownRequest): Receipt {
  const id = shortId(request.id);
  if (!answer)
    throw usage('retry-unanswered', `request ${id} has no answer yet: there is nothing to retry`, {
      hint: `wait for it: signpipe wait ${id}; or cancel it first: signpipe cancel ${id}`,
    });
  if (answer.receipt.outcome === 'signed')
    throw usage('retry-signed', `request ${id} was signed: receipt ${shortId(answer.id)}`, {
      hint: `download the files: signpipe wait ${id}; to have them signed again, submit them`,
    });
  if (request.error)
    throw notAllowed('retry-unreadable', `request ${id} can never be signed: ${request.error.message}`, {
      hint: 'correct it, and submit the files again',
      cause: request.error,
    });
  return answer.receipt;
}

/** Why the exchange no longer has a file as it was requested; null if it has, as far as can be told. */
async function problemOf(
  { exchange, config }: BuilderSession,
  { name, sha256 }: RequestedFile,
  receipt: Receipt,
): Promise<string | null> {
  const path = `${config.exchange.incoming}/${name}`;
  const attributes = await exchange.stat(path);
  if (attributes === null) return 'is no longer on the exchange';
  const fetched = receipt.files.find(({ input }) => input.name === name)?.input;
  const isSame = fetched?.sha256 !== undefined && fetched.sha256 === sha256;
  if (isSame && fetched.size !== undefined && fetched.size !== attributes.size)
    return `was replaced on the exchange: it has ${attributes.size} bytes, not ${fetched.size}`;
  if (sha256 === undefined || attributes.size > READ_BACK) return null;
  const file = await exchange.openRead(path);
  if (!file) return null;
  try {
    return (await sha256OfSource(file)) === sha256 ? null : 'was replaced on the exchange by other bytes';
  } finally {
    await file.close();
  }
}

/**
 * Requests the same bytes again, with the trailers of a request that failed or was rejected; nothing is uploaded. Throws
 * `retry-unanswered`, `retry-signed`, and `retry-upload` (usage) if the exchange lacks a file.
 */
export async function retry(session: BuilderSession, text: string): Promise<string> {
  await committerOf(session);
  const known = await findRequest(session, text);
  const { request } = known;
  const receipt = requireRetryable(known);
  for (const file of request.files) {
    const problem = await problemOf(session, file, receipt);
    if (problem !== null)
      throw usage('retry-upload', `${file.name} ${problem}`, {
        hint: `upload and request it again: signpipe submit ${file.name}`,
      });
  }
  const { files, sourceRevision: revision, channel } = request;
  const answered = receipt.reason ? `${receipt.outcome} (${receipt.reason.code})` : receipt.outcome;
  session.say(`request ${shortId(request.id)} was ${answered}: requesting the same bytes again`);
  return pushRequest(session, {
    files,
    revision,
    ...(channel === 'default' ? {} : { channel }),
    retryOf: request.id,
  });
}
