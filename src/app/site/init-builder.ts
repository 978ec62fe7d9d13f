import { join, resolve } from 'node:path';
import type { SiteSetup } from './init-signer.ts';
import { allowedSignerLine, setupStep, type SetupStep } from './key-lines.ts';
import { file, createFiles, privateFile, sshKey } from './create-files.ts';
import { EXAMPLE_PLACES, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { sshSteps } from './ssh-steps.ts';
import { readShippedFile } from './shipped-files.ts';
import { setValue } from './edit-yaml.ts';

const RECEIPT_SIGNERS = `# Whose receipts are believed, in OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)): one key a line.
#
#   signer@example.org namespaces="git" ssh-ed25519 AAAA...
#
# \`signpipe init signer\` prints the signer's line. Take it only from its operator, and compare the key's
# fingerprint by another way than the one by which the line came.
`;

/** The example with this site's values. */
async function configuration({ identity, control, exchange }: SiteSetup): Promise<string> {
  let text = await readShippedFile('keys.example/builder.yaml');
  text = setValue(text, ['vouch', 'name'], identity.shortName);
  text = setValue(text, ['requests', 'email'], identity.email);
  text = setValue(text, ['requests', 'name'], identity.name);
  if (exchange !== undefined) text = setValue(text, ['exchange', 'url'], exchange);
  if (control !== undefined) text = setValue(text, ['control', 'url'], control);
  return text;
}

function nextSteps(setup: SiteSetup, key: string): SetupStep[] {
  const { dir, identity, control, exchange } = setup;
  const at = (name: string): string => join(dir, name);
  const places = {
    control: control ?? EXAMPLE_PLACES.control,
    exchange: exchange ?? EXAMPLE_PLACES.exchange('build'),
  };
  const unnamed = control === undefined || exchange === undefined;
  return [
    ...(unnamed
      ? [
          setupStep(
            'Say where requests and zips go',
            `$EDITOR ${at('builder.yaml')}     # control.url, exchange.url`,
          ),
        ]
      : []),
    setupStep(
      `For the signer's operator, into keys/allowed_signers; confirm the fingerprint by another channel (ssh-keygen -lf ${at('keys/builder_ed25519.pub')})`,
      allowedSignerLine(identity.email, key),
    ),
    ...sshSteps(places, {
      user: identity.shortName,
      role: 'builder',
      key,
      knownHosts: at('keys/known_hosts'),
    }),
    setupStep(
      `Put the signer's line, which its operator has from "signpipe init signer", into ${at('keys/receipt_signers')}`,
    ),
    setupStep(
      'Try every part, then ask for a signature',
      `signpipe doctor -c ${at('builder.yaml')}`,
      `signpipe submit -c ${at('builder.yaml')} build.zip --wait`,
    ),
  ];
}

/** Lays out a builder's site in a folder; gives what is left to do. Throws `init-exists` (usage). */
export async function initBuilder(given: SiteSetup): Promise<SetupStep[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const at = (name: string): string => join(setup.dir, name);
  let key = '';
  await createFiles([
    file(at('builder.yaml'), await configuration(setup)),
    sshKey(at('keys/builder_ed25519'), setup.identity.email, (line) => (key = line)),
    privateFile(at('keys/receipt_signers'), RECEIPT_SIGNERS),
    privateFile(at('keys/known_hosts'), KNOWN_HOSTS_TEXT),
  ]);
  return nextSteps(setup, key);
}
