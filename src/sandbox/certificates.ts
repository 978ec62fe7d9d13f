import { createHash, createPublicKey, generateKeyPair, randomBytes, sign, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  NULL,
  octets,
  oid,
  seq,
  set,
  time,
  utf8,
} from '../lib/asn1/encode-der.ts';
import { DerReader, readBitString, TAG } from '../lib/asn1/der.ts';
import { OID, type DigestName } from '../lib/asn1/oids.ts';
import { algorithm, signatureAlgorithm } from '../lib/cms/build-signed-data.ts';
import { signingKey, type SigningKey } from '../engine/keys/signing-key.ts';
import { Certificate } from '../lib/x509/certificate.ts';

/**
 * A certificate authority for the demo, `init --test-certificate` and the tests. Every certificate says in its
 * subject that it is a test and has the extension that `Certificate.isTest` checks; none is ever installed in an
 * operating system's store.
 */

/** The organisation in every test certificate's subject. */
export const TEST_ORGANISATION = 'signpipe TEST certificate, do not trust';

export type KeyKind = 'rsa2048' | 'rsa3072' | 'rsa4096' | 'p256' | 'p384' | 'p521';

/** A certificate with its private key and its chain. */
export interface TestIdentity {
  readonly certificate: Certificate;
  readonly key: KeyObject;
  /** From this certificate up to the root, both included. */
  readonly chain: readonly Certificate[];
}

export interface TestCertificateOptions {
  readonly commonName: string;
  readonly purpose: 'authority' | 'code-signing' | 'timestamping';
  /** The issuer; default self-signed. */
  readonly issuer?: TestIdentity | undefined;
  /** Default `rsa3072` for code signing, `p256` otherwise. With an issuer, the public key alone is enough. */
  readonly key?: KeyKind | KeyObject | undefined;
  /** Default an hour ago, for an authority two years ago. */
  readonly notBefore?: Date | undefined;
  /** Default in a year, for an authority in ten years. */
  readonly notAfter?: Date | undefined;
  /** Replaces the purpose, to make a bad certificate; an empty list omits the extension. */
  readonly extendedKeyUsage?: readonly string[] | undefined;
  readonly extendedKeyUsageCritical?: boolean | undefined;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const generate = promisify(generateKeyPair);

/** Generates a private key. RSA takes up to two seconds: share keys between tests if possible. */
export async function generateTestKey(kind: KeyKind): Promise<KeyObject> {
  const curves: Partial<Record<KeyKind, string>> = { p256: 'P-256', p384: 'P-384', p521: 'P-521' };
  const namedCurve = curves[kind];
  if (namedCurve !== undefined) return (await generate('ec', { namedCurve })).privateKey;
  return (await generate('rsa', { modulusLength: Number(kind.slice(3)) })).privateKey;
}

const subjectOf = (commonName: string): Buffer =>
  seq(set(seq(oid('2.5.4.10'), utf8(TEST_ORGANISATION))), set(seq(oid('2.5.4.3'), utf8(commonName))));

/** SHA-1 over the BIT STRING's contents (RFC 5280, 4.2.1.2, method 1). */
function keyIdentifier(publicKeyInfo: Buffer): Buffer {
  const reader = DerReader.of(publicKeyInfo, 'public key');
  reader.next(TAG.sequence);
  return createHash('sha1').update(readBitString(reader.next()).bytes).digest();
}

const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  seq(oid(id), ...(critical ? [boolean(true)] : []), octets(value));

/** KeyUsage (RFC 5280, 4.2.1.3): keyCertSign and cRLSign, or digitalSignature. */
const keyUsage = (authority: boolean): Buffer =>
  authority ? bitString(Buffer.of(0x06), 1) : bitString(Buffer.of(0x80), 7);

function purposes(options: TestCertificateOptions): Buffer[] {
  const { purpose, extendedKeyUsageCritical: critical } = options;
  const usual = { authority: [], 'code-signing': [OID.codeSigning], timestamping: [OID.timeStamping] };
  const usages = options.extendedKeyUsage ?? usual[purpose];
  if (usages.length === 0) return [];
  // RFC 3161, 2.3: a timestamp authority has only the timeStamping purpose, critical.
  const value = seq(...usages.map((each) => oid(each)));
  return [extension(OID.extendedKeyUsage, critical ?? purpose === 'timestamping', value)];
}

function extensionsOf(options: TestCertificateOptions, publicKeyInfo: Buffer, issuerInfo: Buffer): Buffer {
  const authority = options.purpose === 'authority';
  return seq(
    extension(OID.basicConstraints, true, authority ? seq(boolean(true)) : seq()),
    extension(OID.keyUsage, true, keyUsage(authority)),
    ...purposes(options),
    extension(OID.subjectKeyIdentifier, false, octets(keyIdentifier(publicKeyInfo))),
    extension(OID.authorityKeyIdentifier, false, seq(implicit(0, octets(keyIdentifier(issuerInfo))))),
    extension(OID.signpipeTest, false, NULL),
  );
}

/** The digest for signatures with a key, and the signature's AlgorithmIdentifier (RFC 4055, RFC 5758). */
export function signatureScheme(key: KeyObject): { hash: DigestName; algorithm: Buffer } {
  if (key.asymmetricKeyType === 'rsa') return { hash: 'sha256', algorithm: algorithm(OID.sha256WithRsa) };
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const hash = curve === 'secp384r1' ? 'sha384' : curve === 'secp521r1' ? 'sha512' : 'sha256';
  return { hash, algorithm: signatureAlgorithm('ecdsa', hash) };
}

const publicKeyInfo = (key: KeyObject): Buffer =>
  (key.type === 'public' ? key : createPublicKey(key)).export({ type: 'spki', format: 'der' });

/** A positive serial number of 16 random octets (RFC 5280, 4.1.2.2). */
export function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return integer(serial);
}

