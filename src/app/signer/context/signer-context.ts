import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { openCommitKey, openConfiguredExchange, openControl, sshOptionsOf } from '../../config/open.ts';
import type { SignerConfig } from '../../config/signer.ts';
import type { TimestampAuthority } from '../../config/timestamp-authorities.ts';
import { TimestampRoutes } from '../../timestamps/routes.ts';
import type { SshOptions } from '../../../lib/ssh/options.ts';
import type { PublishedPolicy } from '../../../protocol/control/published-policy.ts';
import { parsePublicKey } from '../../../lib/sshsig/ssh-key.ts';
import type { SshSigner } from '../../../lib/sshsig/ssh-signer.ts';
import { requireStandardForm } from '../../../lib/sshsig/standard-signature.ts';
import type { ReceiptWriter } from '../../../protocol/control/write-receipt.ts';
import { CancelIndex } from '../../../protocol/control/cancel-index.ts';
import { Origin } from '../../../protocol/control/commit-origin.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { AcceptedHeads } from '../../../protocol/control/accepted-heads.ts';
import type { Exchange } from '../../../protocol/exchange/exchange.ts';
import type { CertificateFinding } from '../../../lib/x509/certificate-findings.ts';
import type { ProgressDisplay } from '../../../lib/progress.ts';
import type { TimestampEndpoint } from '../../../engine/timestamp/transport/endpoint.ts';
import { Activity } from './activity.ts';
import { closeKeys, openChannel, type Channel } from '../channel/channel.ts';
import { ExpiryWarnings } from '../channel/expiry-warnings.ts';
import { forbidCoreDumps } from './core-limit.ts';
import { HealthReport } from './health-report.ts';
import { Journal } from '../state/journal.ts';
import { cleanStateFolder } from '../state/clean-state-folder.ts';
import { lockState } from '../state/lock.ts';
import { publicPolicy } from '../channel/public-policy.ts';
import { Outages } from '../channel/outages.ts';
import { publishedCertificates } from '../channel/published-certificates.ts';
import { Renewals } from '../channel/renewals.ts';
import { sharedChecksumKeys } from '../channel/shared-checksum-keys.ts';
import { TrustLists } from '../channel/trust-lists.ts';

/** A writer of receipts whose key can sign provenance too. */
interface ProvenanceWriter extends ReceiptWriter {
  readonly signer: SshSigner;
}

/** Everything that a signer works with, open and checked. */
export interface SignerContext {
  readonly config: SignerConfig;
  readonly repository: ControlRepository;
  readonly exchange: Exchange;
  readonly channels: ReadonlyMap<string, Channel>;
  /** Reads changed lists of allowed signers again and updates `channels`. */
  readonly lists: TrustLists<Channel>;
  /** Changes channels to their next certificate in `channels`. */
  readonly renewals: Renewals;
  readonly expiryWarnings: ExpiryWarnings;
  readonly writer: ProvenanceWriter;
  /** Which requests wait for timestamp authorities or a key. */
  readonly outages: Outages;
  readonly acceptedHeads: AcceptedHeads;
  /** Which requests and vouches are for this repository. */
  readonly origin: Origin;
  /** Commits that cancel requests. */
  readonly cancels: CancelIndex;
  readonly journal: Journal;
  readonly activity: Activity;
  /** Folder for the current request; no other process uses it. */
  readonly work: string;
  readonly log: Logger;
  readonly progress: ProgressDisplay;
  readonly now: () => Date;
  close(): Promise<void>;
}

interface SignerContextOptions {
  readonly log: Logger;
  readonly progress: ProgressDisplay;
  readonly now?: () => Date;
  /** Reports a key or passphrase file that others may read; logged unless given. */
  readonly warn?: (message: string) => void;
  /** Called when git reports progress. */
  readonly onGitOutput?: () => void;
}

/**
 * Opens the key that signs receipts, with the name for its commits. Throws `ssh-key-type` for a security key if a channel
 * makes provenance, which such a key cannot sign.
 */
export async function openReceiptWriter(
  config: SignerConfig,
  warn: (message: string) => void,
): Promise<ProvenanceWriter> {
  const signer = await openCommitKey(config.receipts, warn);
  if ([...config.channels.values()].some(({ provenance }) => provenance))
    requireStandardForm(parsePublicKey(signer.publicKey, 'receipts.key'), 'provenance');
  const policy = publicPolicy(config.channels);
  return { signer, identity: { name: config.receipts.name, email: '' }, policy };
}

interface OpenChannelsOptions {
  readonly now: Date;
  /** Reports a key or passphrase file that others may read. */
  readonly warn: (message: string) => void;
  /** Without it, timestamp authorities that do not answer and successors that cannot be opened yet are not reported. */
  readonly log?: Logger;
  /** The ways to timestamp authorities. The caller closes them if timestamps are requested. */
  readonly routes?: TimestampRoutes;
}

