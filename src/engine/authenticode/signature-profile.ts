import { digestName, type KnownDigest } from '../../lib/asn1/oids.ts';
import { isSorted, type SignerInfo } from '../../lib/cms/signed-data.ts';
import { signerDigest } from '../../lib/cms/verify-signer.ts';
import { invalid } from '../../lib/errors.ts';
import type { FileDigest, SignableFile } from '../formats/signable-file.ts';
import type { AuthenticodeSignature } from './signature.ts';

/** A signature of the right form, and the digest that it states, made with the algorithm that it uses throughout. */
export interface ProfiledSignature extends AuthenticodeSignature, FileDigest {}

/**
 * Requires, of a signature that could be read, the form that Microsoft's Authenticode specification asks for and
 * content that the file's format knows. Other verifiers accept some of what is refused here, so that an attacker
 * could make two verifiers disagree.
 *
 * Throws `authenticode-version`, `authenticode-attributes-missing`, `authenticode-attributes-unsorted`,
 * `authenticode-digest-mixed` and what `readContent` throws.
 */
export function requireProfile(
  signature: AuthenticodeSignature,
  file: SignableFile,
  what: string,
): ProfiledSignature {
  const { signer, content } = signature;
  const signerHash = signerDigest(signer, what);
  const signedDigest = file.readContent(content, signerHash, what);
  requireSignerForm(signer, what);
  requireOneDigest(signature, signerHash, signedDigest, what);
  return { ...signature, ...signedDigest };
}

function requireSignerForm(signer: SignerInfo, what: string): void {
  if (signer.version !== 1 || !signer.issuer)
    throw invalid(
      'authenticode-version',
      `${what}: the signer is not named by issuer and serial number (version 1)`,
    );
  if (signer.signedAttributes.length === 0)
    throw invalid('authenticode-attributes-missing', `${what}: it has no signed attributes`);
  if (!isSorted(signer.signedAttributes.map(({ raw }) => raw)))
    throw invalid('authenticode-attributes-unsorted', `${what}: the signed attributes are not a DER SET OF`);
}

/** One digest algorithm in SignedData, content and SignerInfo: Windows requires it, osslsigncode does not check. */
function requireOneDigest(
  { data }: AuthenticodeSignature,
  signerHash: KnownDigest,
  stated: FileDigest,
  what: string,
): void {
  const digestNames = [...data.digestAlgorithms.map((each) => digestName(each) ?? each), stated.hash];
  if (data.digestAlgorithms.length !== 1 || digestNames.some((name) => name !== signerHash))
    throw invalid(
      'authenticode-digest-mixed',
      `${what}: the signer digests with ${signerHash}, SignedData and content say ${digestNames.join(', ')}`,
    );
}
