import { children, context, DerReader, NULL, parseDer, readOid, TAG, type Der } from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import {
  findSignerCertificate,
  parseSignedData,
  signedDataFields,
  type SignedData,
} from '../cms/signed-data.ts';
import type { Certificate } from '../x509/certificate.ts';
import type { SignableImage, Untidiness } from './signable.ts';
import { parseSignature, type AuthenticodeSignature } from './signature.ts';

/**
 * Lists what a signed file carries in places that no signature covers and that no verifier needs:
 * bytes there can be changed at will while the file still verifies (CVE-2013-3900 is the best known
 * of these places). A file that signpipe, signtool or osslsigncode has signed plainly has none.
 *
 * | code                          | what                                                                |
 * | ----------------------------- | ------------------------------------------------------------------- |
 * | `table-several-entries`       | more than one entry in the certificate table                        |
 * | `table-trailing-bytes`        | bytes after the signature in its entry, other than its padding      |
 * | `signature-attribute-unknown` | an unsigned attribute that is neither timestamp nor nested signature |
 * | `signature-timestamps`        | more than one timestamp                                             |
 * | `signature-nested-deep`       | a nested signature with another nested in it                        |
 * | `signature-certificate`       | a certificate that belongs to no signer's chain                     |
 * | `signature-crls`              | revocation lists                                                    |
 * | `signature-digests`           | a list of digests other than the signer's one                       |
 * | `signature-parameters`        | parameters beside an algorithm that has none                        |
 *
 * Throws what `parseSignature` throws when a signature cannot be read at all.
 */
export function tidiness(image: SignableImage): Untidiness[] {
  if (!image.signature) return [...image.tableSlack];
  return [...image.tableSlack, ...signatureTidiness(image.signature, `${image.source.name}: signature`)];
}

/** What `tidiness` finds in a signature (ContentInfo, DER) and those nested in it, without a file around it. */
export function signatureTidiness(der: Buffer, what: string): Untidiness[] {
  const primary = parseSignature(der, what);
  return [
    ...ofOne(primary, 'the signature'),
    ...primary.nested.flatMap((nested, index) => {
      const label = `nested signature ${index + 1}`;
      const signature = parseSignature(nested, `${what}: ${label}`);
      const deep = signature.nested.length > 0;
      return [
        ...ofOne(signature, label),
        ...(deep ? [untidy('signature-nested-deep', label, 'has signatures nested in it')] : []),
      ];
    }),
  ];
}

const untidy = (code: string, label: string, rest: string): Untidiness => ({
  code,
  message: `${label} ${rest}`,
});

function ofOne(signature: AuthenticodeSignature, label: string): Untidiness[] {
  const { data, timestamps, counterSignatures } = signature;
  const found = ofSignedData(data, label, SIGNATURE_ATTRIBUTES, counterSigners(signature));
  if (timestamps.length + counterSignatures.length > 1)
    found.push(untidy('signature-timestamps', label, 'has several timestamps'));
  for (const counter of counterSignatures)
    found.push(...ofCounterSignature(counter, `the counter-signature of ${label}`));
  for (const token of timestamps) {
    const what = `the timestamp of ${label}`;
    const parsed = parseSignedData(token, what);
    if (parsed.signers.length === 1) found.push(...ofSignedData(parsed, what, NO_ATTRIBUTES, []));
    else found.push(untidy('signature-timestamps', what, `has ${parsed.signers.length} signers`));
  }
  return found;
}

const SIGNATURE_ATTRIBUTES: ReadonlySet<string> = new Set([
  OID.spcTimestampToken,
  OID.spcNestedSignature,
  OID.counterSignature,
]);
const NO_ATTRIBUTES: ReadonlySet<string> = new Set();

