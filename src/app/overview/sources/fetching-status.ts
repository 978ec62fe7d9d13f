import { join } from 'node:path';
import { usage } from '../../../lib/errors.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import type { AuditorConfig } from '../../config/auditor.ts';
import type { BuilderConfig, VoucherConfig } from '../../config/builder.ts';
import { openControl, sshOptionsOf } from '../../config/open.ts';
import { fetchHeartbeats } from '../../../protocol/control/read-heartbeats.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { readOverview, type OverviewOptions } from '../read-overview.ts';
import type { StatusReport, StatusSource } from './status-source.ts';

type Keys = Pick<OverviewOptions, 'requestSigners' | 'receiptSigners' | 'ownerOnly'>;

/** The clone of a configuration, with the keys that its owner trusts. */
export interface KnownRepository {
  readonly repository: ControlRepository;
  /** Reads the lists of keys. */
  readonly keys: () => Promise<Keys>;
  /** Fetches. */
  readonly refresh: () => Promise<void>;
}

async function openKnown(
  config: Pick<BuilderConfig, 'control' | 'ssh' | 'state'>,
  keys: () => Promise<Keys>,
  say: (line: string) => void,
): Promise<KnownRepository> {
  const ssh = await sshOptionsOf(config, say);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  const refresh = async (): Promise<void> => {
    // In this order: a signer may accept new requests in between.
    await fetchHeartbeats(repository);
    await repository.fetch();
  };
  return { repository, keys, refresh };
}

/** A status that fetches into the clone of a configuration before each look. */
export function fetchingStatus(
  { repository, keys, refresh }: KnownRepository,
  { state }: Pick<BuilderConfig, 'state'>,
): StatusSource {
  const read = async (now: Date): Promise<StatusReport> => {
    const known = await keys();
    await refresh();
    const checkpoint = join(state, 'overview');
    return { overview: await readOverview(repository, { ...known, now, checkpoint }), notes: [] };
  };
  return { read, close: () => Promise.resolve(repository.close()) };
}

/** For a builder or a voucher, who knows the receipt keys but no list of requesters. */
export function openForBuilder(
  config: BuilderConfig | VoucherConfig,
  say: (line: string) => void,
): Promise<KnownRepository> {
  const { trust } = config;
  if (!trust)
    throw usage('status-signers-missing', `${config.file}: whose receipts and policy count?`, {
      hint: 'write the signer\u2019s line into a file, such as keys/receipt_signers, and name it there: trust: { allowedSigners: keys/receipt_signers }',
    });
  const keys = async (): Promise<Keys> => ({
    requestSigners: null,
    receiptSigners: await AllowedSigners.load(trust.allowedSigners),
  });
  return openKnown(config, keys, say);
}

/** For an auditor, who has a list of all signers. */
export function openForAuditor(config: AuditorConfig, say: (line: string) => void): Promise<KnownRepository> {
  return openKnown(config, () => listedKeys(config.trust), say);
}

/** The keys in one list of all signers, or in that and one for receipts. */
export async function listedKeys({
  allowedSigners,
  receiptSigners,
}: {
  readonly allowedSigners: string;
  readonly receiptSigners?: string | undefined;
}): Promise<Keys> {
  const requestSigners = await AllowedSigners.load(allowedSigners);
  return receiptSigners === undefined
    ? { requestSigners, receiptSigners: requestSigners, ownerOnly: true }
    : { requestSigners, receiptSigners: await AllowedSigners.load(receiptSigners) };
}
