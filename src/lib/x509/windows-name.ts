import { children, parseDer } from '../asn1/der.ts';
import { attributesOf } from './distinguished-name.ts';

/** The names of attribute types that CertNameToStr writes (CERT_X500_NAME_STR); others are `OID.1.2.3`. */
const TYPES: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.4', 'SN'],
  ['2.5.4.5', 'SERIALNUMBER'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'S'],
  ['2.5.4.9', 'STREET'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.12', 'T'],
  ['2.5.4.13', 'Description'],
  ['2.5.4.17', 'PostalCode'],
  ['2.5.4.18', 'POBox'],
  ['2.5.4.20', 'Phone'],
  ['2.5.4.24', 'X21Address'],
  ['2.5.4.42', 'G'],
  ['2.5.4.43', 'I'],
  ['2.5.4.46', 'dnQualifier'],
  ['1.2.840.113549.1.9.1', 'E'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
]);

/** Values that need quotation marks: empty, with a space at an end, or with a character that has a meaning. */
const QUOTED = /^$|^\s|\s$|[,+="\n<>#;]/;

const quoted = (value: string): string => (QUOTED.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

const attributeText = ([type, value]: readonly [type: string, value: string]): string =>
  `${TYPES.get(type) ?? `OID.${type}`}=${quoted(value)}`;

/**
 * A Name (DER) as Windows and .NET write it (CertNameToStr with CERT_X500_NAME_STR and the reverse order): the most specific
 * attribute first, `S` for the state, values in quotation marks if they need them.
 */
export function windowsNameText(nameDer: Buffer, what: string): string {
  const relatives = children(parseDer(nameDer, what), what).map((relative) =>
    attributesOf(relative, what).map(attributeText).join(' + '),
  );
  return relatives.reverse().join(', ');
}
