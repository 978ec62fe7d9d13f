import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import {
  children,
  contextPrimitive,
  DerReader,
  expectTag,
  parseDer,
  readBitString,
  readBoolean,
  readDer,
  readOctets,
  readOid,
  readSmallInteger,
  readText,
  readTime,
  TAG,
  context,
  type Der,
} from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import { invalid, messageOf } from '../errors.ts';

/** RFC 5280 section 4.2.1.3, by bit number. */
const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;

export type KeyUsage = (typeof KEY_USAGES)[number];

/** One extension of a certificate, its value still DER. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

const CACHE_CERTIFICATES = 256;
/** Longer ones, in bytes, are read anew each time. */
const CACHE_DER = 16 * 1024;
const cache = new Map<string, Certificate>();

function remember(name: string, certificate: Certificate): void {
  const [oldest] = cache.keys();
  if (cache.size >= CACHE_CERTIFICATES && oldest !== undefined) cache.delete(oldest);
  cache.set(name, certificate);
}

interface Tbs {
  readonly serial: Der;
  readonly issuer: Der;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly subject: Der;
  readonly subjectPublicKeyInfo: Der;
  readonly extensions: ReadonlyMap<string, Extension>;
}

/**
 * An X.509 certificate (RFC 5280): node:crypto checks its signature and holds its key, the rest is
 * read here, since signing needs the exact DER of names and serial, and node shows no key usage.
 */
export class Certificate {
  readonly raw: Buffer;
  readonly x509: X509Certificate;
  /** RFC 4514-like text, most specific last: `C=US, O=Example, CN=Release`. */
  readonly subject: string;
  readonly issuer: string;
  /** Name, DER. */
  readonly subjectDer: Buffer;
  readonly issuerDer: Buffer;
  /** INTEGER, DER with its tag. */
  readonly serialDer: Buffer;
  /** Serial number, lower-case hex without a sign octet. */
  readonly serial: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer;
  readonly extensions: ReadonlyMap<string, Extension>;
  /** Purposes (OIDs), or null when the certificate names none and so is good for any. */
  readonly extendedKeyUsage: readonly string[] | null;
  /** Key usages, or null when the certificate names none. */
  readonly keyUsage: ReadonlySet<KeyUsage> | null;
  readonly isCa: boolean;
  /** How many intermediate CAs may follow this one, or null for any number. */
  readonly pathLength: number | null;

  private constructor(raw: Buffer, x509: X509Certificate, tbs: Tbs, what: string) {
    this.raw = raw;
    this.x509 = x509;
    this.subject = nameText(tbs.subject, what);
    this.issuer = nameText(tbs.issuer, what);
    this.subjectDer = tbs.subject.raw;
    this.issuerDer = tbs.issuer.raw;
    this.serialDer = tbs.serial.raw;
    this.serial = tbs.serial.body.toString('hex').replace(/^(00)+(?=.)/, '');
    this.notBefore = tbs.notBefore;
    this.notAfter = tbs.notAfter;
    this.sha256 = createHash('sha256').update(raw).digest('hex');
    this.publicKeyDer = tbs.subjectPublicKeyInfo.raw;
    this.extensions = tbs.extensions;
    this.extendedKeyUsage = readPurposes(tbs.extensions, what);
    this.keyUsage = readKeyUsage(tbs.extensions, what);
    const basic = readBasicConstraints(tbs.extensions, what);
    this.isCa = basic.isCa;
    this.pathLength = basic.pathLength;
  }

  /**
   * Reads one DER certificate; throws `certificate-malformed`. `what` names its place in errors. The same few
   * come back with every signature, so the latest are kept, read and with their key.
   */
  static parse(der: Buffer, what = 'certificate'): Certificate {
    const name = der.length <= CACHE_DER ? der.toString('latin1') : null;
    const cached = name === null ? undefined : cache.get(name);
    if (cached) return cached;
    // A copy: the slice would keep the whole signature around it in memory.
    const certificate = Certificate.read(Buffer.from(der), what);
    if (name !== null) remember(name, certificate);
    return certificate;
  }

