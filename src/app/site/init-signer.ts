import { join, resolve } from 'node:path';
import { writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { allowedSignerLine, setupStep, type SetupStep } from './key-lines.ts';
import { file, createFiles, privateFile, sshKey, type FileToCreate } from './create-files.ts';
import { EXAMPLE_PLACES, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { sshSteps } from './ssh-steps.ts';
import { readShippedFile } from './shipped-files.ts';
import type { SiteIdentity } from './identity.ts';
import { disable, emptyMap, setValue } from './edit-yaml.ts';

/** A certificate made for tests, as a PKCS#12 file. */
export interface TestCertificate {
  readonly pfx: Buffer;
  readonly passphrase: string;
}

export interface SiteSetup {
  readonly dir: string;
  readonly identity: SiteIdentity;
  /** URLs; the example's unless given. */
  readonly control?: string | undefined;
  readonly exchange?: string | undefined;
}

export interface SignerSetup extends SiteSetup {
  /** Makes a test certificate, once nothing stands in the way; null where a real one will be put. */
  readonly makeTestCertificate: (() => Promise<TestCertificate>) | null;
}

const ALLOWED_SIGNERS = `# SiteIdentity may request signatures and vouch, in OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)): one key a line.
# While there is none, every request is refused.
#
#   build@example.org namespaces="git",valid-before="20300101" ssh-ed25519 AAAA...
#
# \`signpipe init builder\` prints a builder's line. Take it only from its owner, and compare the key's
# fingerprint (ssh-keygen -lf builder_ed25519.pub) by another way than the one by which the line came.
`;

/** The example with this site's values; what is about somebody's product becomes a comment. */
async function configuration({ identity, makeTestCertificate, ...places }: SignerSetup): Promise<string> {
  let text = await readShippedFile('keys.example/signer.yaml');
  text = emptyMap(text, ['channels']);
  text = disable(text, ['signing', 'url']);
  text = disable(text, ['signing', 'name']);
  if (makeTestCertificate) text = setValue(text, ['signing', 'timestamp'], []);
  text = setValue(text, ['receipts', 'name'], identity.name);
  if (places.exchange !== undefined) text = setValue(text, ['exchange', 'url'], places.exchange);
  if (places.control !== undefined) text = setValue(text, ['control', 'url'], places.control);
  return text;
}

function certificateSteps(setup: SignerSetup): SetupStep[] {
  const { dir } = setup;
  if (setup.makeTestCertificate)
    return [
      setupStep(
        'keys/codesign.pfx holds a self-signed certificate, marked as a test: Windows will not trust it, and builders have to ask for it with --allow-test-certificate. Never install it anywhere.',
      ),
    ];
  return [
    setupStep(
      'Put the code-signing certificate with its key and chain where signer.yaml looks for it, and its passphrase beside it',
      `install -m 600 YOUR.pfx ${join(dir, 'keys/codesign.pfx')}`,
      `$EDITOR ${join(dir, 'keys/passphrase')}`,
    ),
    setupStep(
      `Name your authority's RFC 3161 timestamp service, and what Windows shows as the program's name`,
      `$EDITOR ${join(dir, 'signer.yaml')}     # signing.timestamp, signing.name, signing.files`,
    ),
  ];
}

function nextSteps(setup: SignerSetup, keys: { identity: string; receipts: string }): SetupStep[] {
  const { dir, identity } = setup;
  const at = (name: string): string => join(dir, name);
  const places = {
    control: setup.control ?? EXAMPLE_PLACES.control,
    exchange: setup.exchange ?? EXAMPLE_PLACES.exchange('sign'),
  };
  const unnamed = setup.control === undefined || setup.exchange === undefined;
  return [
    ...(unnamed
      ? [
          setupStep(
            'Say where requests and zips are',
            `$EDITOR ${at('signer.yaml')}     # control.url, exchange.url`,
          ),
        ]
      : []),
    ...certificateSteps(setup),
    ...sshSteps(places, {
      user: identity.shortName,
      role: 'signer',
      key: keys.identity,
      knownHosts: at('keys/known_hosts'),
    }),
    setupStep(
      `For keys/receipt_signers of every builder: whose receipts they believe`,
      allowedSignerLine(identity.email, keys.receipts),
    ),
    setupStep(
      `Let builders in: add the line of each to ${at('keys/allowed_signers')}, after comparing fingerprints`,
    ),
    setupStep(
      'Try every part, then sign',
      `signpipe doctor -c ${at('signer.yaml')}`,
      `signpipe watch -c ${at('signer.yaml')}`,
    ),
  ];
}

/** The key that signs, under a passphrase; the place for the passphrase alone where there is no key yet. */
function codesignPiece({ dir, makeTestCertificate }: SignerSetup): FileToCreate {
  const [pfx, passphrase] = [join(dir, 'keys/codesign.pfx'), join(dir, 'keys/passphrase')];
  if (!makeTestCertificate) return privateFile(passphrase, '', 0o600);
  const make = async (): Promise<void> => {
    const made = await makeTestCertificate();
    await writeFileAtomically(passphrase, `${made.passphrase}\n`, { mode: 0o600 });
    await writeFileAtomically(pfx, made.pfx, { mode: 0o600 });
  };
  return { path: passphrase, also: [pfx], make, folderMode: 0o700 };
}

/** Lays out a signer's site in a folder; gives what is left to do. Throws `init-exists` (usage). */
export async function initSigner(given: SignerSetup): Promise<SetupStep[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const { dir, identity } = setup;
  const at = (name: string): string => join(dir, name);
  const keys = { identity: '', receipts: '' };
  await createFiles([
    file(at('signer.yaml'), await configuration(setup)),
    sshKey(at('keys/signer_ed25519'), identity.email, (line) => (keys.identity = line)),
    sshKey(at('keys/receipts_ed25519'), `receipts ${identity.email}`, (line) => (keys.receipts = line)),
    privateFile(at('keys/allowed_signers'), ALLOWED_SIGNERS),
    privateFile(at('keys/known_hosts'), KNOWN_HOSTS_TEXT),
    codesignPiece(setup),
  ]);
  return nextSteps(setup, keys);
}
