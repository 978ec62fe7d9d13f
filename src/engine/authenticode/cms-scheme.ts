import type { KeyObject } from 'node:crypto';
import type { Der } from '../../lib/asn1/der.ts';
import { digestName, type DigestName, type KnownDigest } from '../../lib/asn1/oids.ts';
import {
  attribute,
  buildSignedData,
  buildSignerInfo,
  signatureAlgorithm,
  signedAttributesToSign,
} from '../../lib/cms/build-signed-data.ts';
import { isSorted } from '../../lib/cms/signed-data.ts';
import {
  checkContentType,
  checkMessageDigest,
  checkSignature,
  signerDigest,
} from '../../lib/cms/verify-signer.ts';
import { invalid } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { isIssuedBy } from '../../lib/x509/issuance.ts';
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
} from '../formats/signature-scheme.ts';
import { AUTHENTICODE } from './authenticode-profile.ts';
import { digestedBytes, type CmsProfile, type CmsSignature } from './cms-profile.ts';
import { readSignature } from './signature.ts';
import { findingsIn } from './unauthenticated-data.ts';

/** A signature in CMS, of any profile. */
class ReadCmsSignature implements ReadSignature {
  readonly certificate: Certificate | undefined;
  readonly certificates: readonly Certificate[];
  readonly content: SignedContent;
  readonly description: Description;
  readonly signingTime: Date | undefined;
  readonly nested: readonly Buffer[];
  readonly value: Buffer;
  readonly timestamps: readonly Der[];
  readonly legacyTimestamps: readonly Buffer[];

  constructor(
    private readonly signature: CmsSignature,
    private readonly profile: CmsProfile,
  ) {
    const { certificate, content, description, signingTime, nested, data, signer } = signature;
    this.certificate = certificate;
    this.certificates = data.certificates;
    this.content = content;
    this.description = description;
    this.signingTime = signingTime;
    this.nested = nested;
    this.value = signer.signature;
    this.timestamps = signer.unsignedAttributes
      .filter(({ oid }) => oid === profile.attributes.timestamp)
      .flatMap(({ values }) => values);
    this.legacyTimestamps = signature.counterSignatures;
  }

  get notes(): readonly Finding[] {
    return this.profile.notes?.(this.signature) ?? [];
  }

  digestAlgorithm(what: string): KnownDigest {
    return signerDigest(this.signature.signer, what);
  }

  /** Throws `authenticode-attributes-missing`, `-attributes-unsorted`, `-digest-mixed`, and what the profile throws. */
  requireForm(stated: KnownDigest, what: string): void {
    this.profile.requireSignerForm(this.signature, what);
    const { signedAttributes } = this.signature.signer;
    if (signedAttributes.length === 0)
      throw invalid('authenticode-attributes-missing', `${what}: it has no signed attributes`);
    if (!isSorted(signedAttributes.map(({ raw }) => raw)))
      throw invalid(
        'authenticode-attributes-unsorted',
        `${what}: the signed attributes are not a DER SET OF`,
      );
    this.requireOneDigest(stated, what);
  }

  /** One digest algorithm in SignedData, content and SignerInfo: Windows requires it, osslsigncode does not check. */
  private requireOneDigest(stated: KnownDigest, what: string): void {
    const { digestAlgorithms } = this.signature.data;
    const signerHash = this.digestAlgorithm(what);
    const names = [...digestAlgorithms.map((each) => digestName(each) ?? each), stated];
    if (digestAlgorithms.length !== 1 || names.some((name) => name !== signerHash))
      throw invalid(
        'authenticode-digest-mixed',
        `${what}: the signer digests with ${signerHash}, SignedData and content say ${names.join(', ')}`,
      );
  }

  requireContent(what: string): void {
    const { signer, content } = this.signature;
    checkContentType(signer, content.type, what);
    checkMessageDigest(signer, digestedBytes(content), what);
  }

  requireValue(key: KeyObject, what: string): void {
    checkSignature(this.signature.signer, key, digestedBytes(this.content), what);
  }

  findings(place: SignaturePlace, scope: FindingScope): Finding[] {
    return findingsIn(this.signature, place, scope, this.profile);
  }
}

const reads = new WeakMap<CmsSignature, ReadCmsSignature>();

function read(der: Buffer, what: string, profile: CmsProfile): ReadCmsSignature {
  const parsed = readSignature(der, what, profile);
  const signature = reads.get(parsed) ?? new ReadCmsSignature(parsed, profile);
  reads.set(parsed, signature);
  return signature;
}

/** The chain with its root, if the profile includes that and it is among those given. */
function certificatesOf(made: SignedDraft, { includesRoot }: CmsProfile): readonly Certificate[] {
  const top = made.certificates.at(-1);
  if (!includesRoot || !top || top.isSelfIssued) return made.certificates;
  const root = made.roots.find((each) => each.isSelfIssued && isIssuedBy(top, each));
  return root ? [...made.certificates, root] : made.certificates;
}

interface Drafted {
  readonly content: SignedContent;
  readonly hash: DigestName;
  /** Attributes, DER. */
  readonly attributes: readonly Buffer[];
}

/** ContentInfo around SignedData with one signer, DER; the content lies under `[0]` as it is. */
function build({ content, hash, attributes }: Drafted, made: SignedDraft, profile: CmsProfile): Buffer {
  const { style, version } = profile;
  const signer = buildSignerInfo({
    style,
    certificate: made.certificates[0],
    hash,
    signedAttributes: attributes,
    signatureAlgorithm: signatureAlgorithm(made.key, hash, style),
    signature: made.value,
    unsignedAttributes: made.timestamp ? [attribute(profile.attributes.timestamp, made.timestamp)] : [],
  });
  const certificates = certificatesOf(made, profile);
  return buildSignedData({
    style,
    version,
    hash,
    contentType: content.type,
    content: content.der,
    certificates,
    signer,
  });
}

/** The scheme of signatures that are SignedData (PKCS #7 or CMS) with one signer. */
export const cmsScheme = (profile: CmsProfile): SignatureScheme => ({
  name: profile.name,
  namesCertificate: profile.namesCertificate,
  read: (der, what) => read(der, what, profile),
  draft: (subject: SigningSubject) => {
    const { content, hash } = subject;
    const attributes = profile.signedAttributes(subject);
    return {
      toSign: signedAttributesToSign(attributes),
      finish: (made) => build({ content, hash, attributes }, made, profile),
    };
  },
});

/** The scheme of every format that names no other. */
export const authenticode: SignatureScheme = cmsScheme(AUTHENTICODE);
