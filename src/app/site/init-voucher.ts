import { join, resolve } from 'node:path';
import type { SiteSetup } from './init-signer.ts';
import { file, createFiles, privateFile, sshKey } from './create-files.ts';
import { allowedSignerLine, setupStep, type SetupStep } from './key-lines.ts';
import { EXAMPLE_PLACES, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { sshSteps } from './ssh-steps.ts';
import { readShippedFile } from './shipped-files.ts';
import { setValue } from './edit-yaml.ts';

/** The example with this site's values. */
async function configuration({ identity, control }: SiteSetup): Promise<string> {
  let text = await readShippedFile('keys.example/voucher.yaml');
  text = setValue(text, ['vouch', 'name'], identity.shortName);
  text = setValue(text, ['requests', 'email'], identity.email);
  text = setValue(text, ['requests', 'name'], identity.name);
  return control === undefined ? text : setValue(text, ['control', 'url'], control);
}

function nextSteps({ dir, identity, control }: SiteSetup, key: string): SetupStep[] {
  const at = (name: string): string => join(dir, name);
  const place =
    control === undefined
      ? [setupStep('Name the control repository', `$EDITOR ${at('voucher.yaml')}     # control.url`)]
      : [];
  return [
    ...place,
    setupStep(
      `For the signer's operator, into keys/allowed_signers; confirm the fingerprint by another channel (ssh-keygen -lf ${at('keys/voucher_ed25519.pub')})`,
      allowedSignerLine(identity.email, key),
    ),
    ...sshSteps(
      { control: control ?? EXAMPLE_PLACES.control },
      { user: identity.shortName, role: 'voucher', key, knownHosts: at('keys/known_hosts') },
    ),
    setupStep(
      'Build the same source, then vouch for the result',
      `signpipe doctor -c ${at('voucher.yaml')}`,
      `signpipe vouch -c ${at('voucher.yaml')} build.zip`,
    ),
  ];
}

/** Lays out a voucher's site in a folder; gives what is left to do. Throws `init-exists` (usage). */
export async function initVoucher(given: SiteSetup): Promise<SetupStep[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const at = (name: string): string => join(setup.dir, name);
  let key = '';
  await createFiles([
    file(at('voucher.yaml'), await configuration(setup)),
    sshKey(at('keys/voucher_ed25519'), setup.identity.email, (line) => (key = line)),
    privateFile(at('keys/known_hosts'), KNOWN_HOSTS_TEXT),
  ]);
  return nextSteps(setup, key);
}
