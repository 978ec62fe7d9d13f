import { RECEIPT_LIMIT } from '../../../protocol/control/receipt.ts';
import {
  fileWithoutSignatures,
  RECEIPT_VERSION,
  receiptSchema,
  type Receipt,
} from '../../../protocol/control/receipt-schema.ts';
import type { ReceiptWriter } from '../../../protocol/control/write-receipt.ts';
import type { Request } from '../../../protocol/control/request.ts';
import type { Vouch } from '../../../protocol/control/vouch.ts';
import { isRefused, notAllowed, SignpipeError } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { certificateIdentity } from '../../../lib/x509/certificate-identity.ts';
import { VERSION } from '../../../lib/version.ts';
import type { EarlierAnswer } from '../state/answered-index.ts';
import { adviceFor } from './builder-advice.ts';
import type { Channel } from '../channel/channel.ts';
import type { Requester } from './policy.ts';

/** What is known about a request so far: enough for a receipt at any time. */
export interface ReceiptDraft {
  readonly signer: NonNullable<Receipt['signer']>;
  readonly request: Request;
  readonly requester: Requester;
  readonly channel: Channel | null;
  readonly vouches: readonly Vouch[];
  /** The earlier answer to the same request under another commit id. */
  readonly repeats?: EarlierAnswer;
  readonly times: Receipt['times'];
}

const LAST_TIME = Date.UTC(9999, 11, 31, 23, 59, 59);

/** Limits a commit's time, which its author chose, to what RFC 3339 can express. */
const timeText = (time: Date): string =>
  new Date(Math.min(Math.max(time.getTime(), 0), LAST_TIME)).toISOString();

/** The draft for a request that has not been examined yet. */
export const newDraft = (
  request: Request,
  seen: Date,
  { identity, signer }: ReceiptWriter,
): ReceiptDraft => ({
  signer: { name: identity.name, key: signer.fingerprint },
  request,
  requester: { principal: null, key: null },
  channel: null,
  vouches: [],
  times: {
    requested: timeText(request.committedAt),
    seen: seen.toISOString(),
    answered: seen.toISOString(),
  },
});

/** Makes a receipt from a draft. */
export function receiptOf(draft: ReceiptDraft, outcome: Receipt['outcome'], more: Partial<Receipt>): Receipt {
  const { signer, request, requester, channel, vouches, repeats, times } = draft;
  return {
    version: RECEIPT_VERSION,
    signpipe: VERSION,
    signer,
    request: {
      id: request.id,
      signer: requester.principal,
      key: requester.key,
      requestedAt: times.requested,
      ...(request.sourceRevision === undefined ? {} : { sourceRevision: request.sourceRevision }),
      channel: request.channel,
    },
    outcome,
    ...(repeats && { repeats: earlier(repeats) }),
    test: channel?.test ?? false,
    vouches: vouches.map(({ name, signer, fingerprint, commit }) => ({
      name,
      signer,
      key: fingerprint,
      commit,
    })),
    files: [],
    times,
    ...more,
  };
}

const earlier = ({ request, receipt }: EarlierAnswer): NonNullable<Receipt['repeats']> => ({
  request,
  ...(receipt !== null && { receipt }),
});

/** The longest text in a receipt. */
const MOST_TEXT = 4000;

/** A message on one line, with control characters escaped: it may quote hostile text. */
const oneLine = (text: string, limit = MOST_TEXT): string => printable(text, limit).slice(0, limit);

/** The reason in a receipt without signatures, always with a hint for the builder. */
export function reasonOf(error: SignpipeError): NonNullable<Receipt['reason']> {
  return { code: error.code, message: oneLine(error.message), hint: oneLine(adviceFor(error)) };
}

/** The receipt of a request that is rejected or failed. */
export function refusalOf(draft: ReceiptDraft, error: SignpipeError): Receipt {
  const outcome = isRefused(error) ? 'rejected' : 'failed';
  const files = draft.request.files.map((file) => ({ ...fileWithoutSignatures(file), attachments: [] }));
  return receiptOf(draft, outcome, { reason: reasonOf(error), files });
}

/**
 * The receipt of a request whose files were signed but could not all be delivered. It nevertheless names every
 * signature: the bytes were on their way, and the owner of the exchange may have them. Only delivered files have an
 * output.
 */
export function undeliveredOf(receipt: Receipt, delivered: readonly string[], error: SignpipeError): Receipt {
  const isDelivered = ({ name }: { readonly name: string }): boolean => delivered.includes(name);
  const files = receipt.files.map(({ output, ...rest }) => ({
    ...(output && isDelivered(output) ? { output } : {}),
    ...rest,
    attachments: (rest.attachments ?? []).filter(isDelivered),
  }));
  const reason = reasonOf(error);
  const note = delivered.length > 0 ? `; delivered before that: ${delivered.join(', ')}` : '';
  const message = `${reason.message}${note}`.slice(0, MOST_TEXT);
  const attachments = receipt.attachments?.filter(isDelivered);
  return {
    ...receipt,
    outcome: 'failed',
    reason: { ...reason, message },
    files,
    ...(attachments ? { attachments } : {}),
  };
}

/** Checks a receipt before anything leaves this machine: throws `receipt-unsound` or `receipt-too-large`. */
export function requireValidReceipt(receipt: Receipt): void {
  const { error } = receiptSchema.safeParse(receipt);
  if (error)
    throw new SignpipeError(
      'local',
      'receipt-unsound',
      `the receipt would be invalid: ${error.issues[0]?.path.join('.') ?? ''}: ${error.issues[0]?.message ?? ''}`,
      { hint: 'nothing was delivered; this is a bug: please report it', cause: error },
    );
  const size = Buffer.byteLength(JSON.stringify(receipt, null, 2));
  if (size > RECEIPT_LIMIT)
    throw notAllowed(
      'receipt-too-large',
      `its receipt would have ${size} bytes, more than the ${RECEIPT_LIMIT} that readers accept`,
      { hint: 'submit several requests, each with fewer programs' },
    );
}

/** What a receipt states about the certificate of its signatures. */
export function certificateOf(leaf: Certificate): Required<Pick<Receipt, 'certificate' | 'identity'>> {
  const { subject, issuer, serial, sha256, notBefore, notAfter } = leaf;
  return {
    certificate: {
      subject,
      issuer,
      serial,
      sha256,
      notBefore: notBefore.toISOString(),
      notAfter: notAfter.toISOString(),
    },
    identity: certificateIdentity(leaf),
  };
}
