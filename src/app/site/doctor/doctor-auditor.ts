import type { AuditorConfig } from '../../config/auditor.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import { plural } from '../../../lib/plural.ts';
import { checkFiles } from './check-files.ts';
import { remoteChecks } from './check-hosts.ts';
import { checkPrograms } from './check-programs.ts';
import { bad, ok, runChecks, type CheckResult, type SiteFinding } from './check-result.ts';

/** The lists of keys whose signatures count can be read, and are not empty. */
async function checkSigners({ trust }: AuditorConfig): Promise<CheckResult[]> {
  const { allowedSigners, receiptSigners } = trust;
  const lists = [allowedSigners, ...(receiptSigners === undefined ? [] : [receiptSigners])];
  return Promise.all(lists.map(checkList));
}

async function checkList(path: string): Promise<CheckResult> {
  const { signers, name } = await AllowedSigners.load(path);
  if (signers.length > 0) return ok(`the signatures of ${plural(signers.length, 'key')} count, in ${name}`);
  return bad(
    'no-key-counts',
    `${name} lists no key: no request and no receipt would be proved`,
    'add the lines of the builders, the vouchers and the receipt key, each from its owner',
  );
}

/** Checks every part of an auditor at the same time; changes nothing. Findings hold no secrets. */
export function checkAuditor(config: AuditorConfig): Promise<SiteFinding[]> {
  const { control, ssh, trust, file } = config;
  const files = {
    secrets: [ssh?.identity, ssh?.passphraseFile],
    trustAnchors: [file, trust.allowedSigners, trust.receiptSigners, ssh?.knownHosts],
  };
  return runChecks([
    { name: 'programs', run: () => checkPrograms(control.url.startsWith('ssh:')) },
    ...remoteChecks(config, { writes: null, others: [control.requests, control.receipts] }),
    { name: 'allowed signers', run: () => checkSigners(config) },
    { name: 'files', run: () => checkFiles(files) },
  ]);
}
