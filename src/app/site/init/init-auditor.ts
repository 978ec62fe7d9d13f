import { join, resolve } from 'node:path';
import { privateFile } from './create-files.ts';
import { initMember } from './init-member.ts';
import { EXAMPLE_URLS } from './shipped-texts.ts';
import { setupStep, type SetupStep, type SiteSetup } from './site-setup.ts';

const ALLOWED_SIGNERS = `# Whose signatures count in the audit, in OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)): one key a line. The keys of
# builders and vouchers, and the signer's receipt key; keys of the past with valid-before.
#
#   build@example.org  namespaces="git" ssh-ed25519 AAAA...
#   signer@example.org namespaces="git" ssh-ed25519 AAAA...
#
# The repository itself cannot say whom to trust: take each line from its owner, and compare the key's fingerprint over
# another channel than the one over which the line came.
`;

/** Creates the files of an auditor in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export function initAuditor(setup: SiteSetup): Promise<SetupStep[]> {
  const { control } = setup;
  const dir = resolve(setup.dir);
  const config = join(dir, 'auditor.yaml');
  const allowedSigners = join(dir, 'keys', 'allowed_signers');
  return initMember(
    { ...setup, dir },
    {
      role: 'auditor',
      given: { 'control.url': control },
      values: {},
      urls: { control: control ?? EXAMPLE_URLS.control },
      moreFiles: [privateFile(allowedSigners, ALLOWED_SIGNERS)],
      firstSteps: () => [],
      lastSteps: [
        setupStep(
          `Add the line of every builder and voucher, and the signer's line for receipts, to ${allowedSigners}, after comparing the fingerprint with its owner`,
        ),
        setupStep(
          'Check the site, then look at the history',
          `signpipe doctor -c ${config}`,
          `signpipe audit -c ${config}`,
        ),
      ],
    },
  );
}
