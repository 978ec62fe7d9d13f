import { join, resolve } from 'node:path';
import { createFiles, privateFile, publicFile, sshKeyPair } from './create-files.ts';
import { setValues } from './edit-yaml.ts';
import { readShippedFile } from './shipped-files.ts';
import { EXAMPLE_URLS, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { allowedSignerStep, setupStep, urlSteps, type SetupStep, type SiteSetup } from './site-setup.ts';
import { sshSteps } from './ssh-steps.ts';

/** The example configuration with the values of this site. */
const configuration = async ({ identity, control }: SiteSetup): Promise<string> =>
  setValues(await readShippedFile('keys.example/voucher.yaml'), {
    'vouch.name': identity.shortName,
    'requests.email': identity.email,
    'requests.name': identity.name,
    'control.url': control,
  });

function nextSteps({ dir, identity, control }: SiteSetup, key: string): SetupStep[] {
  const config = join(dir, 'voucher.yaml');
  const keyFile = (name: string): string => join(dir, 'keys', name);
  return [
    ...urlSteps(config, { 'control.url': control }),
    allowedSignerStep(keyFile('voucher_ed25519'), identity.email, key),
    ...sshSteps(
      { control: control ?? EXAMPLE_URLS.control },
      { user: identity.shortName, role: 'voucher', key, knownHosts: keyFile('known_hosts') },
    ),
    setupStep(
      'Check the site; then build the same source as the builder, and vouch for the result',
      `signpipe doctor -c ${config}`,
      `signpipe vouch -c ${config} build.zip`,
    ),
  ];
}

/** Creates the files of a voucher in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export async function initVoucher(given: SiteSetup): Promise<SetupStep[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const at = (name: string): string => join(setup.dir, name);
  let key = '';
  await createFiles([
    publicFile(at('voucher.yaml'), await configuration(setup)),
    sshKeyPair(at('keys/voucher_ed25519'), setup.identity.email, (line) => (key = line)),
    privateFile(at('keys/known_hosts'), KNOWN_HOSTS_TEXT),
  ]);
  return nextSteps(setup, key);
}
