import forge from 'node-forge';
import { invalid, messageOf } from '../../lib/errors.ts';

/**
 * Key stores are BER (RFC 7292, 4): Windows and NSS write indefinite lengths and strings in pieces.
 * Lengths that run past the end, and bytes after the element, are refused: `ber-malformed`.
 */
export function parseBer(bytes: Buffer, what: string): forge.asn1.Asn1 {
  try {
    return forge.asn1.fromDer(bytes.toString('latin1'), true);
  } catch (error) {
    throw invalid('ber-malformed', `${what}: ${messageOf(error)}`);
  }
}

/** The element with definite, shortest lengths; what was DER comes out byte for byte. */
export const toDer = (node: forge.asn1.Asn1): Buffer =>
  Buffer.from(forge.asn1.toDer(node).getBytes(), 'latin1');

/** The octets of an OCTET STRING, whole or in pieces, in forge's one character an octet. */
export const octetsOf = ({ value }: forge.asn1.Asn1): string =>
  typeof value === 'string' ? value : value.map(octetsOf).join('');
