import type { Receipt } from '../control/receipt.ts';
import type { Request } from '../control/request.ts';
import type { Vouch } from '../control/vouch.ts';
import { SignpipeError } from '../errors.ts';
import { VERSION } from '../version.ts';
import type { Channel } from './channel.ts';
import type { Requester } from './policy.ts';

/** What is known of a request so far; a receipt can be drawn up from it at any moment. */
export interface Draft {
  readonly request: Request;
  readonly requester: Requester;
  readonly channel: Channel | null;
  readonly vouches: readonly Vouch[];
  readonly times: Receipt['times'];
}

/** A request of which nothing is known yet but that it is there. */
export const newDraft = (request: Request, seen: Date): Draft => ({
  request,
  requester: { principal: null, key: null },
  channel: null,
  vouches: [],
  times: {
    requested: request.committedAt.toISOString(),
    seen: seen.toISOString(),
    answered: seen.toISOString(),
  },
});

/** The receipt that a draft comes to. */
export function receiptOf(draft: Draft, outcome: Receipt['outcome'], more: Partial<Receipt>): Receipt {
  const { request, requester, channel, vouches, times } = draft;
  return {
    version: 1,
    signpipe: VERSION,
    request: {
      id: request.id,
      signer: requester.principal,
      key: requester.key,
      requestedAt: times.requested,
      ...(request.sourceRevision === undefined ? {} : { sourceRevision: request.sourceRevision }),
      channel: request.channel,
    },
    outcome,
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

/** Longer texts would not fit a receipt. */
const MOST_TEXT = 4000;

/** Why a request was not answered with signatures, as receipts say it. */
export const reasonOf = (error: SignpipeError): NonNullable<Receipt['reason']> => ({
  code: error.code,
  message: error.message.slice(0, MOST_TEXT),
  ...(error.hint === undefined ? {} : { hint: error.hint.slice(0, MOST_TEXT) }),
});

/** The receipt of a request that is refused, or that could not be served. */
export function refusalOf(draft: Draft, error: SignpipeError): Receipt {
  const outcome = error.kind === 'invalid' || error.kind === 'not-allowed' ? 'rejected' : 'failed';
  const files = draft.request.files.map(({ name, sha256 }) => ({
    input: { name, ...(sha256 === undefined ? {} : { sha256 }) },
    entries: 0,
    signed: [],
    kept: [],
  }));
  return receiptOf(draft, outcome, { reason: reasonOf(error), files });
}

/** The certificate that a channel signs with, as receipts say it. */
export function certificateOf(channel: Channel): NonNullable<Receipt['certificate']> {
  const [leaf] = channel.key.certificates;
  if (!leaf)
    throw new SignpipeError('local', 'key-without-certificate', 'the signing key has no certificate');
  const { subject, issuer, serial, sha256, notBefore, notAfter } = leaf;
  return {
    subject,
    issuer,
    serial,
    sha256,
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
  };
}
