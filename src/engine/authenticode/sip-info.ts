import { DerReader, readOctets, readSmallInteger } from '../../lib/asn1/der.ts';
import { integer, octets, seq } from '../../lib/asn1/encode-der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import { invalid } from '../../lib/errors.ts';
import type { IndirectData } from './indirect-data.ts';

/*
 * SpcSipInfo ::= SEQUENCE { version INTEGER, subjectInterfacePackage OCTET STRING, reserved INTEGER × 5 }
 *
 * Names the subject interface package (SIP) of Windows that knows a kind of file. No document of Microsoft's has it; it is
 * read from files that signtool signed. The five last fields are 0.
 */

/** A subject interface package. */
export interface SipInfo {
  readonly version: number;
  /** Its UUID, 16 bytes as they stand in the signature. */
  readonly uuid: Buffer;
}

const ZERO = integer(0);

/** `type` and `value` of the indirect data for a kind of file that a subject interface package knows. */
export const sipData = ({ version, uuid }: SipInfo): Pick<IndirectData, 'type' | 'value'> => ({
  type: OID.spcSipInfo,
  value: seq(integer(version), octets(uuid), ZERO, ZERO, ZERO, ZERO, ZERO),
});

/** Requires the data of exactly this package; throws `authenticode-kind` or `der-malformed`. */
export function requireSip({ type, value }: IndirectData, expected: SipInfo, what: string): void {
  if (type !== OID.spcSipInfo)
    throw invalid('authenticode-kind', `${what}: signs content type ${type}, expected SpcSipInfo`);
  const reader = DerReader.of(value, what);
  const version = readSmallInteger(reader.next(), what);
  const uuid = readOctets(reader.next(), what);
  if (sipData(expected).value.equals(value)) return;
  throw invalid(
    'authenticode-kind',
    `${what}: signs a file of another kind (SIP ${uuid.toString('hex')}, version ${version})`,
  );
}
