import type { ChannelHealth } from '../../../protocol/control/signer-health.ts';
import { authorityHealth } from '../state/health.ts';
import type { Channel } from './channel.ts';
import { checkKey } from './key-precondition.ts';
import type { Outages } from './outages.ts';

/** The next certificate of a channel, if it is configured and does not sign yet. */
function successorHealth({ key, renewal }: Channel): Pick<ChannelHealth, 'successor'> {
  const next = renewal?.successor?.key;
  if (!renewal || next === key) return {};
  const end = next?.shortLived ? undefined : next?.certificates[0]?.notAfter.toISOString();
  const successor = { from: renewal.changesAt.toISOString(), open: next !== undefined };
  return { successor: end === undefined ? successor : { ...successor, notAfter: end } };
}

function channelHealth(channel: Channel, outages: Outages, now: Date): ChannelHealth[] {
  const { config, key, timestamper } = channel;
  const [leaf] = key.certificates;
  if (!leaf) return [];
  const problem = checkKey(channel, now);
  const waiting = outages.channels.get(config.name);
  return [
    {
      name: config.name,
      certificate: {
        subject: leaf.subject,
        ...(key.shortLived ? {} : { sha256: leaf.sha256, notAfter: leaf.notAfter.toISOString() }),
      },
      ...(problem?.code === undefined ? {} : { problem: { code: problem.code } }),
      ...successorHealth(channel),
      ...(waiting ? { waiting: { for: waiting.for, since: waiting.since.toISOString() } } : {}),
      authorities: (timestamper?.health ?? []).map(authorityHealth),
    },
  ];
}

/** How the channels are, for `health.json`, heartbeats and metrics. */
export const healthOf = (
  channels: ReadonlyMap<string, Channel>,
  outages: Outages,
  now: Date,
): ChannelHealth[] => [...channels.values()].flatMap((channel) => channelHealth(channel, outages, now));
