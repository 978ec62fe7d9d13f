/** Writes parts of PKCS#11 URIs (RFC 7512), such that `parsePkcs11Uri` accepts them. */

import { PATH_READERS, type Reader } from './uri-attributes.ts';
import { UriPartError } from './uri-values.ts';

/** Characters that a value of a query may hold as they are, and that no path of a file needs escaped. */
const PLAIN = /[A-Za-z0-9._~/:@+,-]/;

/** Encodes a value of an attribute; every byte that is not plain is percent-encoded. */
export const encodeValue = (value: string | Buffer): string =>
  [...Buffer.from(value as string)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return PLAIN.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');

const percentEncoded = (bytes: Buffer): string =>
  [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');

/** Whether `parsePkcs11Uri` accepts a value, such as a label without control characters. */
function readable(read: Reader, value: Buffer): boolean {
  try {
    read(value);
    return true;
  } catch (error) {
    if (error instanceof UriPartError) return false;
    throw error;
  }
}

/**
 * Writes attributes of the path of a URI; text is encoded if it has to be, and all of binary values. Leaves out those that
 * a token has, but a URI cannot: `parsePkcs11Uri` accepts what is left.
 */
export const pathOf = (
  attributes: readonly (readonly [name: keyof typeof PATH_READERS, value: string | Buffer])[],
): string =>
  attributes
    .filter(([name, value]) => readable(PATH_READERS[name], Buffer.from(value as string)))
    .map(
      ([name, value]) => `${name}=${typeof value === 'string' ? encodeValue(value) : percentEncoded(value)}`,
    )
    .join(';');
