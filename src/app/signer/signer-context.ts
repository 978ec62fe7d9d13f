import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { openCommitKey, openConfiguredExchange, openControl, sshOptionsOf } from '../config/open.ts';
import type { SignerConfig } from '../config/signer.ts';
import type { PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { ReceiptWriter } from '../../protocol/control/write-receipt.ts';
import { Origin } from '../../protocol/control/commit-origin.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { AcceptedHeads } from '../../protocol/control/accepted-heads.ts';
import type { Exchange } from '../../protocol/exchange/exchange.ts';
import type { ProgressDisplay } from '../../lib/progress.ts';
import { openChannel, type Channel } from './channel.ts';
import { Journal } from './journal.ts';
import { cleanStateFolder } from './clean-state-folder.ts';
import { lockState } from './lock.ts';
import { publicPolicy } from './public-policy.ts';
import { TimestampOutages } from './timestamp-outages.ts';
import { TrustLists } from './trust-lists.ts';

/** Everything that a signer works with, open and checked. */
export interface SignerContext {
  readonly config: SignerConfig;
  readonly repository: ControlRepository;
  readonly exchange: Exchange;
  readonly channels: ReadonlyMap<string, Channel>;
  /** Reads changed lists of allowed signers again and updates `channels`. */
  readonly lists: TrustLists<Channel>;
  readonly writer: ReceiptWriter;
  /** Which requests wait for timestamp authorities. */
  readonly timestampOutages: TimestampOutages;
  readonly acceptedHeads: AcceptedHeads;
  /** Which requests and vouches are for this repository. */
  readonly origin: Origin;
  readonly journal: Journal;
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
}

/** Opens the key that signs receipts, with the name for its commits. */
export async function openReceiptWriter(
  config: SignerConfig,
  warn: (message: string) => void,
): Promise<ReceiptWriter> {
  const signer = await openCommitKey(config.receipts, warn);
  const policy = publicPolicy(config.channels);
  return { signer, identity: { name: config.receipts.name, email: '' }, policy };
}

/** Opens every channel; throws the first error, before anything is fetched or signed. */
export async function openChannels(
  config: SignerConfig,
  now: Date,
  warn: (message: string) => void,
  onOutage = warn,
): Promise<Map<string, Channel>> {
  const channels = new Map<string, Channel>();
  for (const [name, channel] of config.channels)
    channels.set(name, await openChannel(channel, { now, warn, onOutage, retry: config.retry }));
  return channels;
}

/** A writer that publishes the policy as it is at the time of each commit. */
const withCurrentPolicy = (
  { signer, identity }: ReceiptWriter,
  current: () => PublishedPolicy,
): ReceiptWriter => ({
  signer,
  identity,
  get policy() {
    return current();
  },
});

/** Opens a signer's context: keys first, then the state folder, which is locked, then the connections. */
export async function openSignerContext(
  config: SignerConfig,
  options: SignerContextOptions,
): Promise<SignerContext> {
  const { log, progress, now = () => new Date() } = options;
  const logWarning = (message: string): void => log.warn(message);
  const { warn = logWarning } = options;
  const channels = await openChannels(config, now(), warn, logWarning);
  const writer = await openReceiptWriter(config, warn);
  const ssh = await sshOptionsOf(config, warn);
  const work = join(config.state, 'work');
  await mkdir(work, { recursive: true, mode: 0o700 });
  // Closed in the opposite order, also if a later part cannot be opened.
  const open: (() => Promise<void> | void)[] = [];
  for (const { key } of channels.values()) open.push(() => key.close());
  const close = async (): Promise<void> => {
    for (const each of open.splice(0).reverse()) await each();
  };
  try {
    open.push(await lockState(config.state));
    const clone = join(config.state, 'control.git');
    await cleanStateFolder(config.state, clone);
    const journal = await Journal.open(config.state);
    const acceptedHeads = await AcceptedHeads.open(join(config.state, 'witness'));
    const repository = await openControl(config, ssh, clone);
    open.push(() => repository.close());
    const exchange = await openConfiguredExchange(config, ssh);
    open.push(() => exchange.close());
    const { roots } = config.control;
    const origin = new Origin(repository, () => ({
      ids: roots ?? acceptedHeads.roots ?? [],
      configured: roots !== undefined,
    }));
    const timestampOutages = await TimestampOutages.open(config.state, {
      longest: config.retry.for,
      pause: config.retry.wait,
      now,
    });
    return {
      config,
      repository,
      exchange,
      channels,
      lists: new TrustLists(channels),
      timestampOutages,
      writer: withCurrentPolicy(writer, () => publicPolicy(config.channels, timestampOutages.since)),
      acceptedHeads,
      origin,
      journal,
      work,
      log,
      progress,
      now,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
