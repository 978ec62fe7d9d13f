import { digestName, OID, type KnownDigest } from '../../lib/asn1/oids.ts';
import { isSorted, signerDigest, type SignerInfo } from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import { parsePeImageData } from './indirect-data.ts';
import type { AuthenticodeSignature } from './signature.ts';

/**
 * Requires, of a signature that could be read, the form that Microsoft's "Windows Authenticode
 * Portable Executable Signature Format" asks for, and gives the digest that it uses throughout.
 * Other verifiers let some of these pass; what they tell two verifiers apart is then up to the forger.
 *
 * Throws `authenticode-kind`, `authenticode-version`, `authenticode-attributes-missing`,
 * `authenticode-attributes-unsorted`, `authenticode-digest-mixed` or `der-malformed`.
 */
export function requireForm(signature: AuthenticodeSignature, what: string): KnownDigest {
  const { indirect, signer } = signature;
  if (!PE_KINDS.includes(indirect.type))
    throw invalid('authenticode-kind', `${what}: it is over ${indirect.type}, not over a PE file`);
  parsePeImageData(indirect.value, what);
  requireSignerForm(signer, what);
  return requireOneDigest(signature, what);
}

/** The second one has another meaning; Debian's EFI programs are signed with it all the same. */
const PE_KINDS: readonly string[] = [OID.spcPeImageData, OID.spcIndividualPurpose];

function requireSignerForm(signer: SignerInfo, what: string): void {
  if (signer.version !== 1 || !signer.issuer)
    throw invalid(
      'authenticode-version',
      `${what}: the signer is not named by issuer and serial (version 1)`,
    );
  if (signer.signedAttributes.length === 0)
    throw invalid('authenticode-attributes-missing', `${what}: nothing but the content is signed`);
  if (!isSorted(signer.signedAttributes.map(({ raw }) => raw)))
    throw invalid('authenticode-attributes-unsorted', `${what}: the signed attributes are not a DER SET OF`);
}

/** One digest algorithm in SignedData, content and SignerInfo: Windows wants it so, osslsigncode does not look. */
function requireOneDigest({ data, signer, indirect }: AuthenticodeSignature, what: string): KnownDigest {
  const hash = signerDigest(signer, what);
  const named = [...data.digestAlgorithms.map((each) => digestName(each) ?? each), indirect.hash];
  if (data.digestAlgorithms.length !== 1 || named.some((name) => name !== hash))
    throw invalid(
      'authenticode-digest-mixed',
      `${what}: the signer digests with ${hash}, SignedData and content say ${named.join(', ')}`,
    );
  return hash;
}