  private static read(der: Buffer, what: string): Certificate {
    try {
      return new Certificate(der, new X509Certificate(der), readTbs(der, what), what);
    } catch (error) {
      throw invalid(
        'certificate-malformed',
        `${what}: not a certificate that can be read: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  private key: KeyObject | undefined;

  get publicKey(): KeyObject {
    return (this.key ??= this.x509.publicKey);
  }

  private name: string | undefined;

  /** The subject's common name, or all of the subject when it has none. */
  get commonName(): string {
    return (this.name ??=
      nameParts(parseDer(this.subjectDer, 'name'), 'name').find(([type]) => type === 'CN')?.[1] ??
      this.subject);
  }

  private algorithm: string | undefined;

  /** OID of the algorithm that it is signed with; throws `der-malformed`. */
  get signatureAlgorithm(): string {
    return (this.algorithm ??= readSignatureAlgorithm(this.raw));
  }

  /** Whether issuer and subject are the same name: a root, or a certificate that nobody vouches for. */
  get isSelfIssued(): boolean {
    return this.issuerDer.equals(this.subjectDer);
  }

  /**
   * Whether it is good for tests only: it bears our marking extension, or nobody but itself vouches
   * for it (a self-signed leaf).
   */
  get isTest(): boolean {
    return this.extensions.has(OID.signpipeTest) || (this.isSelfIssued && !this.isCa);
  }

  /** Whether the two are the same certificate, byte for byte. */
  equals(other: Certificate): boolean {
    return this.raw.equals(other.raw);
  }
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue } (RFC 5280 section 4.1). */
function readSignatureAlgorithm(der: Buffer): string {
  const reader = DerReader.of(der, 'certificate');
  reader.next(TAG.sequence);
  return readOid(new DerReader(reader.next(), 'certificate signature algorithm').next());
}

function readTbs(der: Buffer, what: string): Tbs {
  const certificate = DerReader.of(der, what);
  const tbs = new DerReader(certificate.next(TAG.sequence), what);
  certificate.next(TAG.sequence);
  certificate.next(TAG.bitString);
  certificate.end();
  tbs.optional(context(0));
  const serial = tbs.next(TAG.integer);
  tbs.next(TAG.sequence);
  const issuer = tbs.next(TAG.sequence);
  const validity = new DerReader(tbs.next(TAG.sequence), what);
  const [notBefore, notAfter] = [readTime(validity.next(), what), readTime(validity.next(), what)];
  validity.end();
  const subject = tbs.next(TAG.sequence);
  const subjectPublicKeyInfo = tbs.next(TAG.sequence);
  tbs.optional(contextPrimitive(1));
  tbs.optional(contextPrimitive(2));
  const extensions = readExtensions(tbs.optional(context(3)), what);
  tbs.end();
  return { serial, issuer, notBefore, notAfter, subject, subjectPublicKeyInfo, extensions };
}

function readExtensions(wrapped: Der | undefined, what: string): Map<string, Extension> {
  const result = new Map<string, Extension>();
  if (!wrapped) return result;
  for (const each of children(parseDer(wrapped.body, what), what)) {
    const reader = new DerReader(each, what);
    const oid = readOid(reader.next(), what);
    const critical = reader.optional(TAG.boolean);
    const value = readOctets(reader.next(), what);
    reader.end();
    if (result.has(oid))
      throw invalid('certificate-malformed', `${what}: extension ${oid} stands there twice`);
    result.set(oid, { oid, critical: critical !== undefined && readBoolean(critical, what), value });
  }
  return result;
}

function readPurposes(extensions: ReadonlyMap<string, Extension>, what: string): string[] | null {
  const found = extensions.get(OID.extendedKeyUsage);
  return found ? children(parseDer(found.value, what), what).map((each) => readOid(each, what)) : null;
}

function readKeyUsage(extensions: ReadonlyMap<string, Extension>, what: string): Set<KeyUsage> | null {
  const found = extensions.get(OID.keyUsage);
  if (!found) return null;
  const { bytes } = readBitString(parseDer(found.value, what), what);
  return new Set(KEY_USAGES.filter((_, bit) => (((bytes[bit >> 3] ?? 0) << (bit & 7)) & 0x80) !== 0));
}

function readBasicConstraints(
  extensions: ReadonlyMap<string, Extension>,
  what: string,
): { isCa: boolean; pathLength: number | null } {
  const found = extensions.get(OID.basicConstraints);
  if (!found) return { isCa: false, pathLength: null };
  const reader = DerReader.of(found.value, what);
  const ca = reader.optional(TAG.boolean);
  const path = reader.optional(TAG.integer);
  reader.end();
  return {
    isCa: ca !== undefined && readBoolean(ca, what),
    pathLength: path ? readSmallInteger(path, what) : null,
  };
}

/** RFC 4514 short names of the attribute types that certificates use. */
const NAME_TYPES: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.4', 'SN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.9', 'street'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.12', 'title'],
  ['2.5.4.15', 'businessCategory'],
  ['2.5.4.17', 'postalCode'],
  ['2.5.4.42', 'GN'],
  ['2.5.4.97', 'organizationIdentifier'],
  ['1.2.840.113549.1.9.1', 'emailAddress'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['1.3.6.1.4.1.311.60.2.1.1', 'jurisdictionL'],
  ['1.3.6.1.4.1.311.60.2.1.2', 'jurisdictionST'],
  ['1.3.6.1.4.1.311.60.2.1.3', 'jurisdictionC'],
]);

function nameParts(name: Der, what: string): [type: string, value: string][] {
  return children(name, what).flatMap((relative) =>
    children(expectTag(relative, TAG.set, what), what).map((pair): [string, string] => {
      const reader = new DerReader(pair, what);
      const type = readOid(reader.next(), what);
      return [NAME_TYPES.get(type) ?? type, readText(reader.next(), what)];
    }),
  );
}

function nameText(name: Der, what: string): string {
  return nameParts(name, what)
    .map(
      ([type, value]) => `${type}=${/[,+="\\]/.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : value}`,
    )
    .join(', ');
}

const PEM_CERTIFICATE =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/** Every certificate in a PEM text, in order; throws `certificate-none` when there is none. */
export function parsePemCertificates(pem: string, what: string): Certificate[] {
  const found = [...pem.matchAll(PEM_CERTIFICATE)].map(([, base64 = '']) => {
    // OpenSSL's "TRUSTED CERTIFICATE" carries trust settings after the certificate.
    const { der } = readDer(Buffer.from(base64, 'base64'), what);
    return Certificate.parse(der.raw, what);
  });
  if (found.length === 0)
    throw invalid('certificate-none', `${what}: no PEM certificate in it`, {
      hint: 'give a file with -----BEGIN CERTIFICATE-----',
    });
  return found;
}
