import { join, resolve } from 'node:path';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { createFiles, privateFile, publicFile, sshKeyPair, type FileToCreate } from './create-files.ts';
import { commentOut, emptyMap, insertValue, setValue, setValues } from './edit-yaml.ts';
import type { FoundTokenKeys, TokenKeyChoice } from './find-token-keys.ts';
import { allowedSignerLine } from './key-lines.ts';
import { readShippedFile } from './shipped-files.ts';
import { EXAMPLE_URLS, KNOWN_HOSTS_TEXT } from './shipped-texts.ts';
import { setupStep, urlSteps, type SetupStep, type SiteSetup } from './site-setup.ts';
import { sshSteps } from './ssh-steps.ts';

/** A certificate for tests with its key, as a PKCS#12 file. */
export interface TestCertificate {
  readonly pfx: Buffer;
  readonly passphrase: string;
}

interface SignerSetup extends SiteSetup {
  /** Makes a test certificate, after all names were found free; null if the operator will install a real one. */
  readonly makeTestCertificate: (() => Promise<TestCertificate>) | null;
  /** The keys on tokens that were found; null if the key is to be in a file. */
  readonly tokenKeys: FoundTokenKeys | null;
}

const ALLOWED_SIGNERS = `# Who may request signatures and vouch, in OpenSSH's ALLOWED SIGNERS format (ssh-keygen(1)): one key a line.
# As long as there is none, every request is refused.
#
#   build@example.org namespaces="git",valid-before="20300101" ssh-ed25519 AAAA...
#
# \`signpipe init builder\` prints a builder's line. Take it only from its owner, and compare the key's
# fingerprint (ssh-keygen -lf builder_ed25519.pub) over another channel than the one over which the line came.
`;

/** The example configuration with the values of this site; settings of one particular product become comments. */
async function configuration(setup: SignerSetup): Promise<string> {
  let text = await readShippedFile('keys.example/signer.yaml');
  text = emptyMap(text, ['channels']);
  text = commentOut(text, ['signing', 'url']);
  text = commentOut(text, ['signing', 'name']);
  if (setup.tokenKeys) text = withTokenKey(text, setup.tokenKeys);
  if (setup.makeTestCertificate) text = setValue(text, ['signing', 'timestamp'], []);
  return setValues(text, {
    'receipts.name': setup.identity.name,
    'exchange.url': setup.exchange,
    'control.url': setup.control,
  });
}

/** The URI of the key if there is no choice, else one to fill in. */
function withTokenKey(text: string, { keys }: FoundTokenKeys): string {
  const [key, another] = keys;
  const example = 'pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=file:keys/pin';
  const withoutFile = commentOut(commentOut(text, ['signing', 'pfx']), ['signing', 'passphraseFile']);
  return insertValue(withoutFile, ['signing'], 'key', key && !another ? key.uri : example);
}

/** What to know about a key's certificate, as comments. */
const warningLines = ({ findings }: TokenKeyChoice): string[] =>
  findings.map(({ code, message }) => `# warning: ${message} [${code}]`);

function tokenSteps(dir: string, { keys, problems }: FoundTokenKeys): SetupStep[] {
  const [key, another] = keys;
  const config = join(dir, 'signer.yaml');
  const notes = problems.map((problem) => `# ${problem}`);
  const choice =
    key && !another
      ? setupStep(
          `signer.yaml names this key, the only one that was found (${key.what})`,
          key.uri,
          ...warningLines(key),
          ...notes,
        )
      : key
        ? setupStep(
            `Choose one of these keys as signing.key in ${config}`,
            ...keys.flatMap((each) => [`# ${each.what}`, ...warningLines(each), JSON.stringify(each.uri)]),
            ...notes,
          )
        : setupStep(
            `No key on a token was found. List the keys of your token, and complete signing.key in ${config} (docs/keys.md)`,
            ...notes,
            'pkcs11-tool --module MODULE --login --list-objects',
          );
  const pin = join(dir, 'keys/pin');
  return [
    choice,
    setupStep('Write the PIN of the token into keys/pin; it is tried only once', `$EDITOR ${pin}`),
  ];
}

