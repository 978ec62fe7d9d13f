import { children, DerReader, expectTag, readOid, readText, TAG, type Der } from '../asn1/der.ts';

/** Short names (RFC 4514) of the attribute types in use. */
const NAME_TYPES: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.4', 'SN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.9', 'street'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.12', 'title'],
  ['2.5.4.15', 'businessCategory'],
  ['2.5.4.17', 'postalCode'],
  ['2.5.4.42', 'GN'],
  ['2.5.4.97', 'organizationIdentifier'],
  ['1.2.840.113549.1.9.1', 'emailAddress'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['1.3.6.1.4.1.311.60.2.1.1', 'jurisdictionL'],
  ['1.3.6.1.4.1.311.60.2.1.2', 'jurisdictionST'],
  ['1.3.6.1.4.1.311.60.2.1.3', 'jurisdictionC'],
]);

/** The attributes of a relative name, each with the OID of its type. */
export const attributesOf = (relative: Der, what: string): [type: string, value: string][] =>
  children(expectTag(relative, TAG.set, what), what).map((pair) => {
    const reader = new DerReader(pair, what);
    return [readOid(reader.next(), what), readText(reader.next(), what)];
  });

/** The attributes of a Name, each with the short name of its type, or the OID. */
export const nameAttributes = (name: Der, what: string): [type: string, value: string][] =>
  children(name, what)
    .flatMap((relative) => attributesOf(relative, what))
    .map(([type, value]) => [NAME_TYPES.get(type) ?? type, value]);

const attributeText = ([type, value]: readonly [type: string, value: string]): string => {
  const text = /[,+="\\]/.test(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : value;
  return `${NAME_TYPES.get(type) ?? type}=${text}`;
};

/**
 * A Name as text like that of RFC 4514, most specific attribute last: `C=US, O=Example, CN=Release`. Attributes of one
 * relative name have ` + ` between them. No two names have the same text, except by how their values are encoded.
 */
export const nameText = (name: Der, what: string): string =>
  children(name, what)
    .map((relative) => attributesOf(relative, what).map(attributeText).join(' + '))
    .join(', ');
