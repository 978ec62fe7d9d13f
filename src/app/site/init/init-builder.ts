import { join, resolve } from 'node:path';
import { createFiles, privateFile, publicFile, sshKeyPair } from './create-files.ts';
import { setValues } from './edit-yaml.ts';
import { readShippedFile } from './shipped-files.ts';
import { EXAMPLE_URLS, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { allowedSignerStep, setupStep, urlSteps, type SetupStep, type SiteSetup } from './site-setup.ts';
import { sshSteps } from './ssh-steps.ts';

const RECEIPT_SIGNERS = `# Whose receipts are accepted, in OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)): one key a line.
#
#   signer@example.org namespaces="git" ssh-ed25519 AAAA...
#
# \`signpipe init signer\` prints the signer's line. Take it only from its operator, and compare the key's
# fingerprint over another channel than the one over which the line came.
`;

/** The example configuration with the values of this site. */
const configuration = async ({ identity, control, exchange }: SiteSetup): Promise<string> =>
  setValues(await readShippedFile('keys.example/builder.yaml'), {
    'vouch.name': identity.shortName,
    'requests.email': identity.email,
    'requests.name': identity.name,
    'exchange.url': exchange,
    'control.url': control,
  });

function nextSteps({ dir, identity, control, exchange }: SiteSetup, key: string): SetupStep[] {
  const config = join(dir, 'builder.yaml');
  const keyFile = (name: string): string => join(dir, 'keys', name);
  const urls = {
    control: control ?? EXAMPLE_URLS.control,
    exchange: exchange ?? EXAMPLE_URLS.exchange('build'),
  };
  return [
    ...urlSteps(config, { 'control.url': control, 'exchange.url': exchange }),
    allowedSignerStep(keyFile('builder_ed25519'), identity.email, key),
    ...sshSteps(urls, {
      user: identity.shortName,
      role: 'builder',
      key,
      knownHosts: keyFile('known_hosts'),
    }),
    setupStep(
      `Add the signer's line to ${keyFile('receipt_signers')}: its operator has it from "signpipe init signer"`,
    ),
    setupStep(
      'Check the site, then request a signature',
      `signpipe doctor -c ${config}`,
      `signpipe submit -c ${config} build.zip --wait`,
    ),
  ];
}

/** Creates the files of a builder in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export async function initBuilder(given: SiteSetup): Promise<SetupStep[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const at = (name: string): string => join(setup.dir, name);
  let key = '';
  await createFiles([
    publicFile(at('builder.yaml'), await configuration(setup)),
    sshKeyPair(at('keys/builder_ed25519'), setup.identity.email, (line) => (key = line)),
    privateFile(at('keys/receipt_signers'), RECEIPT_SIGNERS),
    privateFile(at('keys/known_hosts'), KNOWN_HOSTS_TEXT),
  ]);
  return nextSteps(setup, key);
}