function certificateSteps({ dir, makeTestCertificate, tokenKeys }: SignerSetup): SetupStep[] {
  if (makeTestCertificate)
    return [
      setupStep(
        'Use the certificate in keys/codesign.pfx for tests only: it is self-signed and marked as a test, Windows does not trust it, and builders accept it only with --allow-test-certificate. Never install it anywhere',
      ),
    ];
  return [
    ...(tokenKeys
      ? tokenSteps(dir, tokenKeys)
      : [
          setupStep(
            'Install your code-signing certificate with its key and chain, and write its passphrase into keys/passphrase. Have it issued for an RSA key of 3072 bits or more: App Control and Smart App Control accept no EC keys. signpipe doctor checks this and more. A key in a token or a service is named in signing.key instead (docs/keys.md)',
            `install -m 600 YOUR.pfx ${join(dir, 'keys/codesign.pfx')}`,
            `$EDITOR ${join(dir, 'keys/passphrase')}`,
          ),
        ]),
    setupStep(
      `Set your certificate authority's RFC 3161 timestamp service, the program name that Windows shows, and which files are yours`,
      `$EDITOR ${join(dir, 'signer.yaml')}     # signing.timestamp, signing.name, signing.files`,
    ),
  ];
}

interface PublicKeys {
  identity: string;
  receipts: string;
}

function nextSteps(setup: SignerSetup, keys: PublicKeys): SetupStep[] {
  const { dir, identity, control, exchange } = setup;
  const config = join(dir, 'signer.yaml');
  const urls = {
    control: control ?? EXAMPLE_URLS.control,
    exchange: exchange ?? EXAMPLE_URLS.exchange('sign'),
  };
  return [
    ...urlSteps(config, { 'control.url': control, 'exchange.url': exchange }),
    ...certificateSteps(setup),
    ...sshSteps(urls, {
      user: identity.shortName,
      role: 'signer',
      key: keys.identity,
      knownHosts: join(dir, 'keys/known_hosts'),
    }),
    setupStep(
      `Give this line to every builder, for keys/receipt_signers; with it the builder accepts this signer's receipts`,
      allowedSignerLine(identity.email, keys.receipts),
    ),
    setupStep(
      `Add the line of every builder and voucher to ${join(dir, 'keys/allowed_signers')}, after comparing the fingerprint with its owner`,
    ),
    setupStep(
      'Check the site, then start signing',
      `signpipe doctor -c ${config}`,
      `signpipe watch -c ${config}`,
    ),
  ];
}

/** The test certificate with its passphrase; or an empty file for the passphrase of a real one, or for a token's PIN. */
function codesignFiles({ dir, makeTestCertificate, tokenKeys }: SignerSetup): FileToCreate {
  if (tokenKeys) return privateFile(join(dir, 'keys/pin'), '', 0o600);
  const [pfx, passphrase] = [join(dir, 'keys/codesign.pfx'), join(dir, 'keys/passphrase')];
  if (!makeTestCertificate) return privateFile(passphrase, '', 0o600);
  const create = async (): Promise<void> => {
    const certificate = await makeTestCertificate();
    await writeFileAtomically(passphrase, `${certificate.passphrase}\n`, { mode: 0o600 });
    await writeFileAtomically(pfx, certificate.pfx, { mode: 0o600 });
  };
  return { path: passphrase, alsoCreates: [pfx], create, folderMode: 0o700 };
}

/** Creates the files of a signer in a folder and returns the steps that are left. Throws `init-exists` (usage). */
export async function initSigner(given: SignerSetup): Promise<SetupStep[]> {
  const setup = { ...given, dir: resolve(given.dir) };
  const { email } = setup.identity;
  const at = (name: string): string => join(setup.dir, name);
  const keys: PublicKeys = { identity: '', receipts: '' };
  await createFiles([
    publicFile(at('signer.yaml'), await configuration(setup)),
    sshKeyPair(at('keys/signer_ed25519'), email, (line) => (keys.identity = line)),
    sshKeyPair(at('keys/receipts_ed25519'), `receipts ${email}`, (line) => (keys.receipts = line)),
    privateFile(at('keys/allowed_signers'), ALLOWED_SIGNERS),
    privateFile(at('keys/known_hosts'), KNOWN_HOSTS_TEXT),
    codesignFiles(setup),
  ]);
  return nextSteps(setup, keys);
}
