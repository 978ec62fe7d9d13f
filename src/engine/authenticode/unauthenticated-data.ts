import { children, context, parseDer, TAG, type Der } from '../../lib/asn1/der.ts';
import { NULL } from '../../lib/asn1/encode-der.ts';
import {
  findSignerCertificate,
  readSignedData,
  parseSignerInfo,
  type SignedData,
  type SignerInfo,
} from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import { isAttributeCertificateOf } from '../timestamp/token/attribute-certificate.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { certificatesWithoutUse, type AnchoredSigner } from './certificate-paths.ts';
import type { Finding, FindingScope, SignaturePlace } from '../formats/signature-scheme.ts';
import { AUTHENTICODE } from './authenticode-profile.ts';
import type { CmsProfile, CmsSignature } from './cms-profile.ts';
import { readSignature } from './signature.ts';

/*
 * Some parts of a signature are covered neither by it nor by anything else. Anyone can put bytes there while the
 * signature stays valid: that is how one signed installer becomes many, each with a message for the program inside.
 * So these parts may hold only what has a use.
 */

/**
 * Lists what a signature (ContentInfo, DER) and those nested in it carry in places that no signature covers and that
 * no verifier needs: bytes there can be changed at will while the file still verifies. A signature that signpipe,
 * signtool or osslsigncode has made plainly has none. The bytes must not be changed afterwards.
 *
 * | code                          | meaning                                                              |
 * | ----------------------------- | -------------------------------------------------------------------- |
 * | `signature-attribute-unknown` | an unsigned attribute that is neither timestamp nor nested signature |
 * | `signature-nested-deep`       | a nested signature with another nested in it                         |
 * | `signature-certificate`       | a certificate on no path that the issuers' signatures prove, one that is there more than twice, or something else |
 * | `signature-repeated`          | the same nested signature more than twice                            |
 * | `signature-crls`              | revocation lists                                                     |
 * | `signature-digests`           | a list of digests other than the signer's one                        |
 * | `signature-parameters`        | parameters beside an algorithm that has none                         |
 * | `timestamp-several`           | more than one timestamp                                              |
 * | `timestamp-malformed`         | a timestamp that not exactly one authority signed                    |
 *
 * The `signature-…` ones are searched for in timestamps too, which may hold one attribute certificate of their
 * authority. An attacker can still add some certificates that lead to no root (`certificate-paths.ts`) and one
 * attribute certificate of at most 1 KiB, and replace the timestamp by a new one with a nonce of the attacker's
 * choice. Trust in roots is not checked here. Throws what `parseSignature` throws if a signature cannot be read, and
 * `der-malformed` or `cms-…` if a timestamp cannot.
 */
export function signatureFindings(der: Buffer, what: string): Finding[] {
  const primary = readSignature(der, what);
  const nested = primary.nested.map((each, at) => readSignature(each, `${what}: nested signature ${at + 1}`));
  return [primary, ...nested].flatMap((each, index) => findingsIn(each, { index, nested: index > 0 }));
}

/** The name of a signature in messages. */
export const signatureLabel = ({ index, nested }: SignaturePlace): string =>
  nested ? `nested signature ${index}` : index === 0 ? 'signature' : `signature ${index}`;

/** Every part, without roots. */
export const EVERYTHING: FindingScope = {
  certificates: true,
  timestamps: true,
  roots: null,
  timestampRoots: null,
};