/** TBSCertificate (RFC 5280, 4.1). */
function toBeSigned(options: TestCertificateOptions, key: KeyObject, issuerKey: KeyObject): Buffer {
  const subject = subjectOf(options.commonName);
  const spki = publicKeyInfo(key);
  const authority = options.purpose === 'authority';
  const from = options.notBefore ?? new Date(Date.now() - (authority ? 730 * DAY : HOUR));
  const until = options.notAfter ?? new Date(Date.now() + (authority ? 3650 * DAY : 365 * DAY));
  return seq(
    explicit(0, integer(2)),
    randomSerial(),
    signatureScheme(issuerKey).algorithm,
    options.issuer?.certificate.subjectDer ?? subject,
    seq(time(from), time(until)),
    subject,
    spki,
    explicit(3, extensionsOf(options, spki, publicKeyInfo(issuerKey))),
  );
}

/** Creates a test certificate and, unless given, its key. */
export async function createTestCertificate(options: TestCertificateOptions): Promise<TestIdentity> {
  const keyOrKind = options.key ?? (options.purpose === 'code-signing' ? 'rsa3072' : 'p256');
  const key = typeof keyOrKind === 'string' ? await generateTestKey(keyOrKind) : keyOrKind;
  const issuerKey = options.issuer?.key ?? key;
  const { hash, algorithm } = signatureScheme(issuerKey);
  const tbs = toBeSigned(options, key, issuerKey);
  const der = seq(tbs, algorithm, bitString(sign(hash, tbs, issuerKey)));
  const certificate = Certificate.parse(der, options.commonName);
  return { certificate, key, chain: [certificate, ...(options.issuer?.chain ?? [])] };
}

export interface TestPki {
  readonly root: TestIdentity;
  /** Null unless requested. */
  readonly intermediate: TestIdentity | null;
  readonly codeSigning: TestIdentity;
  readonly timestamping: TestIdentity;
}

interface TestPkiOptions {
  /** The code-signing key; default `rsa3072`. The other keys are P-256 unless given, which is fast to generate. */
  readonly key?: KeyKind | KeyObject | undefined;
  readonly intermediate?: boolean | undefined;
  /** The key of root and intermediate, with which they sign certificates; default `p256`. */
  readonly authorityKey?: KeyKind | undefined;
}

/** Creates a root, an intermediate if requested, and below it a code-signing and a timestamping certificate. */
export async function createTestPki(options: TestPkiOptions = {}): Promise<TestPki> {
  const authority = { purpose: 'authority', key: options.authorityKey } as const;
  const root = await createTestCertificate({ ...authority, commonName: 'Test root' });
  const intermediate = options.intermediate
    ? await createTestCertificate({ ...authority, commonName: 'Test intermediate', issuer: root })
    : null;
  const issuer = intermediate ?? root;
  const [codeSigning, timestamping] = await Promise.all([
    createTestCertificate({
      commonName: 'Test publisher',
      purpose: 'code-signing',
      issuer,
      key: options.key,
    }),
    createTestCertificate({ commonName: 'Test timestamp authority', purpose: 'timestamping', issuer }),
  ]);
  return { root, intermediate, codeSigning, timestamping };
}

/** The identity as a signing key. */
export const testSigningKey = (identity: TestIdentity): SigningKey =>
  signingKey(identity.key, identity.chain, identity.certificate.commonName);

/** Certificates in PEM, in the order given. */
export const toPem = (certificates: readonly Certificate[]): string =>
  certificates.map((certificate) => certificate.x509.toString()).join('');

/** The private key as PKCS#8 in PEM, encrypted with AES-256 if a passphrase is given. */
export function keyToPem(key: KeyObject, passphrase?: string): string {
  const encryption = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  return key.export({ type: 'pkcs8', format: 'pem', ...encryption }).toString();
}
