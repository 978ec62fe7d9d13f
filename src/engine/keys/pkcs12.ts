import { createPrivateKey, pbkdf2Sync, type KeyObject } from 'node:crypto';
import forge from 'node-forge';
import { invalid, messageOf, usage, type SignpipeError } from '../../lib/errors.ts';
import { Certificate } from '../../lib/x509/certificate.ts';
import { parseBer, toDer } from './ber.ts';
import { checkIterations } from './kdf-limits.ts';

/** What a bag holds, and the attributes that tie keys to certificates. */
interface Labels {
  /** What the user called it; shown by Windows. */
  readonly friendlyName: string | undefined;
  /** Equal in a key and its certificate; hex. */
  readonly localKeyId: string | undefined;
}

export interface KeyBag extends Labels {
  readonly key: KeyObject;
}

export interface CertificateBag extends Labels {
  readonly certificate: Certificate;
}

/** A PKCS#12 file's keys and X.509 certificates, in the file's order. */
export interface Pkcs12 {
  readonly keys: readonly KeyBag[];
  readonly certificates: readonly CertificateBag[];
}

type Bag = forge.pkcs12.Bag;

/** PBKDF2 as forge calls it: salt and result with one character an octet. */
type Pbkdf2 = (
  password: string,
  salt: string,
  iterations: number,
  length: number,
  md: forge.md.MessageDigest,
) => string;

/** Bag types and the type of certificate that are of use here (RFC 7292, 4.2). */
const BAG = {
  key: '1.2.840.113549.1.12.10.1.1',
  shroudedKey: '1.2.840.113549.1.12.10.1.2',
  certificate: '1.2.840.113549.1.12.10.1.3',
  safeContents: '1.2.840.113549.1.12.10.1.6',
};
const ANY_BAG = /^1\.2\.840\.113549\.1\.12\.10\.1\.\d+$/;
const X509_CERTIFICATE = '1.2.840.113549.1.9.22.1';

const partsOf = (node: forge.asn1.Asn1 | undefined): forge.asn1.Asn1[] =>
  node === undefined || typeof node.value === 'string' ? [] : node.value;

const oidOf = (node: forge.asn1.Asn1 | undefined): string =>
  node?.type === forge.asn1.Type.OID && typeof node.value === 'string' ? forge.asn1.derToOid(node.value) : '';

/** A bag's content, inside its [0]. */
const contentOf = (bag: forge.asn1.Asn1): forge.asn1.Asn1 | undefined => partsOf(partsOf(bag)[1])[0];

function ofUse(bag: forge.asn1.Asn1): forge.asn1.Asn1[] {
  const type = oidOf(partsOf(bag)[0]);
  if (type === BAG.key || type === BAG.shroudedKey) return [bag];
  if (type === BAG.certificate) return oidOf(partsOf(contentOf(bag))[0]) === X509_CERTIFICATE ? [bag] : [];
  return type === BAG.safeContents ? partsOf(contentOf(bag)).flatMap(ofUse) : [];
}

/** SafeContents without the bags that are of no use here: secrets, CRLs, other certificates. Other nodes stay. */
function withoutOtherBags(node: forge.asn1.Asn1): forge.asn1.Asn1 {
  const bags = partsOf(node);
  if (bags.length > 0 && bags.every((bag) => ANY_BAG.test(oidOf(partsOf(bag)[0]))))
    node.value = bags.flatMap(ofUse);
  return node;
}

/** What forge falls back on for keys and certificates that it does not know: they are handed over as they came. */
const asItCame = (): never => {
  throw new Error('not to be converted');
};

/**
 * Does `work` with some of forge's functions replaced. `work` is synchronous, so no other code sees the change.
 *
 * - PBKDF2 by node:crypto: forge runs its own one in JavaScript (four seconds for 600,000 iterations), and gives it
 *   the passphrase in UTF-16 units cut to octets, where every other program takes UTF-8.
 * - Bags of other types are left out, since forge refuses the whole file for one of them.
 * - Keys and certificates are not converted: that would make an RSASSA-PSS key an ordinary RSA key, and write a
 *   certificate again.
 */
