import { join } from 'node:path';
import type { BuilderConfig, ControlConfig, VoucherConfig } from '../config/builder.ts';
import { openConfiguredExchange, openControl, sshOptionsOf } from '../config/open.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import type { Exchange } from '../../protocol/exchange/exchange.ts';
import type { ProgressDisplay } from '../../lib/progress.ts';

/** What a builder's commands need. The commit key is not part of it: only commands that commit open it. */
export interface BuilderSession {
  readonly config: BuilderConfig;
  readonly repository: ControlRepository;
  readonly exchange: Exchange;
  readonly progress: ProgressDisplay;
  /** Reports each step in one line. */
  readonly say: (line: string) => void;
  close(): Promise<void>;
}

/** What commands need that only commit, and upload nothing. */
export interface ControlSession<Config extends ControlConfig = ControlConfig> {
  readonly config: Config;
  readonly repository: ControlRepository;
  readonly say: (line: string) => void;
}

/** What a voucher's commands need: no exchange, since nothing is uploaded. */
export type VoucherSession = ControlSession<VoucherConfig>;

interface SessionOptions {
  readonly progress: ProgressDisplay;
  readonly say: (line: string) => void;
}

/** Opens the clone and the exchange; connects at their first use. */
async function openSession(
  config: BuilderConfig,
  { progress, say }: SessionOptions,
): Promise<BuilderSession> {
  const ssh = await sshOptionsOf(config, say);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  let exchange: Exchange;
  try {
    exchange = await openConfiguredExchange(config, ssh);
  } catch (error) {
    // The connection to the Git host would keep the process from ending.
    repository.close();
    throw error;
  }
  const close = async (): Promise<void> => {
    try {
      await exchange.close();
    } finally {
      repository.close();
    }
  };
  return { config, repository, exchange, progress, say, close };
}

/** Opens a builder's session for some work, and closes it afterwards. */
export async function withSession<T>(
  config: BuilderConfig,
  options: SessionOptions,
  work: (session: BuilderSession) => Promise<T>,
): Promise<T> {
  const session = await openSession(config, options);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

/** Opens the control repository for some work of a builder or a voucher, and closes it afterwards. */
export async function withControlSession<T, Config extends ControlConfig>(
  config: Config,
  say: (line: string) => void,
  work: (session: ControlSession<Config>) => Promise<T>,
): Promise<T> {
  const ssh = await sshOptionsOf(config, say);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  try {
    return await work({ config, repository, say });
  } finally {
    repository.close();
  }
}

/** The keys whose receipts this builder trusts. */
export const receiptSigners = (config: BuilderConfig): Promise<AllowedSigners> =>
  AllowedSigners.load(config.trust.allowedSigners);
