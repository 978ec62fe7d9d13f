import { randomBytes } from 'node:crypto';
import type { BuilderConfig, VoucherConfig } from '../../config/builder.ts';
import { committerOf } from '../../config/open.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import { plural } from '../../../lib/plural.ts';
import { builderFiles, checkFiles } from './check-files.ts';
import { remoteChecks } from './check-hosts.ts';
import { checkPrograms } from './check-programs.ts';
import { ok, runChecks, silent, warning, type CheckResult, type SiteFinding } from './check-result.ts';

type Config = BuilderConfig | VoucherConfig;

/** The key that signs requests and vouches opens, and signs. */
async function checkRequestKey(config: Config): Promise<CheckResult[]> {
  const { signer } = await committerOf({ config, say: silent });
  await signer.sign('git', randomBytes(64));
  return [ok(`${signer.fingerprint} signs requests and vouches`)];
}

/** The list of keys that may sign receipts has a key. */
async function checkReceiptSigners(trust: BuilderConfig['trust']): Promise<CheckResult[]> {
  const { signers, name } = await AllowedSigners.load(trust.allowedSigners);
  if (signers.length > 0) return [ok(`${plural(signers.length, 'key')} may sign receipts, in ${name}`)];
  return [
    warning(
      'no-receipt-signer',
      `${name} lists no key: no receipt will be accepted`,
      'add the line that "signpipe init signer" printed; the operator of the signer has it',
    ),
  ];
}

const programsCheck = ({ control }: Config) => ({
  name: 'programs',
  run: () => checkPrograms(control.url.startsWith('ssh:')),
});

const ownFilesChecks = (config: Config) => [
  { name: 'request key', run: () => checkRequestKey(config) },
  { name: 'files', run: () => checkFiles(builderFiles(config)) },
];

/**
 * Checks every part of a builder at the same time. Changes nothing, except that it writes a small file to the
 * exchange's incoming folder and removes it. Findings hold no secrets.
 */
export function checkBuilder(config: BuilderConfig): Promise<SiteFinding[]> {
  const { control, exchange } = config;
  return runChecks([
    programsCheck(config),
    ...remoteChecks(
      config,
      { writes: control.requests, others: [control.receipts] },
      { read: exchange.outgoing, write: exchange.incoming },
    ),
    ...ownFilesChecks(config),
    { name: 'receipt signers', run: () => checkReceiptSigners(config.trust) },
  ]);
}

/** Checks every part of a voucher at the same time; changes nothing. Findings hold no secrets. */
export function checkVoucher(config: VoucherConfig): Promise<SiteFinding[]> {
  const { control, vouch, trust } = config;
  return runChecks([
    programsCheck(config),
    ...remoteChecks(config, { writes: `vouch/${vouch.name}`, others: [control.receipts] }),
    ...ownFilesChecks(config),
    // Only `status` and `explain` need the list; vouching does not.
    ...(trust ? [{ name: 'receipt signers', run: () => checkReceiptSigners(trust) }] : []),
  ]);
}
