import { createPrivateKey, pbkdf2Sync, type KeyObject } from 'node:crypto';
import forge from 'node-forge';
import { invalid, messageOf, usage, type SignpipeError } from '../errors.ts';
import { Certificate } from '../x509/certificate.ts';
import { parseBer, toDer } from './ber.ts';
import { checkIterations } from './iterations.ts';

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

/**
 * Does `work` with PBKDF2 by node:crypto. Forge's PKCS#12 code calls its own one so that it runs in
 * JavaScript (four seconds for 600,000 iterations), and gives it the passphrase in UTF-16 units cut
 * to octets, where every other program takes UTF-8. `work` is synchronous: nobody else sees the change.
 */
function withNativePbkdf2<T>(passphrase: string, work: () => T): T {
  const { pbkdf2 } = forge.pkcs5;
  const native: Pbkdf2 = (_, salt, iterations, length, md) =>
    pbkdf2Sync(passphrase, Buffer.from(salt, 'latin1'), iterations, length, md.algorithm).toString('latin1');
  Object.assign(forge.pkcs5, { pbkdf2: native });
  try {
    return work();
  } finally {
    Object.assign(forge.pkcs5, { pbkdf2 });
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

/** PrivateKeyInfo (RFC 5208, 5). Forge gives RSA keys as its own objects, and others as they came. */
function privateKey({ key, asn1 }: Bag, what: string): KeyObject {
  const info = key ? forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(key)) : asn1;
  const der = toDer(info);
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch (error) {
    throw invalid('pfx-key', `${what}: a private key that cannot be read`, { cause: error });
  } finally {
    der.fill(0);
  }
}

/**
 * The certificate's own bytes. Forge keeps the part that is signed as it came, but writes the
 * signature's AlgorithmIdentifier anew; the same one stands within (RFC 5280, 4.1.1.2), as its first SEQUENCE.
 */
function certificateDer({ cert, asn1 }: Bag): Buffer {
  if (!cert) return toDer(asn1);
  const whole = forge.pki.certificateToAsn1(cert);
  const [signed, , signature] = whole.value as forge.asn1.Asn1[];
  const fields = signed?.value as forge.asn1.Asn1[];
  const algorithm = fields.find(({ type }) => type === forge.asn1.Type.SEQUENCE);
  whole.value = [signed, algorithm, signature].filter((part) => part !== undefined);
  return toDer(whole);
}

function labels({ attributes }: Bag): Labels {
  const { friendlyName, localKeyId } = attributes as Record<string, unknown[] | undefined>;
  const [name, id] = [friendlyName?.[0], localKeyId?.[0]];
  return {
    friendlyName: typeof name === 'string' ? name : undefined,
    localKeyId: typeof id === 'string' ? forge.util.bytesToHex(id) : undefined,
  };
}

const isCertificate = ({ type }: Bag): boolean => type === forge.pki.oids['certBag'];

function contents({ safeContents }: forge.pkcs12.Pkcs12Pfx, what: string): Pkcs12 {
  const bags = safeContents.flatMap(({ safeBags }) => safeBags);
  return {
    keys: bags
      .filter((bag) => !isCertificate(bag))
      .map((bag) => ({ key: privateKey(bag, what), ...labels(bag) })),
    certificates: bags
      .filter(isCertificate)
      .map((bag) => ({ certificate: Certificate.parse(certificateDer(bag), what), ...labels(bag) })),
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
    return withNativePbkdf2(passphrase, () => forge.pkcs12.pkcs12FromAsn1(tree, true, reading));
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