/** Lists the unauthenticated data of one signature, without those nested in it. */
export function findingsIn(
  signature: CmsSignature,
  place: SignaturePlace,
  scope: FindingScope = EVERYTHING,
  profile: CmsProfile = AUTHENTICODE,
): Finding[] {
  const { data, signer } = signature;
  const { attributes } = profile;
  const label = place.index === 0 ? 'the signature' : signatureLabel(place);
  const deep = place.nested && signer.unsignedAttributes.some(({ oid }) => oid === attributes.nested);
  return [
    ...ofAttributes(signer, knownAttributes(attributes), label),
    ...(isRepeated(signature.nested)
      ? [finding('signature-repeated', label, 'has the same signature nested in it more than twice')]
      : []),
    ...(deep ? [finding('signature-nested-deep', label, 'has signatures nested in it')] : []),
    ...ofFields(data, signer, () => false, label),
    ...(scope.certificates
      ? ofCertificates(data.certificates, signersOf(signature, scope, profile, label), label)
      : []),
    ...(scope.timestamps ? ofTimestamps(signature, attributes, scope.timestampRoots, label) : []),
    ...(profile.otherFindings?.(signature, label) ?? []),
  ];
}

const isRepeated = (nested: readonly Buffer[]): boolean =>
  nested.some((each) => nested.filter((other) => other.equals(each)).length > 2);

const finding = (code: string, label: string, rest: string): Finding => ({
  code,
  message: `${label} ${rest}`,
});

const knownAttributes = ({
  timestamp,
  nested,
  legacyTimestamp,
  others,
}: CmsProfile['attributes']): ReadonlySet<string | null> =>
  new Set([timestamp, nested, legacyTimestamp, ...others]);
const NO_ATTRIBUTES: ReadonlySet<string> = new Set();

/** Unsigned attributes beyond the known ones; a known one without a value counts as unknown. */
const ofAttributes = (signer: SignerInfo, known: ReadonlySet<string | null>, label: string): Finding[] =>
  signer.unsignedAttributes
    .filter(({ oid, values }) => !known.has(oid) || values.length === 0)
    .map(({ oid, raw }) =>
      finding(
        'signature-attribute-unknown',
        label,
        `has ${raw.length} bytes in unsigned attribute ${oid}, which no signature covers`,
      ),
    );

/** Whether something other than a certificate may be among the certificates. */
type IsOfUse = (other: Der) => boolean;

/** The list of digests, and fields that parsers skip, of any SignedData with one signer. */
function ofFields(signed: SignedData, info: SignerInfo, isOfUse: IsOfUse, label: string): Finding[] {
  const data = signed.fields.slice(0, -1);
  const findings: Finding[] = [];
  if (data.some(({ tag }) => tag === context(1)))
    findings.push(finding('signature-crls', label, 'carries revocation lists'));
  const certificates = data.find(({ tag }) => tag === context(0));
  const others = certificates && children(certificates, label).filter(({ tag }) => tag !== TAG.sequence);
  if (others && (others.length > 1 || !others.every(isOfUse)))
    findings.push(
      finding(
        'signature-certificate',
        label,
        'carries something that is not a certificate among its certificates',
      ),
    );
  if (signed.digestAlgorithms.length !== 1 || signed.digestAlgorithms[0] !== info.digestAlgorithm)
    findings.push(
      finding('signature-digests', label, 'lists other digest algorithms than its one signer uses'),
    );
  const digests = data.find(({ tag }) => tag === TAG.set);
  const algorithms = [...algorithmsOf(info.fields), ...(digests ? children(digests, label) : [])];
  return [...findings, ...ofAlgorithms(algorithms, label)];
}

/** A SignerInfo's digest and signature algorithms: the sequences after version and signer's name. */
const algorithmsOf = (signer: readonly Der[]): Der[] =>
  signer.slice(2).filter(({ tag }) => tag === TAG.sequence);

/** Parameters are absent or NULL in every algorithm that `checkSignature` knows. */
function ofAlgorithms(algorithms: readonly Der[], label: string): Finding[] {
  const plain = algorithms.every((each) => {
    const [type, parameters, ...rest] = children(each, label);
    return type && rest.length === 0 && (!parameters || parameters.raw.equals(NULL));
  });
  return plain
    ? []
    : [finding('signature-parameters', label, 'has parameters beside algorithms that take none')];
}

