import { verifyCommitSignature, type CommitSignature } from '../control/commit-signature.ts';
import type { Request } from '../control/request.ts';
import { shortId } from '../control/objects.ts';
import type { RequestedFile } from '../control/zipname.ts';
import { notAllowed } from '../errors.ts';
import type { Channel } from './channel.ts';

/** Who asked, as far as that could be proved. */
export interface Requester {
  /** Principal, or null where unsigned requests are accepted. */
  readonly principal: string | null;
  /** `SHA256:` fingerprint of the key, or null. */
  readonly key: string | null;
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
 * Who signed the request commit. Its key must be allowed both at the time the commit claims and now:
 * whoever stole an expired key would claim an old time. Throws `commit-...` (not-allowed, invalid).
 */
export function requesterOf(request: Request, channel: Channel, now: Date): Requester {
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
  return { principal: signature.principal, key: signature.fingerprint };
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

/** All that can be judged from the commit alone, before a byte of the zip is fetched. */
export function judge(request: Request, channel: Channel, now: Date): Requester {
  const requester = requesterOf(request, channel, now);
  if (request.vouch)
    throw notAllowed(
      'vouch-not-request',
      `request ${shortId(request.id)} is a vouch: somebody else brought it from a branch of vouches`,
      { hint: 'find out who merged it; whoever wants signatures commits a request, without a Vouch trailer' },
    );
  if (request.error) throw request.error;
  for (const file of request.files) {
    requireName(file, channel);
    requirePin(file, channel);
  }
  return requester;
}
