import { DerReader, TAG } from '../../lib/asn1/der.ts';
import { parseSignedData } from '../../lib/cms/signed-data.ts';
import { usage } from '../../lib/errors.ts';
import { isPkcs12, keyFormatOf, pemText } from '../../lib/recognize-key-file.ts';
import { Certificate, parsePemCertificates } from '../../lib/x509/certificate.ts';
import { readingKeyFile, readKeyFile } from './key-file.ts';

/**
 * Parses a certificate, or a PKCS #7 bundle without signatures (RFC 5652, 5) as authorities issue it (.p7b, .spc). Throws
 * errors of kind `invalid`.
 */
export async function parseDerCertificates(bytes: Buffer, path: string): Promise<readonly Certificate[]> {
  const { parseBer, toDer } = await import('./ber.ts');
  const der = toDer(parseBer(bytes, path));
  const bundle = DerReader.of(der, path).next().tag === TAG.oid;
  return bundle ? parseSignedData(der, path).certificates : [Certificate.parse(bytes, path)];
}

const PEM_BUNDLE = /-----BEGIN (PKCS7|CMS)-----([A-Za-z0-9+/=\s]+)-----END \1-----/;

/** Reads PEM, DER or PKCS #7; refusals of the parsers are invalid, not usage. */
async function parseCertificateFile(path: string): Promise<readonly Certificate[]> {
  const bytes = await readKeyFile(path, 'pem');
  const format = keyFormatOf(bytes);
  if (bytes[0] === TAG.sequence && !isPkcs12(format)) return parseDerCertificates(bytes, path);
  const text = pemText(bytes);
  if (text.includes('-----BEGIN CERTIFICATE-----')) return parsePemCertificates(text, path);
  const base64 = PEM_BUNDLE.exec(text)?.[2];
  if (base64 !== undefined) return parseDerCertificates(Buffer.from(base64, 'base64'), path);
  throw usage(
    'pem-no-certificate',
    `${path}: ${format ? `is ${format.what}` : 'holds no certificate in PEM'}`,
    { hint: 'the file must have a line -----BEGIN CERTIFICATE-----' },
  );
}

/**
 * Reads the certificates of a file, in any order: PEM, one certificate in DER, or PKCS #7 (`.p7b`, `.spc`).
 * Throws usage errors: `pem-no-certificate`, `pem-malformed`, `pem-too-large`.
 */
export const readCertificates = (path: string): Promise<readonly Certificate[]> =>
  readingKeyFile('pem-malformed', () => parseCertificateFile(path));
