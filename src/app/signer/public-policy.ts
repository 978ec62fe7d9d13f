import type { ChecksumsConfig } from '../config/checksums.ts';
import type { ChannelConfig } from '../config/signer.ts';
import type { PublishedPolicy } from '../../protocol/control/published-policy.ts';

const checksumKinds = (checksums: ChecksumsConfig): string[] => ['sha256sums', ...Object.keys(checksums)];

const channelPolicy = (
  { signing, trust, checksums }: ChannelConfig,
  waiting: Date | undefined,
): PublishedPolicy['channels'][string] => ({
  vouches: trust.vouches,
  delay: Math.ceil(trust.delay / 1000),
  unsignedRequests: trust.unsignedRequests,
  pins: trust.pins,
  requesters: trust.requesters,
  names: trust.names,
  files: signing.files,
  timestamped: signing.timestamp.length > 0,
  ...(checksums ? { checksums: checksumKinds(checksums), sparse: false } : {}),
  ...(waiting ? { waiting: { for: 'timestamp', since: waiting.toISOString() } } : {}),
});

/**
 * What builders may know about a signer: what it requires, without keys and locations, and since when channels have
 * been waiting for timestamp authorities.
 */
export const publicPolicy = (
  channels: ReadonlyMap<string, ChannelConfig>,
  waiting: ReadonlyMap<string, Date> = new Map(),
): PublishedPolicy => ({
  version: 1,
  channels: Object.fromEntries(
    [...channels]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, config]) => [name, channelPolicy(config, waiting.get(name))]),
  ),
});
