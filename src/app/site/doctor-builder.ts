import { randomBytes } from 'node:crypto';
import type { BuilderConfig, VoucherConfig } from '../config/builder.ts';
import { committerOf, sshOptionsOf } from '../config/open.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { plural } from '../../lib/plural.ts';
import { checkControl } from './check-control.ts';
import { checkExchange } from './check-exchange.ts';
import { builderFiles, checkFiles } from './check-files.ts';
import { checkHost } from './check-hosts.ts';
import { checkPrograms } from './check-programs.ts';
import {
  CHECK_LIMIT,
  ok,
  runChecks,
  silent,
  warning,
  type SiteCheck,
  type SiteFinding,
  type CheckResult,
} from './check-result.ts';

type Config = BuilderConfig | VoucherConfig;

/** The key that signs requests or vouches opens, and signs. */
async function checkRequestKey(config: Config): Promise<CheckResult[]> {
  const { signer } = await committerOf({ config, say: silent });
  await signer.sign('git', randomBytes(64));
  return [ok(`${signer.fingerprint} signs requests and vouches`)];
}

/** Whether the list of receipt signers holds a key. */
async function checkReceiptSigners({ trust }: BuilderConfig): Promise<CheckResult[]> {
  const { signers, name } = await AllowedSigners.load(trust.allowedSigners);
  if (signers.length > 0) return [ok(`${plural(signers.length, 'key')} may sign receipts, in ${name}`)];
  return [
    warning(
      'no-receipt-signer',
      `${name} lists no key: no receipt will be believed`,
      'add the line that the operator of the signer has from "signpipe init signer"',
    ),
  ];
}

function commonChecks(config: Config, branch: string): SiteCheck[] {
  const ssh = (): ReturnType<typeof sshOptionsOf> => sshOptionsOf(config, silent);
  const { url } = config.control;
  const remote = url.startsWith('ssh:');
  const host: SiteCheck = { name: 'SSH to control', run: async () => checkHost(url, await ssh()) };
  return [
    { name: 'programs', run: () => checkPrograms(remote) },
    ...(remote ? [host] : []),
    { name: 'control repository', run: async () => checkControl(config, branch, await ssh()) },
    { name: 'request key', run: () => checkRequestKey(config) },
    { name: 'files', run: () => checkFiles(builderFiles(config)) },
  ];
}

function exchangeChecks(config: BuilderConfig): SiteCheck[] {
  const { url, incoming, outgoing } = config.exchange;
  const ssh = (): ReturnType<typeof sshOptionsOf> => sshOptionsOf(config, silent);
  const host: SiteCheck = { name: 'SSH to exchange', run: async () => checkHost(url, await ssh()) };
  const folders = { read: outgoing, write: incoming };
  return [
    ...(url.startsWith('file:') ? [] : [host]),
    { name: 'exchange', run: async () => checkExchange(config, folders, await ssh()) },
  ];
}

/**
 * Tries every part of a builder, side by side. Nothing is changed but for a small file that is written to
 * the exchange's incoming folder and removed. Findings hold no secrets.
 */
export const checkBuilder = (config: BuilderConfig): Promise<SiteFinding[]> =>
  runChecks(
    [
      ...commonChecks(config, config.control.requests),
      ...exchangeChecks(config),
      { name: 'receipt signers', run: () => checkReceiptSigners(config) },
    ],
    CHECK_LIMIT,
  );

/** Tries every part of a voucher, side by side; changes nothing. Findings hold no secrets. */
export const checkVoucher = (config: VoucherConfig): Promise<SiteFinding[]> =>
  runChecks(commonChecks(config, `vouch/${config.vouch.name}`), CHECK_LIMIT);
