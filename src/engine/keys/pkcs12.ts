import { createPrivateKey, pbkdf2Sync, type KeyObject } from 'node:crypto';
import forge from 'node-forge';
import { invalid, messageOf, usage, type SignpipeError } from '../../lib/errors.ts';
import { Certificate } from '../../lib/x509/certificate.ts';
import { parseBer, toDer } from './ber.ts';
import { WRONG_PASSPHRASE_HINT } from './passphrase.ts';
import { checkKdfLimits } from './kdf-limits.ts';

/** The attributes of a bag that link keys to certificates. */
interface BagAttributes {
  /** The name that the user chose, which Windows shows. */
  readonly friendlyName: string | undefined;
  /** The same in a key and its certificate; hex. */
  readonly localKeyId: string | undefined;
}

export interface KeyBag extends BagAttributes {
  readonly key: KeyObject;
}

export interface CertificateBag extends BagAttributes {
  readonly certificate: Certificate;
}

/** The keys and X.509 certificates of a PKCS#12 file, in the order of the file. */
export interface Pkcs12 {
  readonly keys: readonly KeyBag[];
  readonly certificates: readonly CertificateBag[];
}

type Bag = forge.pkcs12.Bag;

/** PBKDF2 as forge calls it: salt and result have one character per octet. */
type Pbkdf2 = (
  password: string,
  salt: string,
  iterations: number,
  length: number,
  md: forge.md.MessageDigest,
) => string;

/** The bag types that are read here (RFC 7292, 4.2). */
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

/** The content of a bag, inside its [0]. */
const contentOf = (bag: forge.asn1.Asn1): forge.asn1.Asn1 | undefined => partsOf(partsOf(bag)[1])[0];

function usableBags(bag: forge.asn1.Asn1): forge.asn1.Asn1[] {
  const type = oidOf(partsOf(bag)[0]);
  if (type === BAG.key || type === BAG.shroudedKey) return [bag];
  if (type === BAG.certificate) return oidOf(partsOf(contentOf(bag))[0]) === X509_CERTIFICATE ? [bag] : [];
  return type === BAG.safeContents ? partsOf(contentOf(bag)).flatMap(usableBags) : [];
}

/** Removes from SafeContents the bags that are not read here: secrets, CRLs, other certificates. Leaves other nodes. */
function removeOtherBags(node: forge.asn1.Asn1): forge.asn1.Asn1 {
  const bags = partsOf(node);
  if (bags.length > 0 && bags.every((bag) => ANY_BAG.test(oidOf(partsOf(bag)[0]))))
    node.value = bags.flatMap(usableBags);
  return node;
}

/** Stops forge from converting a key or certificate: after an error it returns the DER. */
const refuseConversion = (): never => {
  throw new Error('must not be converted');
};

/**
 * Runs `work` with some of forge's functions replaced. `work` is synchronous, so no other code sees the change.
 *
 * - PBKDF2 is node:crypto's. forge's own is in JavaScript (four seconds for 600,000 iterations), and reads the
 *   passphrase as UTF-16 units cut to octets; every other program uses UTF-8.
 * - Bags of other types are removed: forge refuses the whole file for one of them.
 * - Keys and certificates are not converted: that would turn an RSASSA-PSS key into an ordinary RSA key, and encode a
 *   certificate again.
 */
function withForgeAdapted<T>(passphrase: string, work: () => T): T {
  const { pbkdf2 } = forge.pkcs5;
  const { fromDer } = forge.asn1;
  const { privateKeyFromAsn1, certificateFromAsn1 } = forge.pki;
  const native: Pbkdf2 = (_, salt, iterations, length, md) =>
    pbkdf2Sync(passphrase, Buffer.from(salt, 'latin1'), iterations, length, md.algorithm).toString('latin1');
  const reading = (...args: Parameters<typeof fromDer>): forge.asn1.Asn1 => removeOtherBags(fromDer(...args));
  Object.assign(forge.pkcs5, { pbkdf2: native });
  Object.assign(forge.asn1, { fromDer: reading });
  Object.assign(forge.pki, { privateKeyFromAsn1: refuseConversion, certificateFromAsn1: refuseConversion });
  try {
    return work();
  } finally {
    Object.assign(forge.pkcs5, { pbkdf2 });
    Object.assign(forge.asn1, { fromDer });
    Object.assign(forge.pki, { privateKeyFromAsn1, certificateFromAsn1 });
  }
}

