import { children, context, NULL, parseDer, TAG, type Der } from '../../lib/asn1/der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import {
  findSignerCertificate,
  readSignedData,
  parseSignerInfo,
  type SignedData,
  type SignerInfo,
} from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import { isAttributeCertificateOf } from '../timestamp/attribute-certificate.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { strayCertificates, type Signer } from './certificate-paths.ts';
import type { Finding } from '../formats/signable-file.ts';
import { readSignature, type AuthenticodeSignature } from './signature.ts';

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
 * | code                          | what                                                                 |
 * | ----------------------------- | -------------------------------------------------------------------- |
 * | `signature-attribute-unknown` | an unsigned attribute that is neither timestamp nor nested signature |
 * | `signature-nested-deep`       | a nested signature with another nested in it                         |
 * | `signature-certificate`       | a certificate on no path that the issuers' signatures prove, one that is there more than twice, or no certificate |
 * | `signature-repeated`          | the same nested signature more than twice                            |
 * | `signature-crls`              | revocation lists                                                     |
 * | `signature-digests`           | a list of digests other than the signer's one                        |
 * | `signature-parameters`        | parameters beside an algorithm that has none                         |
 * | `timestamp-several`           | more than one timestamp                                              |
 * | `timestamp-malformed`         | a timestamp that not exactly one authority signed                    |
 *
 * The `signature-…` ones are looked for in timestamps too; one attribute certificate of the authority may lie
 * there. What stays possible: some certificates for which no root vouches (`certificate-paths.ts`), one attribute
 * certificate of at most 1 KiB that nothing covers, and a new timestamp, with bytes of the attacker's choice as its
 * nonce, in the place of the old one. Whose root is to
 * be trusted is not asked here. Throws what `parseSignature` throws when a signature cannot be
 * read at all, and `der-malformed` or `cms-…` when a timestamp cannot.
 */
export function signatureFindings(der: Buffer, what: string): Finding[] {
  const primary = readSignature(der, what);
  const nested = primary.nested.map((each, at) => readSignature(each, `${what}: nested signature ${at + 1}`));
  return [primary, ...nested].flatMap((each, index) => findingsIn(each, { index, nested: index > 0 }));
}

/** How messages call the signature at a place. */
export const signatureLabel = ({
  index,
  nested,
}: {
  readonly index: number;
  readonly nested: boolean;
}): string => (nested ? `nested signature ${index}` : index === 0 ? 'signature' : `signature ${index}`);

/** What of a signature to look into, besides that which it has to itself. */
export interface Scope {
  /** Its certificates. They are strays where the signer's own, or a timestamp's, is missing. */
  readonly certificates: boolean;
  /** Its timestamps, which have to be readable. */
  readonly timestamps: boolean;
  /** Who may vouch for the signer, and for timestamp authorities; null if no roots were given. */
  readonly roots: readonly Certificate[] | null;
  readonly timestampRoots: readonly Certificate[] | null;
}

const EVERYTHING: Scope = { certificates: true, timestamps: true, roots: null, timestampRoots: null };

/** What `tidiness` finds in one signature, those nested in it left out; index 0 is the primary one. */
export function findingsIn(
  signature: AuthenticodeSignature,
  place: { readonly index: number; readonly nested: boolean },
  scope: Scope = EVERYTHING,
): Finding[] {
  const { data, signer } = signature;
  const label = place.index === 0 ? 'the signature' : signatureLabel(place);
  const deep = place.nested && signer.unsignedAttributes.some(({ oid }) => oid === OID.spcNestedSignature);
  return [
    ...ofAttributes(signer, SIGNATURE_ATTRIBUTES, label),
    ...(isRepeated(signature.nested)
      ? [untidy('signature-repeated', label, 'has the same signature nested in it more than twice')]
      : []),
    ...(deep ? [untidy('signature-nested-deep', label, 'has signatures nested in it')] : []),
    ...ofFields(data, signer, () => false, label),
    ...(scope.certificates
      ? ofCertificates(data.certificates, signersOf(signature, scope, label), label)
      : []),
    ...(scope.timestamps ? ofTimestamps(signature, scope.timestampRoots, label) : []),
  ];
}

const isRepeated = (nested: readonly Buffer[]): boolean =>
  nested.some((each) => nested.filter((other) => other.equals(each)).length > 2);

const untidy = (code: string, label: string, rest: string): Finding => ({
  code,
  message: `${label} ${rest}`,
});

const SIGNATURE_ATTRIBUTES: ReadonlySet<string> = new Set([
  OID.spcTimestampToken,
  OID.spcNestedSignature,
  OID.counterSignature,
]);
const NO_ATTRIBUTES: ReadonlySet<string> = new Set();

/** Unsigned attributes beyond the known ones; one of those that holds no value is as good as unknown. */
const ofAttributes = (signer: SignerInfo, known: ReadonlySet<string>, label: string): Finding[] =>
  signer.unsignedAttributes
    .filter(({ oid, values }) => !known.has(oid) || values.length === 0)
    .map(({ oid, raw }) =>
      untidy(
        'signature-attribute-unknown',
        label,
        `has ${raw.length} bytes that nobody signed, as unsigned attribute ${oid}`,
      ),
    );

