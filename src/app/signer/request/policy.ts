import { verifyCommitSignature, type CommitSignature } from '../../../lib/git/commit-signature.ts';
import type { Origin } from '../../../protocol/control/commit-origin.ts';
import type { Request } from '../../../protocol/control/request.ts';
import { shortId } from '../../../lib/git/objects.ts';
import type { RequestedFile } from '../../../protocol/control/zipname.ts';
import { notAllowed, SignpipeError } from '../../../lib/errors.ts';
import { requireAttachableNames } from '../attachments/attachment-names.ts';
import { makesAttachments } from '../attachments/attachments.ts';
import type { EarlierAnswer } from '../state/answered-index.ts';
import type { Channel } from '../channel/channel.ts';

/** Who made a request, as far as its signature proves it. */
export interface Requester {
  /** Principal; null for an unsigned request. */
  readonly principal: string | null;
  /** `SHA256:` fingerprint of the key, or null. */
  readonly key: string | null;
  /** All names in the certificate, if a certificate signed. */
  readonly certified?: readonly string[];
}

/** The refusal of a request that was answered before, perhaps under another commit id. */
export function repeated({ id }: Request, { request, receipt }: EarlierAnswer): SignpipeError {
  const settled =
    receipt === null
      ? 'which control.since says is not to be answered'
      : `which receipt ${shortId(receipt)} answered`;
  const what =
    request === id
      ? `was answered before, by a receipt that the receipt branch has lost: ${shortId(receipt ?? '')}`
      : `is request ${shortId(request)} in another form, ${settled}: the same text, signed by the same key`;
  return notAllowed('request-repeated', `request ${shortId(id)} ${what}`, {
    hint: 'signpipe wait finds the earlier answer by either id',
  });
}

/** Throws `request-foreign` unless a request is for this repository. A vouch is refused by `judge` instead. */
export function requireOurs({ id, roots, vouch }: Request, origin: Origin): void {
  if (vouch) return;
  if (!origin.isForeign(id) && origin.isMeant(roots)) return;
  const why = origin.isForeign(id)
    ? 'descends from none of the pinned roots of this control repository'
    : `says that it is for another control repository: Control: ${roots.join(', ')}`;
  throw notAllowed('request-foreign', `request ${shortId(id)} ${why}`, {
    hint: 'if it is meant for this repository, commit it on its request branch; find out how it came here',
  });
}

/** The channel that a request asks for; throws `channel-unknown`. */
export function channelOf(request: Request, channels: ReadonlyMap<string, Channel>): Channel {
  const channel = channels.get(request.channel);
  if (channel) return channel;
  throw notAllowed(
    'channel-unknown',
    `request ${shortId(request.id)}: there is no channel "${request.channel}"`,
    {
      hint: `the signer has: ${[...channels.keys()].join(', ')}`,
    },
  );
}

/**
 * Who signed the request commit. Its key must be allowed both at the time that the commit claims and now: the thief of
 * an expired key would claim an old time. Throws `commit-...` (not-allowed, invalid).
 */
function requesterOf(request: Request, channel: Channel, now: Date): Requester {
  const anyone = { principal: null, key: null };
  const open = channel.config.trust.unsignedRequests === 'accept';
  if (!channel.allowed) return anyone;
  let signature: CommitSignature;
  try {
    signature = verifyCommitSignature(request.raw, channel.allowed, { now });
  } catch (error) {
    if (open) return anyone;
    throw error;
  }
  if (!channel.mayRequest(signature.principal))
    throw notAllowed(
      'requester-not-allowed',
      `request ${shortId(request.id)}: ${signature.principal} may not request on channel "${request.channel}"`,
      {
        hint: 'ask the signer operator to add you to trust.requesters of the channel',
      },
    );
  const { principal, fingerprint, certified } = signature;
  return { principal, key: fingerprint, ...(certified && { certified }) };
}

/** Who made a request that is refused for another reason; null values if its signature does not prove it. */
export function requesterIfProven(
  request: Request,
  channels: ReadonlyMap<string, Channel>,
  now: Date,
): Requester {
  try {
    return requesterOf(request, channelOf(request, channels), now);
  } catch (error) {
    if (error instanceof SignpipeError) return { principal: null, key: null };
    throw error;
  }
}

function requirePin(file: RequestedFile, channel: Channel): void {
  if (
    channel.config.trust.pins === 'accept-unpinned' ||
    file.sha256 !== undefined ||
    file.entries !== undefined
  )
    return;
  throw notAllowed('unpinned', `${file.name}: zipname does not say which bytes are meant`, {
    hint: `write the digest before the name: sha256sum ${file.name} > zipname`,
  });
}

function requireName(file: RequestedFile, channel: Channel): void {
  if (channel.mayName(file.name)) return;
  throw notAllowed(
    'name-not-allowed',
    `${file.name}: files of this name are not signed on channel "${channel.config.name}"`,
    {
      hint: `allowed are: ${channel.config.trust.names.join(', ')}`,
    },
  );
}

/** Judges everything that the commit alone decides, before any file is fetched; returns who made the request. */
export function judge(request: Request, channel: Channel, now: Date): Requester {
  const requester = requesterOf(request, channel, now);
  if (request.vouch)
    throw notAllowed(
      'vouch-not-request',
      `request ${shortId(request.id)} is a vouch, by a line "Vouch:" in its message: it was brought here from a branch of vouches`,
      {
        hint: 'find out who merged it; a commit that is meant as a request has no line "Vouch:" anywhere in its message',
      },
    );
  if (request.error) throw request.error;
  const names = request.files.map(({ name }) => name);
  requireAttachableNames(names, makesAttachments(channel.config));
  for (const file of request.files) {
    requireName(file, channel);
    requirePin(file, channel);
  }
  return requester;
}
