import { AllowedSigners } from '../sshsig/allowed-signers.ts';
import { readHold, type Hold } from '../control/hold.ts';
import { shortId } from '../control/objects.ts';
import type { Heads } from '../control/repository.ts';
import type { Request } from '../control/request.ts';
import { vouchesFor, type Vouch } from '../control/vouch.ts';
import { notAllowed, usage } from '../errors.ts';
import type { Channel } from './channel.ts';
import type { Requester } from './policy.ts';
import type { Site } from './site.ts';

/** Whether a request that policy permits may be signed at this moment. */
export type Gate =
  | { readonly open: true; readonly vouches: readonly Vouch[] }
  | { readonly open: false; readonly why: string };

const closed = (why: string): Gate => ({ open: false, why });

const NOBODY = AllowedSigners.parse('', 'nobody');

/** One line, whatever the reason's lines: it must not pass for other lines of the log. */
function holdText({ by, since, commit, reason, ignored }: Hold): string {
  const why = reason === '' ? '' : `: ${reason.replaceAll('\n', ' ')}`;
  const [removal] = ignored;
  const still =
    removal === undefined ? '' : ` (its removal in ${shortId(removal)} is by nobody who may lift it)`;
  return `on hold by ${by ?? 'somebody unknown'} since ${since?.toISOString() ?? 'an unknown time'}, commit ${shortId(commit ?? '')}${why}${still}`;
}

/** A HOLD stops every channel; whoever the default channel allows lifts it. */
async function holdGate(site: Site, heads: Heads): Promise<Gate | null> {
  if (heads.requests === null) return null;
  const byDefault = site.channels.get('default');
  const allowed = byDefault?.allowed ?? NOBODY;
  const acceptUnsigned = byDefault?.config.trust.unsignedRequests === 'accept';
  const hold = await readHold(site.repository, heads.requests, { allowed, acceptUnsigned, now: site.now() });
  if (!hold.held) return null;
  return closed(holdText(hold));
}

/** A time lock counts from when this signer first saw the request: a commit's own time is its author's word. */
function delayGate(site: Site, channel: Channel, seen: Date): Gate | null {
  // Without a delay nothing may depend on a clock that was wrong for a while.
  if (channel.config.trust.delay === 0) return null;
  const until = seen.getTime() + channel.config.trust.delay;
  if (site.now().getTime() >= until) return null;
  return closed(`time lock until ${new Date(until).toISOString()}; a signed commit that adds HOLD stops it`);
}

const bytesSeen = (vouch: Vouch): string =>
  vouch.differing.map(({ what, vouched }) => `${what} as ${vouched}`).join(', ');

/**
 * Other builders must have got the same bytes. One who got different ones after the request was made
 * ends it; an older vouch for other bytes is only told, since the same name is built anew each night.
 */
async function vouchGate(
  site: Site,
  channel: Channel,
  request: Request,
  requester: Requester,
  heads: Heads,
): Promise<Gate> {
  const needed = channel.config.trust.vouches;
  if (needed === 0) return { open: true, vouches: [] };
  if (!channel.allowed)
    throw usage(
      'vouches-need-signers',
      `channel ${channel.config.name}: trust.vouches needs trust.allowedSigners`,
    );
  const { repository } = site;
  const found = await vouchesFor(repository, request, {
    allowed: channel.allowed,
    branches: heads.vouches,
    requests: heads.requests,
    requester:
      requester.principal === null || requester.key === null
        ? null
        : { principal: requester.principal, fingerprint: requester.key },
    now: site.now(),
  });
  const agreeing = found.filter((each) => each.agrees);
  const differing = found.filter((each) => each.differing.length > 0 && !each.agrees);
  for (const each of differing) {
    const { committer } = await repository.readCommit(each.commit);
    if (committer.at >= request.committedAt)
      throw notAllowed(
        'vouch-differs',
        `${each.signer} vouches for other bytes: saw ${bytesSeen(each)} (commit ${shortId(each.commit)})`,
        {
          hint: 'the two builds differ: find out why before either is signed',
        },
      );
  }
  if (agreeing.length >= needed) return { open: true, vouches: agreeing };
  const told = differing.map((each) => `; ${each.signer} vouched earlier for ${bytesSeen(each)}`).join('');
  return closed(`waiting for ${needed - agreeing.length} of ${needed} vouches${told}`);
}

/** Asks, in this order: is signing held, is the time lock over, have enough others vouched? */
export async function gateFor(
  site: Site,
  channel: Channel,
  request: Request,
  requester: Requester,
  heads: Heads,
  seen: Date,
): Promise<Gate> {
  return (
    (await holdGate(site, heads)) ??
    delayGate(site, channel, seen) ??
    (await vouchGate(site, channel, request, requester, heads))
  );
}
