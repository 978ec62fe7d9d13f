import { plural } from '../../../lib/plural.ts';
import { randomBytes, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { OID } from '../../../lib/asn1/oids.ts';
import type { SigningConfig } from '../../config/channel-sections.ts';
import type { SignerConfig } from '../../config/signer.ts';
import { printable } from '../../../lib/printable.ts';
import { readRoots } from '../../../engine/keys/trusted-roots.ts';
import { describeKey, openSigningKey, type KeySettings } from '../../../engine/keys/open.ts';
import { isTestChain, type SigningKey } from '../../../engine/keys/signing-key.ts';
import { openReceiptWriter } from '../../signer/context/signer-context.ts';
import { parseIdentity } from '../../../lib/ssh/identity.ts';
import { findPassphrase } from '../../../engine/keys/passphrase.ts';
import { isCovered } from '../../../lib/x509/expiry.ts';
import { changeAt } from '../../../lib/x509/successor-findings.ts';
import { checkCertificate, checkValidity } from './check-certificate.ts';
import { buildChain } from '../../../lib/x509/chain.ts';
import { bad, ok, silent, resultOf, warning, type CheckResult } from './check-result.ts';
import { isoDay } from '../../../lib/iso-day.ts';

/** Builds the chain up to the configured roots; without roots, describes the chain in the file. */
async function checkChain(
  { certificates, missingIssuer }: SigningKey,
  config: SigningConfig,
  now: Date,
): Promise<CheckResult> {
  const [leaf, ...intermediates] = certificates;
  if (!leaf) throw new Error('a signing key without certificates');
  const roots = await readRoots(config.roots);
  if (roots) {
    const complete = buildChain(leaf, { intermediates, roots, at: now, usage: OID.codeSigning });
    return ok(`its chain leads to ${printable(complete.at(-1)?.subject ?? '', 200)}`);
  }
  if (leaf.isSelfIssued) return ok('self-signed: no authority issued it');
  if (missingIssuer !== undefined && !leaf.isTest)
    return warning(
      'certificate-chain-short',
      `the file has no certificate of its issuer, ${printable(missingIssuer, 200)}`,
      'unless the issuer is a root that Windows trusts, add the intermediate certificates of your authority to the file',
    );
  const issuer = printable(certificates.at(-1)?.issuer ?? '', 200);
  return ok(
    `chain of ${plural(certificates.length, 'certificate')}, the last issued by ${issuer}; not checked, since signing.roots is not set`,
  );
}

/** Signs random data and verifies the signature with the certificate. */
async function checkSignature(key: SigningKey, { digest }: SigningConfig): Promise<CheckResult> {
  const data = randomBytes(64);
  const start = performance.now();
  const { value, certificates } = await key.sign(digest, data);
  const duration = Math.round(performance.now() - start);
  const [leaf] = certificates;
  return leaf && verify(digest, data, leaf.publicKey, value)
    ? ok(`signs with ${key.algorithm.toUpperCase()} and ${digest}, ${duration} ms`)
    : bad(
        'key-signs-wrongly',
        'its signature does not verify with its certificate',
        'check whether the key file or the token is damaged',
      );
}

/** Opens each signing key once, however many checks and channels use it. */
export class SigningKeys {
  private readonly opened = new Map<string, Promise<SigningKey>>();

  /** Opens the key that a configuration names, or returns the one that is open. */
  async open(config: KeySettings | SigningConfig): Promise<SigningKey> {
    const description = describeKey(config);
    const id = JSON.stringify(description);
    const key = this.opened.get(id) ?? openSigningKey(description, { warn: silent });
    this.opened.set(id, key);
    return key;
  }

  /** Closes the keys that are open, and the others once they are; does not wait, since a token can hang. */
  close(): void {
    for (const key of this.opened.values()) key.then((each) => each.close()).catch(() => {}); // Its check reported that the key does not open.
  }
}

/** Checks an open key: its certificate, its chain, and that it signs. `validity` says whether it may sign programs now. */
export async function checkOpenKey(
  key: SigningKey,
  config: SigningConfig,
  { at, validity }: { readonly at: Date; readonly validity: readonly CheckResult[] },
): Promise<CheckResult[]> {
  const [leaf] = key.certificates;
  if (!leaf) return [];
  const test = isTestChain(key.certificates);
  const mark = test ? ' (a TEST certificate: Windows does not trust it)' : '';
  return [
    ok(`${printable(leaf.subject, 200)}${mark}`),
    ...validity,
    ...checkCertificate(key),
    await checkChain(key, config, at).catch((error: unknown) => resultOf(error)),
    await checkSignature(key, config),
    ...(config.timestamp.length === 0 && !test ? [untimestamped] : []),
  ];
}

/**
 * Checks the key of one or more channels: it opens, may sign programs now, has a chain, and signs. If its successor has
 * taken over, the key is not needed any more.
 */
export async function checkSigningKey(
  config: SigningConfig,
  keys: SigningKeys,
  now: Date,
): Promise<CheckResult[]> {
  const { successor } = config;
  if (successor && now >= successor.from) return [ok(replacedSince(successor.from))];
  const key = await keys.open(config);
  const next = successor && (await keys.open(successor).catch(() => null)); // Its own check reports that it does not open.
  return checkOpenKey(key, config, {
    at: now,
    validity: checkValidity(key, { now, covered: coverOf(key, config, next) }),
  });
}

/** The settings of the key in use: after its date, those of the successor; the key before it may be gone. */
export const settingsInUse = (signing: SigningConfig, now: Date): KeySettings =>
  signing.successor && now >= signing.successor.from ? signing.successor : signing;

const replacedSince = (from: Date): string =>
  `signing.successor has signed since ${from.toISOString()}: make its settings those of signing, and remove signing.successor`;

/** How the successor covers the end of a key's certificate; undefined if it does not. */
function coverOf(
  { certificates: [current] }: SigningKey,
  { successor }: SigningConfig,
  nextKey: SigningKey | null | undefined,
): string | undefined {
  const [next] = nextKey?.certificates ?? [];
  if (!successor || !current || !next) return undefined;
  const succession = { current, next, from: successor.from };
  return isCovered(succession)
    ? `signing.successor takes over on ${isoDay(changeAt(succession))}`
    : undefined;
}

const untimestamped = bad(
  'untimestamped',
  'signing.timestamp is empty, and this is not a test certificate',
  'name at least one RFC 3161 authority',
);

/** The public key of the SSH identity, if that is a file. */
async function identityKey(config: SignerConfig): Promise<Buffer | null> {
  const { ssh } = config;
  if (ssh?.identity === undefined) return null;
  const passphrase = await findPassphrase({ file: ssh.passphraseFile, environment: {} });
  return parseIdentity(await readFile(ssh.identity), ssh.identity, passphrase).getPublicSSH();
}

/** Checks that the key for receipts opens, signs, and is not the one that logs in. */
export async function checkReceiptsKey(config: SignerConfig): Promise<CheckResult[]> {
  const { signer } = await openReceiptWriter(config, silent);
  await signer.sign('git', randomBytes(64));
  const provenance = [...config.channels.values()].some((channel) => channel.provenance);
  if (provenance) await signer.signStandard(randomBytes(64));
  const identity = await identityKey(config).catch(() => null); // The SSH checks report a bad identity.
  const same = identity?.equals(signer.publicKey) ?? false;
  return [
    ok(`${signer.fingerprint} signs receipts${provenance ? ' and provenance' : ''}`),
    ...(same
      ? [
          warning(
            'receipts-key-logs-in',
            'the key for receipts is also the SSH identity',
            'make another key for receipts (ssh-keygen -t ed25519): then a thief of the SSH identity cannot forge receipts',
          ),
        ]
      : []),
  ];
}
