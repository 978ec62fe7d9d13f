import type { DigestName } from '../../../lib/asn1/oids.ts';
import {
  buildIndirectData,
  readIndirectData,
  requireDigestLength,
} from '../../authenticode/indirect-data.ts';
import { requireSip, sipData } from '../../authenticode/sip-info.ts';
import type { FileDigest, SignedContent } from '../signable-file.ts';

/** {000C10F1-0000-0000-C000-000000000046}, as it stands in a signature. */
const UUID = Buffer.from('f1100c0000000000c000000000000046', 'hex');

/** The subject interface package of MSI. signtool writes version 2, jsign and osslsigncode write 1. */
const SIP = { version: 2, uuid: UUID };
const SIP_OF_OTHERS = { version: 1, uuid: UUID };

/** What a signature of a package signs. */
export const msiContent = (hash: DigestName, digest: Buffer): SignedContent =>
  buildIndirectData({ ...sipData(SIP), hash, digest });

/** Reads what a signature of a package signs; throws `authenticode-…`, `cms-digest-unknown` or `der-malformed`. */
export function readMsiContent(content: SignedContent, what: string): FileDigest {
  const indirect = readIndirectData(content, what);
  requireDigestLength(indirect, what);
  const old = indirect.value.equals(sipData(SIP_OF_OTHERS).value);
  requireSip(indirect, old ? SIP_OF_OTHERS : SIP, what);
  return indirect;
}
