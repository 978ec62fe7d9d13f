import { join, resolve } from 'node:path';
import { createFiles, privateFile, publicFile, sshKeyPair, type FileToCreate } from './create-files.ts';
import { setValues } from './edit-yaml.ts';
import { readShippedFile } from './shipped-files.ts';
import { EXAMPLE_URLS, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { allowedSignerStep, setupStep, urlSteps, type SetupStep, type SiteSetup } from './site-setup.ts';
import { sshSteps, type SiteUrls } from './ssh-steps.ts';

const RECEIPT_SIGNERS = `# Whose receipts are accepted, in OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)): one key a line.
#
#   signer@example.org namespaces="git" ssh-ed25519 AAAA...
#
# \`signpipe init signer\` prints the signer's line. Take it only from its operator, and compare the key's
# fingerprint over another channel than the one over which the line came.
`;

/** A builder or a voucher: both sign commits with a key of their own. */
interface Committer {
  readonly role: 'builder' | 'voucher';
  /** The URLs in its configuration, by their names there. */
  readonly given: Readonly<Record<string, string | undefined>>;
  /** The same URLs; those of the example if none were given. */
  readonly urls: SiteUrls;
  readonly moreFiles: readonly FileToCreate[];
  /** The steps after those for the keys. */
  readonly lastSteps: readonly SetupStep[];
}

/** Creates the files of a builder or a voucher, and returns the steps that are left. */
async function initCommitter({ dir, identity }: SiteSetup, site: Committer): Promise<SetupStep[]> {
  const { role, given, urls } = site;
  const config = join(dir, `${role}.yaml`);
  const keyFile = (name: string): string => join(dir, 'keys', name);
  const configuration = setValues(await readShippedFile(`keys.example/${role}.yaml`), {
    'vouch.name': identity.shortName,
    'requests.email': identity.email,
    'requests.name': identity.name,
    ...given,
  });
  let key = '';
  await createFiles([
    publicFile(config, configuration),
    sshKeyPair(keyFile(`${role}_ed25519`), identity.email, (line) => (key = line)),
    ...site.moreFiles,
    privateFile(keyFile('known_hosts'), KNOWN_HOSTS_TEXT),
  ]);
  return [
    ...urlSteps(config, given),
    allowedSignerStep(keyFile(`${role}_ed25519`), identity.email, key),
    ...sshSteps(urls, { user: identity.shortName, role, key, knownHosts: keyFile('known_hosts') }),
    ...site.lastSteps,
  ];
}

/** Creates the files of a builder in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export function initBuilder(setup: SiteSetup): Promise<SetupStep[]> {
  const { control, exchange } = setup;
  const dir = resolve(setup.dir);
  const config = join(dir, 'builder.yaml');
  const receiptSigners = join(dir, 'keys', 'receipt_signers');
  return initCommitter(
    { ...setup, dir },
    {
      role: 'builder',
      given: { 'control.url': control, 'exchange.url': exchange },
      urls: {
        control: control ?? EXAMPLE_URLS.control,
        exchange: exchange ?? EXAMPLE_URLS.exchange('build'),
      },
      moreFiles: [privateFile(receiptSigners, RECEIPT_SIGNERS)],
      lastSteps: [
        setupStep(
          `Add the signer's line to ${receiptSigners}: its operator has it from "signpipe init signer"`,
        ),
        setupStep(
          'Check the site, then request a signature',
          `signpipe doctor -c ${config}`,
          `signpipe submit -c ${config} build.zip --wait`,
        ),
      ],
    },
  );
}

/** Creates the files of a voucher in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export function initVoucher(setup: SiteSetup): Promise<SetupStep[]> {
  const dir = resolve(setup.dir);
  const config = join(dir, 'voucher.yaml');
  return initCommitter(
    { ...setup, dir },
    {
      role: 'voucher',
      given: { 'control.url': setup.control },
      urls: { control: setup.control ?? EXAMPLE_URLS.control },
      moreFiles: [],
      lastSteps: [
        setupStep(
          'Check the site; then build the same source as the builder, and vouch for the result',
          `signpipe doctor -c ${config}`,
          `signpipe vouch -c ${config} build.zip`,
        ),
      ],
    },
  );
}
