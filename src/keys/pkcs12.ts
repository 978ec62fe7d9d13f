import { createHmac, createPrivateKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import {
  children,
  context,
  contextPrimitive,
  DerReader,
  parseDer,
  readInteger,
  readOctets,
  readOid,
  readText,
  TAG,
  type Der,
} from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import { invalid, usage, type SignpipeError } from '../errors.ts';
import { Certificate } from '../x509/certificate.ts';
import { berToDer } from './ber.ts';
import {
  decrypt,
  deriveByPbkdf2,
  derivePkcs12,
  macDigest,
  passwordsFrom,
  pseudorandomDigest,
  PURPOSE,
  WorkBudget,
  type Password,
} from './password-based.ts';

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

const BAG = {
  key: '1.2.840.113549.1.12.10.1.1',
  shroudedKey: '1.2.840.113549.1.12.10.1.2',
  certificate: '1.2.840.113549.1.12.10.1.3',
  safeContents: '1.2.840.113549.1.12.10.1.6',
} as const;

const ENCRYPTED_DATA = '1.2.840.113549.1.7.6';
const X509_CERTIFICATE = '1.2.840.113549.1.9.22.1';
const FRIENDLY_NAME = '1.2.840.113549.1.9.20';
const LOCAL_KEY_ID = '1.2.840.113549.1.9.21';
const PBMAC1 = '1.2.840.113549.1.5.14';

/** More bags than any key store exports. */
const MOST_BAGS = 256;
const DEEPEST_SAFE = 4;

const wrongPassphrase = (what: string): SignpipeError =>
  usage('pfx-wrong-passphrase', `${what}: the passphrase does not open it`, {
    hint: 'Check the passphrase file, SIGNPIPE_PASSPHRASE, or what was typed',
  });

/** A clear text that cannot be parsed: the password was wrong, or the file is broken. */
class Undecipherable extends Error {}

/** Reads the bags of one file with one reading of the passphrase. */
class Safe {
  readonly keys: KeyBag[] = [];
  readonly certificates: CertificateBag[] = [];
  private bags = 0;

  constructor(
    private readonly password: Password,
    private readonly budget: WorkBudget,
  ) {}

  private get what(): string {
    return this.budget.what;
  }

  /** AuthenticatedSafe ::= SEQUENCE OF ContentInfo (RFC 7292, 4.1). */
  async read(authenticatedSafe: Buffer): Promise<void> {
    const der = parseDer(berToDer(authenticatedSafe, this.what), this.what);
    for (const info of children(der, this.what)) await this.contentInfo(info);
  }

  private async contentInfo(info: Der): Promise<void> {
    const reader = new DerReader(info, this.what);
    const type = readOid(reader.next(TAG.oid), this.what);
    const content = parseDer(reader.next(context(0)).body, this.what);
    reader.end();
    if (type === OID.data) return this.safeContents(readOctets(content, this.what), 0);
    if (type === ENCRYPTED_DATA) return this.safeContents(await this.encryptedData(content), 0);
    throw usage('pfx-unsupported', `${this.what}: protected by a public key (${type})`, {
      hint: 'Export it again, protected by a passphrase',
    });
  }

  /** EncryptedData (RFC 5652, 8); its content is [0] IMPLICIT OCTET STRING, in pieces when it was BER. */
  private async encryptedData(content: Der): Promise<Buffer> {
    const outer = new DerReader(content, this.what);
    outer.next(TAG.integer);
    const info = new DerReader(outer.next(TAG.sequence), this.what);
    info.next(TAG.oid);
    const algorithm = info.next(TAG.sequence);
    const whole = info.optional(contextPrimitive(0));
    const pieces = whole ? [] : children(info.next(context(0)), this.what);
    info.end();
    const data = whole ? whole.body : Buffer.concat(pieces.map((piece) => readOctets(piece, this.what)));
    return this.clear(algorithm, data);
  }

  private async clear(algorithm: Der, data: Buffer): Promise<Buffer> {
    const clear = await decrypt(algorithm, this.password, data, this.budget);
    if (!clear) throw new Undecipherable();
    try {
      return berToDer(clear, this.what);
    } catch (error) {
      throw new Undecipherable(undefined, { cause: error });
    }
  }

  private async safeContents(bytes: Buffer, depth: number): Promise<void> {
    if (depth > DEEPEST_SAFE) throw invalid('pfx-depth', `${this.what}: safes within safes`);
    const der = parseDer(berToDer(bytes, this.what), this.what);
    for (const bag of children(der, this.what)) {
      if ((this.bags += 1) > MOST_BAGS)
        throw invalid('pfx-bags', `${this.what}: more than ${MOST_BAGS} bags`);
      await this.bag(bag, depth);
    }
  }

  /** SafeBag (RFC 7292, 4.2). CRLs and secrets are passed over: they are no business of ours. */
  private async bag(bag: Der, depth: number): Promise<void> {
    const reader = new DerReader(bag, this.what);
    const type = readOid(reader.next(TAG.oid), this.what);
    const value = parseDer(reader.next(context(0)).body, this.what);
    const attributes = reader.optional(TAG.set);
    reader.end();
    const labels = this.labels(attributes);
    if (type === BAG.key) this.keys.push({ key: this.privateKey(value.raw), ...labels });
    if (type === BAG.shroudedKey) this.keys.push({ key: await this.shroudedKey(value), ...labels });
    if (type === BAG.certificate) this.certificateBag(value, labels);
    if (type === BAG.safeContents) await this.safeContents(value.raw, depth + 1);
  }

  private labels(attributes: Der | undefined): Labels {
    const found = new Map<string, Der>();
    for (const attribute of attributes ? children(attributes, this.what) : []) {
      const reader = new DerReader(attribute, this.what);
      const type = readOid(reader.next(TAG.oid), this.what);
      const [value] = children(reader.next(TAG.set), this.what);
      if (value) found.set(type, value);
    }
    const name = found.get(FRIENDLY_NAME);
    const id = found.get(LOCAL_KEY_ID);
    return {
      friendlyName: name && readText(name, this.what),
      localKeyId: id && readOctets(id, this.what).toString('hex'),
    };
  }

  private async shroudedKey(value: Der): Promise<KeyObject> {
    const reader = new DerReader(value, this.what);
    const algorithm = reader.next(TAG.sequence);
    const data = readOctets(reader.next(TAG.octetString), this.what);
    reader.end();
    const clear = await this.clear(algorithm, data);
    try {
      return this.privateKey(clear);
    } finally {
      clear.fill(0);
    }
  }

  private privateKey(pkcs8: Buffer): KeyObject {
    try {
      return createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
    } catch (error) {
      throw invalid('pfx-key', `${this.what}: a private key that cannot be read`, { cause: error });
    }
  }

  private certificateBag(value: Der, labels: Labels): void {
    const reader = new DerReader(value, this.what);
    const type = readOid(reader.next(TAG.oid), this.what);
    if (type !== X509_CERTIFICATE) return;
    const octets = readOctets(parseDer(reader.next(context(0)).body, this.what), this.what);
    this.certificates.push({ certificate: Certificate.parse(octets, this.what), ...labels });
  }
}

interface Mac {
  readonly algorithm: Der;
  readonly digest: Buffer;
  readonly salt: Buffer;
  readonly iterations: bigint;
}

/** MacData (RFC 7292, 4). */
function readMac(der: Der, what: string): Mac {
  const reader = new DerReader(der, what);
  const info = new DerReader(reader.next(TAG.sequence), what);
  const algorithm = info.next(TAG.sequence);
  const digest = readOctets(info.next(TAG.octetString), what);
  info.end();
  const salt = readOctets(reader.next(TAG.octetString), what);
  const iterations = reader.optional(TAG.integer);
  reader.end();
  return { algorithm, digest, salt, iterations: iterations ? readInteger(iterations, what) : 1n };
}

/** PBMAC1 (RFC 9579): PBKDF2 makes the MAC's key. */
async function pbmac1(mac: Mac, password: Password, content: Buffer, budget: WorkBudget): Promise<Buffer> {
  const { what } = budget;
  const outer = new DerReader(mac.algorithm, what);
  outer.next(TAG.oid);
  const parameters = new DerReader(outer.next(TAG.sequence), what);
  const derivation = new DerReader(parameters.next(TAG.sequence), what);
  const scheme = new DerReader(parameters.next(TAG.sequence), what);
  derivation.next(TAG.oid);
  const hash = pseudorandomDigest(readOid(scheme.next(TAG.oid), what));
  if (!hash) throw usage('key-encryption-unsupported', `${what}: a MAC of an unknown kind`);
  const key = await deriveByPbkdf2(derivation.next(TAG.sequence), password, null, budget);
  return createHmac(hash, key).update(content).digest();
}

async function macOf(mac: Mac, password: Password, content: Buffer, budget: WorkBudget): Promise<Buffer> {
  const oid = readOid(new DerReader(mac.algorithm, budget.what).next(TAG.oid), budget.what);
  if (oid === PBMAC1) return pbmac1(mac, password, content, budget);
  const hash = macDigest(mac.algorithm, budget.what);
  const iterations = budget.spend(mac.iterations, 5);
  const { salt, digest } = mac;
  const derivation = { hash, salt, iterations, purpose: PURPOSE.mac, length: digest.length };
  const key = await derivePkcs12(password, derivation);
  return createHmac(hash, key).update(content).digest();
}

/** The readings of the passphrase that open the MAC; all of them when the file has none. */
async function fitting(
  passwords: readonly Password[],
  mac: Mac | null,
  content: Buffer,
  budget: WorkBudget,
): Promise<readonly Password[]> {
  if (!mac) return passwords;
  for (const password of passwords) {
    const expected = await macOf(mac, password, content, budget);
    if (expected.length === mac.digest.length && timingSafeEqual(expected, mac.digest)) return [password];
  }
  throw wrongPassphrase(budget.what);
}

/** PFX (RFC 7292, 4): the authenticated safe's octets, and the MAC over them if there is one. */
function readPfx(bytes: Buffer, what: string): { content: Buffer; mac: Mac | null } {
  const reader = DerReader.of(berToDer(bytes, what), what);
  reader.next(TAG.integer);
  const info = new DerReader(reader.next(TAG.sequence), what);
  const type = readOid(info.next(TAG.oid), what);
  if (type !== OID.data)
    throw usage('pfx-unsupported', `${what}: signed with a public key instead of a passphrase`, {
      hint: 'Export it again, protected by a passphrase',
    });
  const content = readOctets(parseDer(info.next(context(0)).body, what), what);
  const mac = reader.optional(TAG.sequence);
  reader.end();
  return { content, mac: mac ? readMac(mac, what) : null };
}

/**
 * Opens a PKCS#12 file (RFC 7292) with a passphrase: as OpenSSL, Windows, Java and NSS write them.
 * Private keys become KeyObjects at once, and their clear bytes are wiped.
 *
 * Throws `pfx-wrong-passphrase`, `pfx-unsupported`, `key-encryption-unsupported`, `key-iterations`;
 * errors of kind `invalid` when the bytes are broken.
 */
export async function readPkcs12(bytes: Buffer, passphrase: string, what: string): Promise<Pkcs12> {
  const budget = new WorkBudget(what);
  const { content, mac } = readPfx(bytes, what);
  for (const password of await fitting(passwordsFrom(passphrase), mac, content, budget)) {
    const safe = new Safe(password, budget);
    try {
      await safe.read(content);
      return safe;
    } catch (error) {
      if (!(error instanceof Undecipherable)) throw error;
    }
  }
  throw wrongPassphrase(what);
}