/**
 * The forms of a passphrase for PKCS#12's own key derivation, the likeliest first: as RFC 7292 (B.1) defines; an
 * empty one without its terminator; and, as in OpenSSL before 1.1, each UTF-8 octet as a character.
 */
function passphraseForms(passphrase: string): (string | undefined)[] {
  if (passphrase === '') return ['', undefined];
  return [...new Set([passphrase, Buffer.from(passphrase, 'utf8').toString('latin1')])];
}

/** Reads a PrivateKeyInfo (RFC 5208, 5). */
function privateKey({ asn1 }: Bag, what: string): KeyObject {
  const der = toDer(asn1);
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch (error) {
    throw invalid('pfx-key', `${what}: a private key in it cannot be read`, { cause: error });
  } finally {
    der.fill(0);
  }
}

function attributesOf({ attributes }: Bag): BagAttributes {
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
      .map((bag) => ({ key: privateKey(bag, what), ...attributesOf(bag) })),
    certificates: bags
      .filter(isCertificate)
      .map((bag) => ({ certificate: Certificate.parse(toDer(bag.asn1), what), ...attributesOf(bag) })),
  };
}

/** Maps an error of forge's; undefined if a wrong passphrase can be its cause. */
function forgeError(error: unknown, opened: boolean, what: string): SignpipeError | undefined {
  const message = messageOf(error);
  if (/support/i.test(message))
    return usage('pfx-unsupported', `${what}: its encryption or MAC is not supported (${message})`, {
      hint: 'export it again with a passphrase, AES-256 and PBKDF2, as openssl pkcs12 -export does by default',
      cause: error,
    });
  if (!opened || /MAC could not be verified/.test(message)) return undefined;
  return invalid('pfx-malformed', `${what}: ${message}`, { cause: error });
}

/** Decrypts the file; undefined if this form of the passphrase is wrong. */
function decrypt(tree: forge.asn1.Asn1, passphrase: string, form: string | undefined, what: string) {
  const encrypted = checkKdfLimits(tree, what);
  // If there is a MAC, forge checks it first; if not, a wrong passphrase shows only in what was decrypted.
  const hasMac = tree.value.length > 2;
  try {
    return withForgeAdapted(passphrase, () => forge.pkcs12.pkcs12FromAsn1(tree, true, form));
  } catch (error) {
    const mapped = forgeError(error, hasMac || !encrypted, what);
    if (mapped) throw mapped;
    return undefined;
  }
}

/**
 * Reads a PKCS#12 file (RFC 7292) with a passphrase: those that OpenSSL, Windows and Java write by default. Private
 * keys become KeyObjects at once: forge never signs.
 *
 * Throws `pfx-wrong-passphrase`, `pfx-unsupported` (PBMAC1, scrypt, RC2-128, protection by a public
 * key), `key-iterations`; errors of kind `invalid` if the bytes are malformed.
 */
export function readPkcs12(bytes: Buffer, passphrase: string, what: string): Pkcs12 {
  const tree = parseBer(bytes, what);
  for (const form of passphraseForms(passphrase)) {
    const pfx = decrypt(tree, passphrase, form, what);
    if (pfx) return contents(pfx, what);
  }
  throw usage('pfx-wrong-passphrase', `${what}: the passphrase does not open the file`, {
    hint: WRONG_PASSPHRASE_HINT,
  });
}
