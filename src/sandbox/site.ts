import type { KeyObject } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../lib/bytes/atomic-file.ts';
import { generateSshKey } from '../lib/ssh/generate-key.ts';
import { createTestPki, toPem, type TestPki } from './certificates.ts';
import { toPfx } from './pkcs12-writer.ts';

/** The URLs of a sandbox site's hosts and its timestamp authorities. */
export interface SitePlaces {
  /** URL of the control repository. */
  readonly control: string;
  /** URL of the exchange. */
  readonly exchange: string;
  /** RFC 3161 authorities; may be empty, since the certificate is a test. */
  readonly timestamp: readonly (string | { readonly url: string; readonly via: string })[];
  /** The file with their root. If not given, any root is accepted, since the certificate is a test. */
  readonly timestampRoots?: string;
  /** Whether the URLs use SSH. */
  readonly ssh: boolean;
}

/** A signer and a builder with test keys, in one folder. */
export interface SandboxSite {
  readonly dir: string;
  readonly signerConfig: string;
  readonly builderConfig: string;
  /** For timestamps by courier. */
  readonly courierConfig: string;
  readonly pki: TestPki;
  /** Public keys that the SSH host must accept. */
  readonly authorizedKeys: readonly string[];
}

const PASSPHRASE = 'only for the sandbox';

/**
 * Creates keys, certificates and allowed signers; `writeConfigs` writes the configurations. The code-signing key can be
 * given: to generate it takes most of the time.
 */
export async function layOutSite(dir: string, key?: KeyObject): Promise<SandboxSite> {
  const keys = join(dir, 'keys');
  await mkdir(keys, { recursive: true, mode: 0o700 });
  const pki = await createTestPki({ key });
  const builder = await generateSshKey(join(keys, 'builder_ed25519'), 'builder@sandbox');
  const signer = await generateSshKey(join(keys, 'signer_ed25519'), 'signer@sandbox');
  const receipts = await generateSshKey(join(keys, 'receipts_ed25519'), 'receipts@sandbox');
  const courier = await generateSshKey(join(keys, 'courier_ed25519'), 'courier@sandbox');
  await writeFileAtomically(join(keys, 'codesign.pfx'), toPfx(pki.codeSigning, PASSPHRASE, 'Sandbox'), {
    mode: 0o600,
  });
  await writeFileAtomically(join(keys, 'passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 });
  await writeFileAtomically(join(keys, 'allowed_signers'), `builder@sandbox namespaces="git" ${builder}\n`);
  await writeFileAtomically(join(keys, 'receipt_signers'), `signer@sandbox namespaces="git" ${receipts}\n`);
  await writeFileAtomically(
    join(keys, 'audit_signers'),
    `builder@sandbox namespaces="git" ${builder}\nsigner@sandbox namespaces="git" ${receipts}\n`,
  );
  await writeFileAtomically(join(dir, 'ca.pem'), toPem([pki.root.certificate]));
  return {
    dir,
    signerConfig: join(dir, 'signer.yaml'),
    builderConfig: join(dir, 'builder.yaml'),
    courierConfig: join(dir, 'courier.yaml'),
    pki,
    authorizedKeys: [builder, signer, courier],
  };
}

const sshPart = (places: SitePlaces, key: string): string =>
  places.ssh ? `ssh:\n  identity: keys/${key}\n  knownHosts: keys/known_hosts\n` : '';

const list = (values: SitePlaces['timestamp']): string => JSON.stringify(values);

/** The URLs of the authorities that are reached by courier. */
const byCourier = ({ timestamp }: SitePlaces): string[] =>
  timestamp.flatMap((each) => (typeof each !== 'string' && each.via === 'courier' ? [each.url] : []));

/** Writes signer.yaml and builder.yaml for these URLs, and courier.yaml if an authority is reached by courier. */
export async function writeConfigs(site: SandboxSite, places: SitePlaces): Promise<void> {
  const common = `control:\n  url: ${places.control}\nexchange:\n  url: ${places.exchange}\n`;
  await writeFileAtomically(
    site.signerConfig,
    `# The demo's signer. keys.example/signer.yaml explains every key.
${common}${sshPart(places, 'signer_ed25519')}signing:
  pfx: keys/codesign.pfx
  passphraseFile: keys/passphrase
  timestamp: ${list(places.timestamp)}
${places.timestampRoots === undefined ? '' : `  timestampRoots: ${places.timestampRoots}\n`}  name: Sandbox product
receipts:
  key: keys/receipts_ed25519
  name: Sandbox signer
trust:
  allowedSigners: keys/allowed_signers
state: signer-state
`,
  );
  await writeFileAtomically(
    site.builderConfig,
    `# The demo's build master. keys.example/builder.yaml explains every key.
${common}${sshPart(places, 'builder_ed25519')}requests:
  key: keys/builder_ed25519
  name: Sandbox builder
  email: builder@sandbox
trust:
  allowedSigners: keys/receipt_signers
state: builder-state
`,
  );
  const authorities = byCourier(places);
  if (authorities.length === 0) return rm(site.courierConfig, { force: true });
  await writeFileAtomically(
    site.courierConfig,
    `# The demo's courier. keys.example/courier.yaml explains every key.
control:
  url: ${places.control}
${sshPart(places, 'courier_ed25519')}trust:
  allowedSigners: keys/receipt_signers
authorities: ${list(authorities)}
state: courier-state
`,
  );
}