/** Whether something other than a certificate may lie among the certificates. */
type IsOfUse = (other: Der) => boolean;

/** The list of digests, and fields that the readers skip over; of any SignedData with one signer. */
function ofFields(signed: SignedData, info: SignerInfo, isOfUse: IsOfUse, label: string): Finding[] {
  const data = signed.fields.slice(0, -1);
  const found: Finding[] = [];
  if (data.some(({ tag }) => tag === context(1)))
    found.push(untidy('signature-crls', label, 'carries revocation lists'));
  const certificates = data.find(({ tag }) => tag === context(0));
  const others = certificates && children(certificates, label).filter(({ tag }) => tag !== TAG.sequence);
  if (others && (others.length > 1 || !others.every(isOfUse)))
    found.push(untidy('signature-certificate', label, 'carries something else among its certificates'));
  if (signed.digestAlgorithms.length !== 1 || signed.digestAlgorithms[0] !== info.digestAlgorithm)
    found.push(untidy('signature-digests', label, 'lists other digests than its one signer uses'));
  const digests = data.find(({ tag }) => tag === TAG.set);
  const algorithms = [...algorithmsOf(info.fields), ...(digests ? children(digests, label) : [])];
  return [...found, ...ofAlgorithms(algorithms, label)];
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
    : [untidy('signature-parameters', label, 'has parameters where its algorithms take none')];
}

/** One finding for all certificates without a use, which names the first few of them. */
function ofCertificates(all: readonly Certificate[], signers: readonly Signer[], label: string): Finding[] {
  const strays = strayCertificates(all, signers);
  if (strays.length === 0) return [];
  const named = strays.slice(0, 3).map(({ certificate, why }) => `${certificate.subject} (${why})`);
  const more = strays.length > named.length ? ` and ${strays.length - named.length} more` : '';
  return [
    untidy('signature-certificate', label, `carries certificates without a use: ${named.join(', ')}${more}`),
  ];
}

/** The signer's certificate, and those of older timestamps: theirs lie in the signature's own set. */
function signersOf(
  { signer, data, counterSignatures }: AuthenticodeSignature,
  { roots, timestampRoots }: Scope,
  label: string,
): Signer[] {
  const counters = counterSignatures.map((der) => parseSignerInfo(der, `the counter-signature of ${label}`));
  return [[signer, roots] as const, ...counters.map((each) => [each, timestampRoots] as const)].flatMap(
    ([info, anchors]) => {
      const certificate = findSignerCertificate(data, info);
      return certificate ? [{ certificate, anchors }] : [];
    },
  );
}

function ofTimestamps(
  { signer, counterSignatures }: AuthenticodeSignature,
  anchors: readonly Certificate[] | null,
  label: string,
): Finding[] {
  const timestamps = signer.unsignedAttributes
    .filter(({ oid }) => oid === OID.spcTimestampToken)
    .flatMap(({ values }) => values);
  const several = timestamps.length + counterSignatures.length > 1;
  return [
    ...(several ? [untidy('timestamp-several', label, 'has several timestamps')] : []),
    ...counterSignatures.flatMap((der) => ofCounterSignature(der, `the counter-signature of ${label}`)),
    ...timestamps.flatMap((der) => ofToken(der, anchors, `the timestamp of ${label}`)),
  ];
}

/** A SignerInfo (PKCS #9) that stands alone; it has no use for unsigned attributes. */
function ofCounterSignature(der: Buffer, label: string): Finding[] {
  const fields = children(parseDer(der, label), label);
  const more = fields.some(({ tag }) => tag === context(1));
  return [
    ...(more ? [untidy('signature-attribute-unknown', label, 'has unsigned attributes')] : []),
    ...ofAlgorithms(algorithmsOf(fields), label),
  ];
}

/**
 * Refuses a token (ContentInfo) in which a signed file would carry bytes that no signature covers. Asked
 * of one that is to be embedded. Throws `timestamp-extra-content`, and `der-malformed` or `cms-…`.
 */
export function requireNoExtraContent(token: Der, what: string): void {
  const [finding] = ofToken(token, null, 'the timestamp');
  if (finding) throw invalid('timestamp-extra-content', `${what}: ${finding.message}`);
}

/** An RFC 3161 token. */
function ofToken(der: Der, anchors: readonly Certificate[] | null, label: string): Finding[] {
  const data = readSignedData(der, label);
  const [signer, another] = data.signers;
  if (!signer || another)
    return [untidy('timestamp-malformed', label, `has ${data.signers.length} signers, not one`)];
  const own = findSignerCertificate(data, signer);
  const ofAuthority = (other: Der): boolean =>
    own !== undefined && isAttributeCertificateOf(other, own, signer, label);
  return [
    ...ofAttributes(signer, NO_ATTRIBUTES, label),
    ...ofFields(data, signer, ofAuthority, label),
    ...ofCertificates(data.certificates, own ? [{ certificate: own, anchors }] : [], label),
  ];
}
