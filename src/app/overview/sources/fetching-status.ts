import { join } from 'node:path';
import { usage } from '../../../lib/errors.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import type { AuditorConfig } from '../../config/auditor.ts';
import type { BuilderConfig, VoucherConfig } from '../../config/builder.ts';
import { openControl, sshOptionsOf } from '../../config/open.ts';
import { fetchHeartbeats } from '../../../protocol/control/read-heartbeats.ts';
import { readOverview, type OverviewOptions } from '../read-overview.ts';
import type { StatusReport, StatusSource } from './status-source.ts';

type Keys = Pick<OverviewOptions, 'requestSigners' | 'receiptSigners' | 'ownerOnly'>;

/** A status that fetches into the clone of a configuration before each look. `keys` reads the lists of keys. */
async function fetchingStatus(
  config: Pick<BuilderConfig, 'control' | 'ssh' | 'state'>,
  keys: () => Promise<Keys>,
  say: (line: string) => void,
): Promise<StatusSource> {
  const ssh = await sshOptionsOf(config, say);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  const read = async (now: Date): Promise<StatusReport> => {
    const known = await keys();
    // In this order: a signer may accept new requests in between.
    await fetchHeartbeats(repository);
    await repository.fetch();
    const checkpoint = join(config.state, 'overview');
    return { overview: await readOverview(repository, { ...known, now, checkpoint }), notes: [] };
  };
  return { read, close: () => Promise.resolve(repository.close()) };
}

/** The status for a builder or a voucher, who knows the receipt keys but no list of requesters. */
export function builderStatus(
  config: BuilderConfig | VoucherConfig,
  say: (line: string) => void,
): Promise<StatusSource> {
  const { trust } = config;
  if (!trust)
    throw usage('status-signers-missing', `${config.file}: whose receipts and policy count?`, {
      hint: 'add trust.allowedSigners with the line of the receipt key, or give a clone and --allowed-signers',
    });
  const keys = async (): Promise<Keys> => ({
    requestSigners: null,
    receiptSigners: await AllowedSigners.load(trust.allowedSigners),
  });
  return fetchingStatus(config, keys, say);
}

/** The status for an auditor, who has a list of all signers. */
export function auditorStatus(config: AuditorConfig, say: (line: string) => void): Promise<StatusSource> {
  return fetchingStatus(config, () => listedKeys(config.trust), say);
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
