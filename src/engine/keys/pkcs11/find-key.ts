import { createHash, randomBytes, verify, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import { SignpipeError, usage } from '../../../lib/errors.ts';
import { plural } from '../../../lib/plural.ts';
import { printable } from '../../../lib/printable.ts';
import { Certificate } from '../../../lib/x509/certificate.ts';
import { latestExpiryFirst } from '../../../lib/x509/expiry.ts';
import { readCertificates } from '../certificate-file.ts';
import { listed } from './find-token.ts';
import type { TokenCertificate, TokenKey } from './module-calls.ts';
import type { ModuleProcess } from './module-process.ts';
import type { KeySelection } from './uri.ts';
import { pathOf } from './write-uri.ts';

/** The part of a URI that names a private key, as far as label and id can say. */
export const objectUri = ({ label, id }: { readonly label: string; readonly id: Buffer }): string =>
  pathOf([
    ['object', label],
    ['id', id],
  ]) || 'type=private';

const listedKeys = (keys: readonly TokenKey[]): string => listed(keys.map(objectUri));

/**
 * The one private key on the token that a URI selects, of those that may sign. Throws usage errors:
 * `token-key-missing`, `token-key-ambiguous`.
 */
export async function findKey(process: ModuleProcess, { label, id }: KeySelection): Promise<TokenKey> {
  const found = await process.call('keys', { label, id });
  const keys = found.filter(({ signs }) => signs);
  const [key, another] = keys;
  if (key && !another) return key;
  if (key)
    throw usage(
      'token-key-ambiguous',
      `${plural(keys.length, 'private key')} of the token fit the URI: ${listedKeys(keys)}`,
      {
        hint: "add object= and id= to the key's URI so that one is left",
      },
    );
  if (found.length > 0)
    throw usage('token-key-missing', `the private key ${listedKeys(found)} may not sign (CKA_SIGN)`, {
      hint: 'name another key of the token, or make one that may sign',
    });
  const all =
    label === undefined && id === undefined
      ? []
      : await process.call('keys', { label: undefined, id: undefined });
  throw usage('token-key-missing', 'the token has no private key that fits the URI', {
    hint:
      all.length === 0
        ? 'the token shows no private key at all: make one, or look for it on another token'
        : `correct object= and id= in the key's URI: the private keys of the token are ${listedKeys(all)}`,
  });
}

const base64url = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');

function withoutZeros(number: Buffer): Buffer {
  const first = number.findIndex((byte) => byte !== 0);
  return first < 0 ? Buffer.alloc(0) : number.subarray(first);
}

/** A certificate on a token. */
export interface ListedCertificate {
  readonly label: string;
  readonly id: Buffer;
  readonly certificate: Certificate;
}

/**
 * The public key of a certificate, if it is RSA or EC and OpenSSL knows its algorithm. A token may hold certificates for
 * anything, and one for something else must not keep a key from being used.
 */
function publicKeyOf(certificate: Certificate): KeyObject | undefined {
  try {
    const { publicKey } = certificate;
    return ['rsa', 'ec'].includes(publicKey.asymmetricKeyType ?? '') ? publicKey : undefined;
  } catch {
    return undefined;
  }
}

/** The numbers of an RSA key, or of an EC key on a NIST curve; none of others, which JSON Web Keys do not have. */
function numbersOf(certificate: Certificate): JsonWebKey {
  try {
    return publicKeyOf(certificate)?.export({ format: 'jwk' }) ?? {};
  } catch {
    return {};
  }
}

/** Whether a certificate is for a key; undefined if the token does not show the public key. */
export function fits(certificate: Certificate, { modulus, ecPoint }: TokenKey): boolean | undefined {
  const { n, x, y } = numbersOf(certificate);
  if (modulus) return n !== undefined && withoutZeros(modulus).equals(withoutZeros(base64url(n)));
  if (!ecPoint) return undefined;
  const point = Buffer.concat([Buffer.from([4]), base64url(x), base64url(y)]);
  // CKA_EC_POINT is an OCTET STRING around the point; some modules leave the tag and length out.
  return (
    x !== undefined && ecPoint.length <= point.length + 3 && ecPoint.subarray(-point.length).equals(point)
  );
}

/** The certificate on a token for a key: it fits, or has the same id if the token does not show the public key. */
export const certificateOf = (
  key: TokenKey,
  certificates: readonly ListedCertificate[],
): Certificate | undefined =>
  certificates.find(({ certificate, id }) => fits(certificate, key) ?? (id.length > 0 && id.equals(key.id)))
    ?.certificate;

/** The certificates on a token that can be read. */
export function parsedCertificates(certificates: readonly TokenCertificate[]): ListedCertificate[] {
  return certificates.flatMap(({ der, label, id }) => {
    try {
      const what = `certificate ${printable(label, 40)} of the token`;
      return { label, id, certificate: Certificate.parse(der, what) };
    } catch (error) {
      if (error instanceof SignpipeError) return [];
      throw error;
    }
  });
}

/** Makes signatures with the key. */
export interface TestSigner {
  /** See `SigningKey.digests`. */
  readonly digests: readonly DigestName[] | undefined;
  sign(hash: DigestName, digest: Buffer, data: Buffer): Promise<Buffer>;
}

/** Which of the certificates verify a signature over random data. */
async function provedBy(certificates: readonly Certificate[], signer: TestSigner): Promise<Certificate[]> {
  if (certificates.length === 0) return [];
  const [data, hash] = [randomBytes(32), signer.digests?.[0] ?? 'sha256'];
  const value = await signer.sign(hash, createHash(hash).update(data).digest(), data);
  return certificates.filter((certificate) => {
    const publicKey = publicKeyOf(certificate);
    return publicKey !== undefined && verify(hash, data, publicKey, value);
  });
}

/**
 * The certificate of a key, of several the one that expires last, and all others that can be its issuers: from the file
 * if one is given, else from the token. Throws usage errors: `token-certificate-missing`, `key-does-not-match`, and those
 * of `readCertificates`.
 */
export async function certificatesFor(
  process: ModuleProcess,
  key: TokenKey,
  file: string | undefined,
  signer: TestSigner,
): Promise<{ readonly leaf: Certificate; readonly others: readonly Certificate[] }> {
  const listed = parsedCertificates(await process.call('certificates', undefined));
  const onToken = listed.map(({ certificate }) => certificate);
  const pool = file === undefined ? onToken : await readCertificates(file);
  const known = key.modulus ?? key.ecPoint;
  const own = known ? pool.filter((certificate) => fits(certificate, key)) : await provedBy(pool, signer);
  const [leaf] = own.toSorted(latestExpiryFirst);
  if (leaf) return { leaf, others: [...pool, ...onToken] };
  if (file !== undefined)
    throw usage(
      'key-does-not-match',
      `${file}: none of its certificates belongs to the private key on the token`,
      {
        hint: 'give the certificate that was issued for this private key',
      },
    );
  throw usage(
    'token-certificate-missing',
    `the token has no certificate for the private key ${objectUri(key)}; it has ${plural(onToken.length, 'other certificate')}`,
    { hint: 'write the certificate to the token, or name its file in signing.certificate' },
  );
}
