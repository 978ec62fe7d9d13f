import { join } from 'node:path';
import { withTempFolder } from '../../../lib/bytes/temp-folder.ts';
import { isTokenKey } from '../../../engine/keys/key-uri.ts';
import { KEY_SETTINGS } from '../../../engine/keys/open.ts';
import type { ChannelConfig } from '../../config/channel-config.ts';
import type { SignerConfig } from '../../config/signer.ts';
import { TimestampRoutes } from '../../timestamps/routes.ts';
import { checkChecksumKeys } from './check-checksum-keys.ts';
import { checkFiles, signerFiles } from './check-files.ts';
import { checkHealth } from './check-health.ts';
import { remoteChecks } from './check-hosts.ts';
import { checkKeyHistory } from './check-key-history.ts';
import { checkReceiptsKey, checkSigningKey, settingsInUse, SigningKeys } from './check-keys.ts';
import { checkMetrics } from './check-metrics.ts';
import { checkNotify } from './check-notify.ts';
import { checkSignerPrograms } from './check-programs.ts';
import { runChecks, silent, type SiteCheck, type SiteFinding } from './check-result.ts';
import { checkState } from './check-state.ts';
import { checkSuccessor } from './check-successor.ts';
import { checkTimestamps } from './check-timestamps.ts';
import { checkTrust } from './check-trust.ts';

/** Channels grouped by equal `settings`, each group under all its names: what they share is checked once. */
function groupChannels(
  config: SignerConfig,
  settings: (channel: ChannelConfig) => unknown,
): [names: string, ChannelConfig][] {
  const groups = new Map<string, [names: string[], ChannelConfig]>();
  for (const channel of config.channels.values()) {
    const id = JSON.stringify(settings(channel));
    const group = groups.get(id);
    if (group) group[0].push(channel.name);
    else groups.set(id, [[channel.name], channel]);
  }
  return [...groups.values()].map(([names, channel]) => [names.join(', '), channel]);
}

const keySettings = ({ signing }: ChannelConfig): unknown[] => [
  ...KEY_SETTINGS.map((name) => signing[name]),
  signing.successor,
];

function signingKeyChecks(config: SignerConfig, keys: SigningKeys, now: Date): SiteCheck[] {
  const groups = groupChannels(config, (channel) => [
    keySettings(channel),
    channel.signing.digest,
    channel.signing.roots,
    channel.signing.timestamp.length === 0,
  ]);
  return groups.flatMap(([names, { signing }]) => {
    const { successor } = signing;
    return [
      {
        name: `signing key (${names})`,
        run: async () => [
          ...(await checkSigningKey(signing, keys, now)),
          ...(await checkKeyHistory(config, settingsInUse(signing, now), keys)),
        ],
      },
      ...(successor
        ? [
            {
              name: `successor (${names})`,
              run: () => checkSuccessor({ ...signing, successor }, keys, now),
            },
          ]
        : []),
    ];
  });
}

/** Only for tokens: what is on them. Their keys are checked like all others, too. */
function tokenChecks(config: SignerConfig, now: Date): SiteCheck[] {
  const groups = groupChannels(config, ({ signing }) => [signing.key, signing.successor?.key]);
  return groups.flatMap(([names, { signing }]) =>
    [signing.key, signing.successor?.key].filter(isTokenKey).map((key) => ({
      name: `token (${names})`,
      run: async () => (await import('./check-token.ts')).checkToken(key, now),
    })),
  );
}

function timestampChecks(
  config: SignerConfig,
  keys: SigningKeys,
  routes: TimestampRoutes,
  now: Date,
): SiteCheck[] {
  const groups = groupChannels(config, (channel) => [
    channel.signing.timestamp,
    channel.signing.timestampRoots ?? keySettings(channel),
    channel.signing.digest,
  ]);
  return groups.map(([names, { signing }]) => ({
    name: `timestamps (${names})`,
    run: () => checkTimestamps(signing, keys, routes, now),
  }));
}

function trustChecks(config: SignerConfig, now: Date): SiteCheck[] {
  const groups = groupChannels(config, ({ trust }) => [
    trust.allowedSigners,
    trust.revokedKeys,
    trust.unsignedRequests,
    trust.vouches,
  ]);
  return groups.map(([names, { trust }]) => ({
    name: `allowed signers (${names})`,
    run: () => checkTrust(trust, now),
  }));
}

function checksumChecks(config: SignerConfig, now: Date): SiteCheck[] {
  const groups = groupChannels(config, ({ checksums }) => checksums ?? null);
  return groups.flatMap(([names, { checksums }]) =>
    checksums ? [{ name: `checksum keys (${names})`, run: () => checkChecksumKeys(checksums, now) }] : [],
  );
}

async function runSignerChecks(
  config: SignerConfig,
  now: Date,
  stateChecks: readonly SiteCheck[],
  scratch: string,
): Promise<SiteFinding[]> {
  const { control, exchange, health, metrics, notify } = config;
  const keys = new SigningKeys();
  // Not in the state folder, where a running signer has its own.
  const routes = new TimestampRoutes(config, { warn: silent, folder: join(scratch, 'timestamps.git') });
  const findings = await runChecks([
    { name: 'programs', run: () => checkSignerPrograms(control.url.startsWith('ssh:')) },
    ...remoteChecks(
      config,
      { writes: control.receipts, others: [control.requests], heartbeats: health.heartbeat !== null },
      { read: exchange.incoming, write: exchange.outgoing },
    ),
    ...tokenChecks(config, now),
    ...signingKeyChecks(config, keys, now),
    ...timestampChecks(config, keys, routes, now),
    ...trustChecks(config, now),
    ...checksumChecks(config, now),
    { name: 'receipts key', run: () => checkReceiptsKey(config) },
    { name: 'files', run: () => checkFiles(signerFiles(config)) },
    ...(metrics ? [{ name: 'metrics', run: () => checkMetrics(metrics.file) }] : []),
    ...(notify ? [{ name: 'notify', run: () => checkNotify(notify.command) }] : []),
    ...stateChecks,
  ]);
  keys.close();
  await routes.close();
  return findings;
}

/**
 * Checks every part of a signer at the same time; one that fails does not stop the others. Changes nothing, except
 * that it writes a small file to the exchange's outgoing folder and removes it, and takes and releases the lock of
 * the state folder. Findings hold no secrets.
 */
export const checkSigner = (config: SignerConfig, now = new Date()): Promise<SiteFinding[]> =>
  withTempFolder((scratch) => {
    const state = { name: 'state', run: () => checkState(config) };
    const running = { name: 'running signer', run: () => checkHealth(config) };
    return runSignerChecks(config, now, [state, running], scratch);
  });

/** Checks every part of a signer but its state folder, which the running signer that calls this has locked. */
export const checkSignerAtStart = (config: SignerConfig): Promise<SiteFinding[]> =>
  withTempFolder((scratch) => runSignerChecks(config, new Date(), [], scratch));
