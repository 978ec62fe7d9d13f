import { createHash, verify, type KeyObject } from 'node:crypto';
import type { Der } from '../../../lib/asn1/der.ts';
import type { KnownDigest } from '../../../lib/asn1/oids.ts';
import { invalid } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { windowsNameText } from '../../../lib/x509/windows-name.ts';
import { canonicalXml } from '../../../lib/xml/canonical-xml.ts';
import { attributeText, parseXml } from '../../../lib/xml/parse-xml.ts';
import { ofCertificates, ofToken, signatureLabel } from '../../authenticode/unauthenticated-data.ts';
import type {
  Description,
  Finding,
  FindingScope,
  ReadSignature,
  SignaturePlace,
  SignatureScheme,
  SignedContent,
  SignedDraft,
  SigningSubject,
} from '../signature-scheme.ts';
import { digestUri, signatureUri } from './algorithms.ts';
import { C14N, DSIG, OBJECT_ID, OPC_SIGNATURE, SIGNATURE_ID } from './names.ts';
import { readOpcObject, readOpcSignature, TIMESTAMP_ID, type OpcSignature } from './read-signature.ts';
import { badSignature } from './strict-xml.ts';

/** XML-DSig in a package, as System.IO.Packaging makes it. */
class ReadOpcSignature implements ReadSignature {
  readonly content: SignedContent;
  readonly description: Description = { name: null, url: null };
  readonly signingTime: Date;
  readonly nested: readonly Buffer[] = [];
  readonly notes: readonly Finding[] = [];
  readonly legacyTimestamps: readonly Buffer[] = [];

  constructor(
    private readonly signature: OpcSignature,
    what: string,
  ) {
    this.content = { type: OPC_SIGNATURE, der: signature.object };
    this.signingTime = readOpcObject(signature.object, what).signingTime;
  }

  get certificate(): Certificate | undefined {
    return this.signature.certificates[0];
  }

  get certificates(): readonly Certificate[] {
    return this.signature.certificates;
  }

  get value(): Buffer {
    return this.signature.value;
  }

  get timestamps(): readonly Der[] {
    return this.signature.timestamps;
  }

  digestAlgorithm(): KnownDigest {
    return this.signature.signatureDigest;
  }

  requireForm(stated: KnownDigest, what: string): void {
    const { signatureDigest, objectDigest } = this.signature;
    const all = [signatureDigest, objectDigest.hash, stated];
    if (all.some((each) => each !== signatureDigest))
      throw invalid('authenticode-digest-mixed', `${what}: it uses several digests: ${all.join(', ')}`);
  }

  requireContent(what: string): void {
    const { hash, digest } = this.signature.objectDigest;
    if (createHash(hash).update(this.signature.object).digest().equals(digest)) return;
    throw invalid('opc-object-digest', `${what}: it does not sign the list of parts that it holds`);
  }

  requireValue(key: KeyObject, what: string): void {
    const { signatureDigest, signedInfo, value } = this.signature;
    if (key.asymmetricKeyType !== 'rsa')
      throw invalid('cms-signature-algorithm', `${what}: an RSA signature with another kind of key`);
    if (!verify(signatureDigest, signedInfo, key, value))
      throw invalid('cms-signature-wrong', `${what}: the signature does not match what is signed`);
  }

  findings(place: SignaturePlace, scope: FindingScope): Finding[] {
    const label = place.index === 0 ? 'the signature' : signatureLabel(place);
    const { certificates, timestamps, isPlain } = this.signature;
    const [leaf] = certificates;
    const signers = leaf ? [{ certificate: leaf, anchors: scope.roots }] : [];
    return [
      ...(isPlain ? [] : [finding('opc-form', `${label} holds comments, or blanks in its markup`)]),
      ...(leaf ? keyInfoFindings(this.signature, leaf, label) : []),
      ...(scope.certificates ? ofCertificates(certificates, signers, label) : []),
      ...(scope.timestamps
        ? timestamps.flatMap((each) => ofToken(each, scope.timestampRoots, `the timestamp of ${label}`))
        : []),
    ];
  }
}

const finding = (code: string, message: string): Finding => ({ code, message });

/** Nothing covers KeyInfo: its name and key have to be those of the certificate. */
function keyInfoFindings(
  { keyName, rsaKey }: OpcSignature,
  { publicKey, subject, subjectDer }: Certificate,
  label: string,
): Finding[] {
  const names = [null, subject, windowsNameText(subjectDer, label)];
  if (names.includes(keyName) && (!rsaKey || isKey(rsaKey, publicKey))) return [];
  return [finding('opc-key-info', `${label} names another key than that of its certificate`)];
}