/** What holds for any SignedData with one signer, a timestamp's too. */
function ofSignedData(
  data: SignedData,
  label: string,
  attributes: ReadonlySet<string>,
  moreSigners: readonly Certificate[],
): Untidiness[] {
  const [signer] = data.signers;
  if (!signer) return [];
  const found = signer.unsignedAttributes
    .filter(({ oid }) => !attributes.has(oid))
    .map(({ oid }) => untidy('signature-attribute-unknown', label, `has the unsigned attribute ${oid}`));
  const own = findSignerCertificate(data, signer);
  found.push(...ofCertificates(data.certificates, own ? [own, ...moreSigners] : moreSigners, label));
  if (data.digestAlgorithms.length !== 1 || data.digestAlgorithms[0] !== signer.digestAlgorithm)
    found.push(untidy('signature-digests', label, 'lists other digests than its one signer uses'));
  return [...found, ...ofFields(data, label)];
}

/** Certificates that lead from no signer towards a root. */
function ofCertificates(
  all: readonly Certificate[],
  signers: readonly Certificate[],
  label: string,
): Untidiness[] {
  const needed = new Set(signers.map((each) => each.subjectDer.toString('latin1')));
  // A Set visits what is added to it meanwhile, so this climbs to the top.
  for (const subject of needed)
    for (const each of all)
      if (each.subjectDer.toString('latin1') === subject) needed.add(each.issuerDer.toString('latin1'));
  return all
    .filter((each) => !needed.has(each.subjectDer.toString('latin1')))
    .map((each) =>
      untidy('signature-certificate', label, `carries an unrelated certificate: ${each.subject}`),
    );
}

/** The certificates that older timestamps name: theirs lie in the signature's own set. */
function counterSigners({ counterSignatures, data }: AuthenticodeSignature): Certificate[] {
  return counterSignatures.flatMap((der) => {
    const reader = DerReader.of(der, 'counter-signature');
    reader.next(TAG.integer);
    const name = reader.next(TAG.sequence);
    return data.certificates.filter((each) =>
      name.body.equals(Buffer.concat([each.issuerDer, each.serialDer])),
    );
  });
}

/** A SignerInfo (PKCS #9) that stands alone; it has no use for unsigned attributes. */
function ofCounterSignature(der: Buffer, label: string): Untidiness[] {
  const fields = children(parseDer(der, label), label);
  const found: Untidiness[] = [];
  if (fields.some(({ tag }) => tag === context(1)))
    found.push(untidy('signature-attribute-unknown', label, 'has unsigned attributes'));
  if (!algorithmsOf(fields).every((each) => hasPlainParameters(each, label)))
    found.push(untidy('signature-parameters', label, 'has parameters where its algorithms take none'));
  return found;
}

/** A SignerInfo's digest and signature algorithms: the sequences after version and signer's name. */
const algorithmsOf = (signer: readonly Der[]): Der[] =>
  signer.slice(2).filter(({ tag }) => tag === TAG.sequence);

/** Fields that the readers skip over. */
function ofFields(signed: SignedData, label: string): Untidiness[] {
  const { data, signer } = signedDataFields(signed.raw, label);
  const found: Untidiness[] = [];
  if (data.some(({ tag }) => tag === context(1)))
    found.push(untidy('signature-crls', label, 'carries revocation lists'));
  const certificates = data.find(({ tag }) => tag === context(0));
  if (certificates && children(certificates, label).some(({ tag }) => tag !== TAG.sequence))
    found.push(untidy('signature-certificate', label, 'carries something else among its certificates'));
  const digests = data.find(({ tag }) => tag === TAG.set);
  const algorithms = algorithmsOf(signer);
  if (digests) algorithms.push(...children(digests, label));
  if (!algorithms.every((each) => hasPlainParameters(each, label)))
    found.push(untidy('signature-parameters', label, 'has parameters where its algorithms take none'));
  return found;
}

/** Absent or NULL; a curve beside id-ecPublicKey; RSASSA-PSS has real ones, and the signature rests on them. */
function hasPlainParameters(algorithm: Der, label: string): boolean {
  const [type, parameters, ...rest] = children(algorithm, label);
  if (!type || rest.length > 0) return false;
  const name = readOid(type, label);
  if (!parameters || parameters.raw.equals(NULL) || name === OID.rsaPss) return true;
  return name === OID.ecPublicKey && parameters.tag === TAG.oid && isCurve(readOid(parameters, label));
}

const isCurve = (oid: string): boolean => [OID.p256, OID.p384, OID.p521].some((curve) => curve === oid);
