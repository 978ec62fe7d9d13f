import type { ChannelOutage } from './outages.ts';
import type { ChecksumsConfig } from '../../config/checksums.ts';
import type { ChannelConfig } from '../../config/channel-config.ts';
import type { PublishedPolicy } from '../../../protocol/control/published-policy.ts';
import type { PublishedCertificates } from './published-certificates.ts';

const checksumKinds = (checksums: ChecksumsConfig): string[] => ['sha256sums', ...Object.keys(checksums)];

const channelPolicy = (
  { signing, trust, checksums, provenance }: ChannelConfig,
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
  ...(signing.alreadySigned === 'keep' ? {} : { alreadySigned: signing.alreadySigned }),
  ...(signing.inside === 'report' ? {} : { inside: signing.inside }),
  ...(signing.others === 'checksum' ? { others: signing.others } : {}),
  ...(checksums ? { checksums: checksumKinds(checksums) } : {}),
  ...(provenance ? { provenance } : {}),
  ...(checksums || provenance ? { sparse: false } : {}),
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

/** A policy with the pinned roots of the control repository, which are unknown until the request branch exists. */
export const policyWithRoots = (policy: PublishedPolicy, roots: readonly string[]): PublishedPolicy =>
  roots.length > 0 ? { ...policy, roots: [...roots] } : policy;
