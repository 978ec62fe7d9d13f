import type { ChannelOutage } from './outages.ts';
import type { ChecksumsConfig } from '../config/checksums.ts';
import type { ChannelConfig } from '../config/signer.ts';
import type { PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { PublishedCertificates } from './published-certificates.ts';

const checksumKinds = (checksums: ChecksumsConfig): string[] => ['sha256sums', ...Object.keys(checksums)];

const channelPolicy = (
  { signing, trust, checksums }: ChannelConfig,
  waiting: ChannelOutage | undefined,
  certificates: PublishedCertificates | undefined,
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
  ...(waiting ? { waiting: { for: waiting.for, since: waiting.since.toISOString() } } : {}),
  ...certificates,
});

/** What a running signer knows beside its configuration, by channel. */
interface SignerState {
  /** What channels are without, and since when. */
  readonly waiting: ReadonlyMap<string, ChannelOutage>;
  readonly certificates: ReadonlyMap<string, PublishedCertificates>;
}

const UNKNOWN: SignerState = { waiting: new Map(), certificates: new Map() };

/** What builders may know about a signer: what it requires and with which certificates, without keys and locations. */
export const publicPolicy = (
  channels: ReadonlyMap<string, ChannelConfig>,
  { waiting, certificates }: SignerState = UNKNOWN,
): PublishedPolicy => ({
  version: 1,
  channels: Object.fromEntries(
    [...channels]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, config]) => [name, channelPolicy(config, waiting.get(name), certificates.get(name))]),
  ),
});