function withForgeAdapted<T>(passphrase: string, work: () => T): T {
  const { pbkdf2 } = forge.pkcs5;
  const { fromDer } = forge.asn1;
  const { privateKeyFromAsn1, certificateFromAsn1 } = forge.pki;
  const native: Pbkdf2 = (_, salt, iterations, length, md) =>
    pbkdf2Sync(passphrase, Buffer.from(salt, 'latin1'), iterations, length, md.algorithm).toString('latin1');
  const reading = (...args: Parameters<typeof fromDer>): forge.asn1.Asn1 =>
    withoutOtherBags(fromDer(...args));
  Object.assign(forge.pkcs5, { pbkdf2: native });
  Object.assign(forge.asn1, { fromDer: reading });
  Object.assign(forge.pki, { privateKeyFromAsn1: asItCame, certificateFromAsn1: asItCame });
  try {
    return work();
  } finally {
    Object.assign(forge.pkcs5, { pbkdf2 });
    Object.assign(forge.asn1, { fromDer });
    Object.assign(forge.pki, { privateKeyFromAsn1, certificateFromAsn1 });
  }
}

/**
 * How PKCS#12's own derivation may read a passphrase, the likeliest first: as RFC 7292 (B.1) says; an
 * empty one without its terminator; and, as OpenSSL before 1.1 did, each UTF-8 octet as a character.
 */
function readings(passphrase: string): (string | undefined)[] {
  if (passphrase === '') return ['', undefined];
  return [...new Set([passphrase, Buffer.from(passphrase, 'utf8').toString('latin1')])];
}

/** PrivateKeyInfo (RFC 5208, 5). */
function privateKey({ asn1 }: Bag, what: string): KeyObject {
  const der = toDer(asn1);
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch (error) {
    throw invalid('pfx-key', `${what}: a private key that cannot be read`, { cause: error });
  } finally {
    der.fill(0);
  }
}

function labels({ attributes }: Bag): Labels {
  const { friendlyName, localKeyId } = attributes as Record<string, unknown[] | undefined>;
  const [name, id] = [friendlyName?.[0], localKeyId?.[0]];
  return {
    friendlyName: typeof name === 'string' ? name : undefined,
    localKeyId: typeof id === 'string' ? forge.util.bytesToHex(id) : undefined,
  };
}

const isCertificate = ({ type }: Bag): boolean => type === BAG.certificate;

function contents({ safeContents }: forge.pkcs12.Pkcs12Pfx, what: string): Pkcs12 {
  const bags = safeContents.flatMap(({ safeBags }) => safeBags);
  return {
    keys: bags
      .filter((bag) => !isCertificate(bag))
      .map((bag) => ({ key: privateKey(bag, what), ...labels(bag) })),
    certificates: bags
      .filter(isCertificate)
      .map((bag) => ({ certificate: Certificate.parse(toDer(bag.asn1), what), ...labels(bag) })),
  };
}

/** What forge's error says of the file; undefined when it can come of a passphrase that does not fit. */
function fault(error: unknown, opened: boolean, what: string): SignpipeError | undefined {
  const message = messageOf(error);
  if (/support/i.test(message))
    return usage('pfx-unsupported', `${what}: protected in a way that is not supported (${message})`, {
      hint: 'Export it again with a passphrase, AES-256 and PBKDF2, as openssl pkcs12 -export does by default',
      cause: error,
    });
  if (!opened || /MAC could not be verified/.test(message)) return undefined;
  return invalid('pfx-malformed', `${what}: ${message}`, { cause: error });
}

/** The bags, or undefined when this reading of the passphrase does not fit. */
function open(tree: forge.asn1.Asn1, passphrase: string, reading: string | undefined, what: string) {
  const encrypted = checkIterations(tree, what);
  // Where there is a MAC, forge checks it first; without, a wrong passphrase shows in what was decrypted.
  const hasMac = tree.value.length > 2;
  try {
    return withForgeAdapted(passphrase, () => forge.pkcs12.pkcs12FromAsn1(tree, true, reading));
  } catch (error) {
    const found = fault(error, hasMac || !encrypted, what);
    if (found) throw found;
    return undefined;
  }
}

/**
 * Opens a PKCS#12 file (RFC 7292) with a passphrase, as OpenSSL, Windows and Java write them by
 * default. Private keys become KeyObjects at once: forge never signs.
 *
 * Throws `pfx-wrong-passphrase`, `pfx-unsupported` (PBMAC1, scrypt, RC2-128, protection by a public
 * key), `key-iterations`; errors of kind `invalid` when the bytes are broken.
 */
export function readPkcs12(bytes: Buffer, passphrase: string, what: string): Pkcs12 {
  const tree = parseBer(bytes, what);
  for (const reading of readings(passphrase)) {
    const pfx = open(tree, passphrase, reading, what);
    if (pfx) return contents(pfx, what);
  }
  throw usage('pfx-wrong-passphrase', `${what}: the passphrase does not open it`, {
    hint: 'Check the passphrase file, SIGNPIPE_PASSPHRASE, or what was typed',
  });
}
