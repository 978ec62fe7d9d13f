import { join } from 'node:path';
import type { BuilderConfig, VoucherConfig } from '../config/builder.ts';
import { openConfiguredExchange, openControl, sshOptionsOf } from '../config/open.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import type { Exchange } from '../../protocol/exchange/exchange.ts';
import type { Progress } from '../../lib/progress.ts';

/** What a builder works with. The commit key is loaded only by those who commit. */
export interface BuilderSession {
  readonly config: BuilderConfig;
  readonly repository: ControlRepository;
  readonly exchange: Exchange;
  readonly progress: Progress;
  /** Told one line a step. */
  readonly say: (line: string) => void;
  close(): Promise<void>;
}

/** What a voucher works with: no exchange, since nothing is uploaded. */
export interface VoucherSession {
  readonly config: VoucherConfig;
  readonly repository: ControlRepository;
  readonly say: (line: string) => void;
  close(): void;
}

export interface SessionOptions {
  readonly progress: Progress;
  readonly say: (line: string) => void;
}

/** Opens clone and exchange; connects at their first use. */
export async function openSession(
  config: BuilderConfig,
  { progress, say }: SessionOptions,
): Promise<BuilderSession> {
  const ssh = await sshOptionsOf(config, say);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  let exchange: Exchange;
  try {
    exchange = await openConfiguredExchange(config, ssh);
  } catch (error) {
    // Its connection to the Git host would keep the process from ending.
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

/** Opens the clone alone; connects at its first use. */
export async function openVoucherSession(
  config: VoucherConfig,
  say: (line: string) => void,
): Promise<VoucherSession> {
  const ssh = await sshOptionsOf(config, say);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  return { config, repository, say, close: () => repository.close() };
}

/** Whose receipts are believed. */
export const receiptSigners = (config: BuilderConfig): Promise<AllowedSigners> =>
  AllowedSigners.load(config.trust.allowedSigners);
