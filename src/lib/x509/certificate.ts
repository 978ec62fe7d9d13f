import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import { parseDer, readDer } from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import { invalid, messageOf } from '../errors.ts';
import {
  readBasicConstraints,
  readKeyUsage,
  readPurposes,
  readSignatureAlgorithm,
  readTbs,
  type Extension,
  type KeyUsage,
  type TbsCertificate,
} from './certificate-fields.ts';
import { nameAttributes, nameText } from './distinguished-name.ts';

/** Only for speed: the latest certificates by their DER, since every signature has the same few. */
const cache = new Map<string, Certificate>();
const CACHE_CERTIFICATES = 256;
/** Longer certificates, in bytes, are not cached. */
const CACHE_DER = 16 * 1024;

function remember(name: string, certificate: Certificate): void {
  const [oldest] = cache.keys();
  if (cache.size >= CACHE_CERTIFICATES && oldest !== undefined) cache.delete(oldest);
  cache.set(name, certificate);
}

/**
 * An X.509 certificate (RFC 5280). node:crypto verifies its signature and reads its key; the rest is parsed here,
 * since signing needs the exact DER of names and serial number, and node:crypto shows no key usage.
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
  /** Purposes (OIDs), or null if the certificate names none and so is valid for any. */
  readonly extendedKeyUsage: readonly string[] | null;
  /** Key usages, or null if the certificate names none. */
  readonly keyUsage: ReadonlySet<KeyUsage> | null;
  readonly isCa: boolean;
  /** How many intermediate CAs may follow this one, or null for any number. */
  readonly pathLength: number | null;

  private constructor(raw: Buffer, x509: X509Certificate, tbs: TbsCertificate, what: string) {
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
   * Parses one DER certificate, or returns it from the cache; throws `certificate-malformed`. `what` names its place in
   * errors.
   */
  static parse(der: Buffer, what = 'certificate'): Certificate {
    const name = der.length <= CACHE_DER ? der.toString('latin1') : null;
    const cached = name === null ? undefined : cache.get(name);
    if (cached) return cached;
    // Copied, since a slice would keep the whole signature in memory.
    const certificate = Certificate.read(Buffer.from(der), what);
    if (name !== null) remember(name, certificate);
    return certificate;
  }

  private static read(der: Buffer, what: string): Certificate {
    try {
      return new Certificate(der, new X509Certificate(der), readTbs(der, what), what);
    } catch (error) {
      throw invalid('certificate-malformed', `${what}: not a readable certificate: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  private key: KeyObject | undefined;

  get publicKey(): KeyObject {
    return (this.key ??= this.x509.publicKey);
  }

  private name: string | undefined;

  /** The subject's common name, or the whole subject if it has none. */
  get commonName(): string {
    return (this.name ??=
      nameAttributes(parseDer(this.subjectDer, 'name'), 'name').find(([type]) => type === 'CN')?.[1] ??
      this.subject);
  }

  private algorithm: string | undefined;

  /** OID of the algorithm with which it is signed; throws `der-malformed`. */
  get signatureAlgorithm(): string {
    return (this.algorithm ??= readSignatureAlgorithm(this.raw));
  }

  /** Whether issuer and subject are the same name: a root, or a self-signed leaf. */
  get isSelfIssued(): boolean {
    return this.issuerDer.equals(this.subjectDer);
  }

  /**
   * Whether it is valid for tests only: it has signpipe's extension that marks test certificates, or is a self-signed
   * leaf.
   */
  get isTest(): boolean {
    return this.extensions.has(OID.signpipeTest) || (this.isSelfIssued && !this.isCa);
  }

  /** Whether the two are the same certificate, byte for byte. */
  equals(other: Certificate): boolean {
    return this.raw.equals(other.raw);
  }
}

const PEM_CERTIFICATE =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/** All certificates in a PEM text, in order; throws `certificate-none` if there are none. */
export function parsePemCertificates(pem: string, what: string): Certificate[] {
  const certificates = [...pem.matchAll(PEM_CERTIFICATE)].map(([, base64 = '']) => {
    // OpenSSL's "TRUSTED CERTIFICATE" has trust settings after the certificate.
    const { der } = readDer(Buffer.from(base64, 'base64'), what);
    return Certificate.parse(der.raw, what);
  });
  if (certificates.length === 0)
    throw invalid('certificate-none', `${what}: it holds no PEM certificate`, {
      hint: 'give a file with -----BEGIN CERTIFICATE-----',
    });
  return certificates;
}