/** One finding for all certificates without use, which names the first three. */
export function ofCertificates(
  all: readonly Certificate[],
  signers: readonly AnchoredSigner[],
  label: string,
): Finding[] {
  const useless = certificatesWithoutUse(all, signers);
  if (useless.length === 0) return [];
  const examples = useless.slice(0, 3).map(({ certificate, why }) => `${certificate.subject} (${why})`);
  const more = useless.length > examples.length ? ` and ${useless.length - examples.length} more` : '';
  return [
    finding(
      'signature-certificate',
      label,
      `carries certificates without use: ${examples.join(', ')}${more}`,
    ),
  ];
}

/** The signer's certificate, and those of legacy timestamps, which lie in the signature's own set. */
function signersOf(
  signature: CmsSignature,
  { roots, timestampRoots }: FindingScope,
  profile: CmsProfile,
  label: string,
): AnchoredSigner[] {
  const { signer, data, counterSignatures } = signature;
  const others = profile.otherCertificates?.(signature, label) ?? [];
  const counters = counterSignatures.map((der) => parseSignerInfo(der, `the counter-signature of ${label}`));
  const signers = [[signer, roots] as const, ...counters.map((each) => [each, timestampRoots] as const)];
  return [
    ...signers.flatMap(([info, anchors]) => {
      const certificate = findSignerCertificate(data, info);
      return certificate ? [{ certificate, anchors }] : [];
    }),
    ...others.map((certificate) => ({ certificate, anchors: null })),
  ];
}

function ofTimestamps(
  { signer, counterSignatures }: CmsSignature,
  { timestamp }: CmsProfile['attributes'],
  anchors: readonly Certificate[] | null,
  label: string,
): Finding[] {
  const timestamps = signer.unsignedAttributes
    .filter(({ oid }) => oid === timestamp)
    .flatMap(({ values }) => values);
  const several = timestamps.length + counterSignatures.length > 1;
  return [
    ...(several ? [finding('timestamp-several', label, 'has several timestamps')] : []),
    ...counterSignatures.flatMap((der) => ofCounterSignature(der, `the counter-signature of ${label}`)),
    ...timestamps.flatMap((der) => ofToken(der, anchors, `the timestamp of ${label}`)),
  ];
}

/** A SignerInfo (PKCS #9) outside of SignedData, in which unsigned attributes have no use. */
function ofCounterSignature(der: Buffer, label: string): Finding[] {
  const fields = children(parseDer(der, label), label);
  const more = fields.some(({ tag }) => tag === context(1));
  return [
    ...(more ? [finding('signature-attribute-unknown', label, 'has unsigned attributes')] : []),
    ...ofAlgorithms(algorithmsOf(fields), label),
  ];
}

/**
 * Refuses to embed a token (ContentInfo) in which a signed file would carry bytes that no signature covers. Throws
 * `timestamp-extra-content`, and `der-malformed` or `cms-…`.
 */
export function requireNoExtraContent(token: Der, what: string): void {
  const [finding] = ofToken(token, null, 'the timestamp');
  if (finding) throw invalid('timestamp-extra-content', `${what}: ${finding.message}`);
}

/** What an RFC 3161 token carries without use. */
export function ofToken(der: Der, anchors: readonly Certificate[] | null, label: string): Finding[] {
  const data = readSignedData(der, label);
  const [signer, another] = data.signers;
  if (!signer || another)
    return [finding('timestamp-malformed', label, `has ${data.signers.length} signers, not one`)];
  const leaf = findSignerCertificate(data, signer);
  const ofAuthority = (other: Der): boolean =>
    leaf !== undefined && isAttributeCertificateOf(other, leaf, signer, label);
  return [
    ...ofAttributes(signer, NO_ATTRIBUTES, label),
    ...ofFields(data, signer, ofAuthority, label),
    ...ofCertificates(data.certificates, leaf ? [{ certificate: leaf, anchors }] : [], label),
  ];
}
