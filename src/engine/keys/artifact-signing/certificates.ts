import { TAG } from '../../../lib/asn1/der.ts';
import { decodeBase64 } from '../../../lib/bytes/base64.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { parseDerCertificates } from '../certificate-file.ts';
import { leafOf } from '../leaf-certificate.ts';

/** The DER in a `signingCertificate`: base64 of the base64 of a PKCS #7 bundle, as the service sends it, or of the bundle. */
function derOf(signingCertificate: string): Buffer | undefined {
  const bytes = decodeBase64(signingCertificate);
  return bytes === undefined || bytes[0] === TAG.sequence ? bytes : decodeBase64(bytes.toString('latin1'));
}

/** The longest chains have five certificates, and some are there twice, by cross-signing. */
const MAX_CERTIFICATES = 20;

/**
 * Reads the certificates that came with a signature, the signer's first. Undefined if they cannot be read, are more than any chain
 * has, or if it is not clear which is the signer's.
 */
export async function readSigningCertificate(
  text: string,
  what: string,
): Promise<{ readonly leaf: Certificate; readonly others: readonly Certificate[] } | undefined> {
  const der = derOf(text);
  if (der === undefined) return undefined;
  try {
    const others = await parseDerCertificates(der, what);
    if (others.length > MAX_CERTIFICATES) return undefined; // Each may be compared with each, by signature.
    return { leaf: leafOf(others, what), others };
  } catch (error) {
    if (error instanceof SignpipeError) return undefined;
    throw error;
  }
}
