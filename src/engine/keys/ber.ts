import forge from 'node-forge';
import { invalid, messageOf } from '../../lib/errors.ts';

/**
 * Parses BER, in which key stores are written (RFC 7292, 4): Windows and NSS use indefinite lengths and constructed
 * strings. Throws `ber-malformed`, also for lengths beyond the end and for bytes after the element.
 */
export function parseBer(bytes: Buffer, what: string): forge.asn1.Asn1 {
  try {
    return forge.asn1.fromDer(bytes.toString('latin1'), true);
  } catch (error) {
    throw invalid('ber-malformed', `${what}: ${messageOf(error)}`);
  }
}

/** Encodes an element with definite, shortest lengths; an element that was DER stays the same byte for byte. */
export const toDer = (node: forge.asn1.Asn1): Buffer =>
  Buffer.from(forge.asn1.toDer(node).getBytes(), 'latin1');

/** The octets of an OCTET STRING, primitive or constructed, as forge's string of one character per octet. */
export const octetsOf = ({ value }: forge.asn1.Asn1): string =>
  typeof value === 'string' ? value : value.map(octetsOf).join('');