/** Opens every channel; throws the first error, before anything is fetched or signed. */
export async function openChannels(
  config: SignerConfig,
  { now, warn, log, routes = new TimestampRoutes(config, { warn }) }: OpenChannelsOptions,
): Promise<Map<string, Channel>> {
  const channels = new Map<string, Channel>();
  const onOutage = (message: string): void => log?.warn(message);
  const checksumKeys = sharedChecksumKeys({ now, warn });
  const endpoint = (authority: TimestampAuthority): TimestampEndpoint => routes.endpoint(authority);
  try {
    for (const [name, channel] of config.channels) {
      const onFinding = ({ code, hint, message }: CertificateFinding): void =>
        log?.warn({ channel: name, code, hint }, `channel ${name}: ${message}`);
      const { retry } = config;
      channels.set(
        name,
        await openChannel(channel, { now, warn, onOutage, onFinding, endpoint, retry, checksumKeys }),
      );
    }
    return channels;
  } catch (error) {
    await closeChannels(channels);
    throw error;
  }
}

/** Closes the keys of all channels. */
export async function closeChannels(channels: ReadonlyMap<string, Channel>): Promise<void> {
  for (const channel of channels.values()) await closeKeys(channel);
}

/** A writer that publishes the policy as it is at the time of each commit. */
const withCurrentPolicy = (
  { signer, identity }: ProvenanceWriter,
  current: () => PublishedPolicy,
): ProvenanceWriter => ({
  signer,
  identity,
  get policy() {
    return current();
  },
});

/** The policy to publish now. */
const currentPolicy = (
  config: SignerConfig,
  channels: ReadonlyMap<string, Channel>,
  outages: Outages,
): PublishedPolicy =>
  publicPolicy(config.channels, {
    waiting: outages.channels,
    certificates: new Map([...channels].map(([name, channel]) => [name, publishedCertificates(channel)])),
  });

/** The accepted roots are those that the configuration pins, or else those of the first accepted head. */
function originOf(
  { control: { roots } }: SignerConfig,
  repository: ControlRepository,
  acceptedHeads: AcceptedHeads,
): Origin {
  return new Origin(repository, () => ({
    ids: roots ?? acceptedHeads.roots ?? [],
    configured: roots !== undefined,
  }));
}

type StateAndConnections = Pick<
  SignerContext,
  'repository' | 'exchange' | 'outages' | 'acceptedHeads' | 'journal'
>;

/** Locks and opens the state folder, then the connections. `opened` is called with how to close each. */
async function openStateAndConnections(
  config: SignerConfig,
  ssh: SshOptions | undefined,
  { now = () => new Date(), onGitOutput }: Pick<SignerContextOptions, 'now' | 'onGitOutput'>,
  opened: (close: () => Promise<void> | void) => void,
): Promise<StateAndConnections> {
  opened(await lockState(config.state));
  const clone = join(config.state, 'control.git');
  await cleanStateFolder(config.state, clone);
  const journal = await Journal.open(config.state);
  const acceptedHeads = await AcceptedHeads.open(join(config.state, 'witness'));
  const repository = await openControl(config, ssh, clone, onGitOutput ? { onOutput: onGitOutput } : {});
  opened(() => repository.close());
  const exchange = await openConfiguredExchange(config, ssh);
  opened(() => exchange.close());
  const { for: longest, wait: pause } = config.retry;
  const outages = await Outages.open(config.state, { longest, pause, now });
  return { journal, acceptedHeads, repository, exchange, outages };
}

/** Called before there is a secret in memory. */
async function withoutCoreDumps(log: Logger): Promise<void> {
  if (await forbidCoreDumps()) return;
  const hint = 'install util-linux, which has prlimit, or set LimitCORE=0 in the service';
  log.warn(
    { code: 'core-dumps', hint },
    'core dumps of this process cannot be forbidden: they would hold keys',
  );
}

/** Opens a signer's context: keys first, then the state folder, which is locked, then the connections. */
export async function openSignerContext(
  config: SignerConfig,
  options: SignerContextOptions,
): Promise<SignerContext> {
  const { log, progress, now = () => new Date() } = options;
  const logWarning = (message: string): void => log.warn(message);
  const { warn = logWarning } = options;
  const routes = new TimestampRoutes(config, { warn });
  await withoutCoreDumps(log);
  const channels = await openChannels(config, { now: now(), warn, log, routes });
  const writer = await openReceiptWriter(config, warn);
  const ssh = await sshOptionsOf(config, warn);
  const work = join(config.state, 'work');
  await mkdir(work, { recursive: true, mode: 0o700 });
  // Closed in the opposite order, also if a later part cannot be opened.
  const open: (() => Promise<void> | void)[] = [];
  open.push(() => closeChannels(channels));
  open.push(() => routes.close());
  const close = async (): Promise<void> => {
    for (const each of open.splice(0).reverse()) await each();
  };
  try {
    const opened = await openStateAndConnections(config, ssh, options, (each) => open.push(each));
    const { repository, acceptedHeads, outages } = opened;
    const activity = new Activity(now);
    const health = new HealthReport(config.state, { channels, outages, activity, now });
    open.push(() => health.close());
    return {
      ...opened,
      config,
      channels,
      lists: new TrustLists(channels),
      renewals: new Renewals(channels, log),
      expiryWarnings: await ExpiryWarnings.open(config.state, log, (...warning) =>
        activity.expires(...warning),
      ),
      writer: withCurrentPolicy(writer, () => currentPolicy(config, channels, outages)),
      origin: originOf(config, repository, acceptedHeads),
      cancels: new CancelIndex(repository),
      work,
      log,
      activity,
      progress: activity.watching(progress),
      now,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
