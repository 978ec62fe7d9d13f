import { join, resolve } from 'node:path';
import type { SiteSetup } from './init-signer.ts';
import { file, layOut, privateFile, sshKey } from './create-files.ts';
import { allowedSignerLine, step, type Step } from './key-lines.ts';
import { EXAMPLE_PLACES, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { sshSteps } from './ssh-steps.ts';
import { shipped } from './shipped-files.ts';
import { setValue } from './edit-yaml.ts';

/** The example with this site's values. */
async function configuration({ who, control }: SiteSetup): Promise<string> {
  let text = await shipped('keys.example/voucher.yaml');
  text = setValue(text, ['vouch', 'name'], who.plain);
  text = setValue(text, ['requests', 'email'], who.email);
  text = setValue(text, ['requests', 'name'], who.name);
  return control === undefined ? text : setValue(text, ['control', 'url'], control);
}

function nextSteps({ dir, who, control }: SiteSetup, key: string): Step[] {
  const at = (name: string): string => join(dir, name);
  const place =
    control === undefined
      ? [step('Name the control repository', `$EDITOR ${at('voucher.yaml')}     # control.url`)]
      : [];
  return [
    ...place,
    step(
      `For the signer's operator, into keys/allowed_signers; confirm the fingerprint by another channel (ssh-keygen -lf ${at('keys/voucher_ed25519.pub')})`,
      allowedSignerLine(who.email, key),
    ),
    ...sshSteps(
      { control: control ?? EXAMPLE_PLACES.control },
      { user: who.plain, role: 'voucher', key, knownHosts: at('keys/known_hosts') },
    ),
    step(
      'Build the same source, then vouch for the result',
      `signpipe doctor -c ${at('voucher.yaml')}`,
      `signpipe vouch -c ${at('voucher.yaml')} build.zip`,
    ),
  ];
}

/** Lays out a voucher's site in a folder; gives what is left to do. Throws `init-exists` (usage). */
export async function initVoucher(given: SiteSetup): Promise<Step[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const at = (name: string): string => join(setup.dir, name);
  let key = '';
  await layOut([
    file(at('voucher.yaml'), await configuration(setup)),
    sshKey(at('keys/voucher_ed25519'), setup.who.email, (line) => (key = line)),
    privateFile(at('keys/known_hosts'), KNOWN_HOSTS_TEXT),
  ]);
  return nextSteps(setup, key);
}
