import { sshOptionsOf } from '../config/open.ts';
import type { ChannelConfig, SignerConfig } from '../config/signer.ts';
import { checkControl } from './check-control.ts';
import { checkExchange } from './check-exchange.ts';
import { checkFiles, signerFiles } from './check-files.ts';
import { checkHost } from './check-hosts.ts';
import { checkReceiptsKey, checkSigningKey } from './check-keys.ts';
import { checkSignerPrograms } from './check-programs.ts';
import { checkState } from './check-state.ts';
import { checkTimestamps } from './check-timestamps.ts';
import { checkTrust } from './check-trust.ts';
import { CHECK_LIMIT, runChecks, silent, type SiteCheck, type SiteFinding } from './check-result.ts';

/** Channels that share something, under all their names: it is tried once. */
function groups(
  config: SignerConfig,
  shared: (channel: ChannelConfig) => unknown,
): [string, ChannelConfig][] {
  const found = new Map<string, [string[], ChannelConfig]>();
  for (const channel of config.channels.values()) {
    const key = JSON.stringify(shared(channel));
    const group = found.get(key);
    if (group) group[0].push(channel.name);
    else found.set(key, [[channel.name], channel]);
  }
  return [...found.values()].map(([names, channel]) => [names.join(', '), channel]);
}

/** What says which key signs for a channel. */
const keyOf = ({ signing }: ChannelConfig): unknown[] => [
  signing.pfx,
  signing.certificate,
  signing.key,
  signing.keyName,
  signing.passphraseFile,
];

function channelChecks(config: SignerConfig, now: Date): SiteCheck[] {
  const keys = groups(config, (channel) => [
    keyOf(channel),
    channel.signing.digest,
    channel.signing.roots,
    channel.signing.timestamp.length === 0,
  ]);
  const stamps = groups(config, (channel) => [
    channel.signing.timestamp,
    channel.signing.timestampRoots ?? keyOf(channel),
    channel.signing.digest,
  ]);
  const trusts = groups(config, ({ trust }) => [
    trust.allowedSigners,
    trust.revokedKeys,
    trust.unsignedRequests,
    trust.vouches,
  ]);
  return [
    ...keys.map(([names, { signing }]): SiteCheck => ({
      name: `signing key (${names})`,
      run: () => checkSigningKey(signing, now),
    })),
    ...stamps.map(([names, { signing }]): SiteCheck => ({
      name: `timestamps (${names})`,
      run: () => checkTimestamps(signing, now),
    })),
    ...trusts.map(([names, { trust }]): SiteCheck => ({
      name: `allowed signers (${names})`,
      run: () => checkTrust(trust, now),
    })),
  ];
}

function hostChecks(config: SignerConfig): SiteCheck[] {
  const folders = { read: config.exchange.incoming, write: config.exchange.outgoing };
  const ssh = (): ReturnType<typeof sshOptionsOf> => sshOptionsOf(config, silent);
  const remote = [
    ['SSH to control', config.control.url],
    ['SSH to exchange', config.exchange.url],
  ].filter(([, url = '']) => !url.startsWith('file:'));
  return [
    ...remote.map(([name = '', url = '']): SiteCheck => ({
      name,
      run: async () => checkHost(url, await ssh()),
    })),
    {
      name: 'control repository',
      run: async () => checkControl(config, config.control.receipts, await ssh()),
    },
    { name: 'exchange', run: async () => checkExchange(config, folders, await ssh()) },
  ];
}

/**
 * Tries every part of a signer, all of them even when some fail, side by side. Nothing is changed but for a
 * small file that is written to the exchange's outgoing folder and removed, and a lock that is taken and
 * given up. Findings hold no secrets.
 */
export async function checkSigner(config: SignerConfig, now = new Date()): Promise<SiteFinding[]> {
  const checks = [...partsOf(config, now), { name: 'state', run: () => checkState(config) }];
  return runChecks(checks, CHECK_LIMIT);
}

/** Tries every part but the state folder, which the signer that asks has locked itself. */
export const checkSignerAtStart = (config: SignerConfig, now = new Date()): Promise<SiteFinding[]> =>
  runChecks(partsOf(config, now), CHECK_LIMIT);

function partsOf(config: SignerConfig, now: Date): SiteCheck[] {
  const needsSsh = config.control.url.startsWith('ssh:');
  return [
    { name: 'programs', run: () => checkSignerPrograms(needsSsh) },
    ...hostChecks(config),
    ...channelChecks(config, now),
    { name: 'receipts key', run: () => checkReceiptsKey(config) },
    { name: 'files', run: () => checkFiles(signerFiles(config)) },
  ];
}