/** As ds:CryptoBinary has them: without zeros before. */
const isKey = ({ modulus, exponent }: NonNullable<OpcSignature['rsaKey']>, key: KeyObject): boolean => {
  const { n, e } = key.export({ format: 'jwk' });
  return modulus.toString('base64url') === n && exponent.toString('base64url') === e;
};

const reads = new WeakMap<Buffer, ReadOpcSignature>();

function read(bytes: Buffer, what: string): ReadOpcSignature {
  const signature = reads.get(bytes) ?? new ReadOpcSignature(readOpcSignature(bytes, what), what);
  reads.set(bytes, signature);
  return signature;
}

// --- building ------------------------------------------------------------------------------

const opening = `<Signature Id="${SIGNATURE_ID}" xmlns="${DSIG}">`;

/** SignedInfo in the form in which .NET writes it, without the namespace that it inherits. */
const signedInfoOf = ({ hash }: SigningSubject, digest: Buffer): string =>
  `<SignedInfo><CanonicalizationMethod Algorithm="${C14N}" /><SignatureMethod Algorithm="${signatureUri(hash)}" />` +
  `<Reference URI="#${OBJECT_ID}" Type="${DSIG}Object"><DigestMethod Algorithm="${digestUri(hash)}" />` +
  `<DigestValue>${digest.toString('base64')}</DigestValue></Reference></SignedInfo>`;

/** From Canonical XML to the form in which .NET writes the object: without its inherited namespace, empty elements short. */
const writtenObject = (canonical: Buffer): string =>
  canonical
    .toString()
    .replace(` xmlns="${DSIG}"`, '')
    .replace(/<(\w+)(| [^<>]*)><\/\1>/g, '<$1$2 />');

/** KeyInfo: the name and the key of the certificate, and the certificates, the signer's first. */
function keyInfoOf([leaf, ...chain]: readonly [Certificate, ...Certificate[]]): string {
  const { n = '', e = '' } = leaf.publicKey.export({ format: 'jwk' });
  const [modulus, exponent] = [n, e].map((each) => Buffer.from(each, 'base64url').toString('base64'));
  const name = attributeText(windowsNameText(leaf.subjectDer, 'certificate')).replaceAll('&quot;', '"');
  const certificates = [leaf, ...chain].map(
    ({ raw }) => `<X509Certificate>${raw.toString('base64')}</X509Certificate>`,
  );
  return (
    `<KeyInfo><KeyName>${name}</KeyName><KeyValue><RSAKeyValue><Modulus>${modulus}</Modulus>` +
    `<Exponent>${exponent}</Exponent></RSAKeyValue></KeyValue><X509Data>${certificates.join('')}</X509Data></KeyInfo>`
  );
}

const timestampOf = (token: Buffer): string =>
  `<Object><TimeStamp Id="${TIMESTAMP_ID}" xmlns="${OPC_SIGNATURE}"><Comment />` +
  `<EncodedTime>${token.toString('base64')}</EncodedTime></TimeStamp></Object>`;

/** The canonical form of SignedInfo as a part of the signature. */
function canonicalInfo(signedInfo: string): Buffer {
  const document = parseXml(Buffer.from(`${opening}${signedInfo}</Signature>`), 'new signature');
  const info = document.documentElement?.firstChild;
  if (!info) throw badSignature('new signature', 'it has no SignedInfo');
  return Buffer.from(canonicalXml(info as NonNullable<typeof document.documentElement>));
}

function draft(subject: SigningSubject): { toSign: Buffer; finish(made: SignedDraft): Buffer } {
  const { content, hash } = subject;
  const signedInfo = signedInfoOf(subject, createHash(hash).update(content.der).digest());
  return {
    toSign: canonicalInfo(signedInfo),
    finish: ({ value, certificates, timestamp }) =>
      Buffer.from(
        `\uFEFF<?xml version="1.0" encoding="utf-8" standalone="yes"?>${opening}${signedInfo}` +
          `<SignatureValue>${value.toString('base64')}</SignatureValue>${keyInfoOf(certificates)}` +
          `${writtenObject(content.der)}${timestamp ? timestampOf(timestamp) : ''}</Signature>`,
      ),
  };
}

/** Signatures of packages of the Open Packaging Conventions: XML-DSig with RSA. */
export const opcScheme: SignatureScheme = { name: 'opc', namesCertificate: false, read, draft };
