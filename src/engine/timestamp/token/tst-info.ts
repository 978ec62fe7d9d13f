import {
  children,
  context,
  contextPrimitive,
  DerReader,
  readBoolean,
  readInteger,
  readOctets,
  readOid,
  readSmallInteger,
  readTime,
  TAG,
  type Der,
} from '../../../lib/asn1/der.ts';
import { digestName, type KnownDigest } from '../../../lib/asn1/oids.ts';
import { invalid } from '../../../lib/errors.ts';

/** The fields of a TSTInfo (RFC 3161, 2.4.2) that are used. */
export interface TstInfo {
  readonly policy: string;
  readonly hash: KnownDigest | undefined;
  readonly imprint: Buffer;
  readonly serial: Der;
  readonly time: Date;
  readonly nonce: bigint | null;
}

/** Accuracy ::= SEQUENCE { seconds, [0] millis, [1] micros }, all OPTIONAL. Its values are not used. */
function skipAccuracy(der: Der | undefined, what: string): void {
  if (!der) return;
  const reader = new DerReader(der, what);
  for (const tag of [TAG.integer, contextPrimitive(0), contextPrimitive(1)]) reader.optional(tag);
  reader.end();
}

/** A token with an unknown critical extension must be refused (RFC 3161, 2.4.2). */
function refuseCriticalExtensions(extensions: Der | undefined, what: string): void {
  for (const each of extensions ? children(extensions, what) : []) {
    const reader = new DerReader(each, what);
    const type = readOid(reader.next(), what);
    const critical = reader.optional(TAG.boolean);
    if (critical && readBoolean(critical, what))
      throw invalid('timestamp-malformed', `${what}: has an unknown critical extension (${type})`);
  }
}

function readImprint(der: Der, what: string): Pick<TstInfo, 'hash' | 'imprint'> {
  const reader = new DerReader(der, what);
  const algorithm = new DerReader(reader.next(TAG.sequence), what);
  const imprint = readOctets(reader.next(), what);
  reader.end();
  return { hash: digestName(readOid(algorithm.next(), what)), imprint };
}

/** Reads a TSTInfo in DER. Throws `timestamp-malformed`, and what `DerReader` throws. */
export function readTstInfo(bytes: Buffer, what: string): TstInfo {
  const reader = DerReader.of(bytes, what);
  const version = readSmallInteger(reader.next(TAG.integer), what);
  if (version !== 1) throw invalid('timestamp-malformed', `${what}: TSTInfo of version ${version}`);
  const policy = readOid(reader.next(), what);
  const imprint = readImprint(reader.next(TAG.sequence), what);
  const serial = reader.next(TAG.integer);
  const time = readTime(reader.next(TAG.generalizedTime), what);
  skipAccuracy(reader.optional(TAG.sequence), what);
  reader.optional(TAG.boolean);
  const nonce = reader.optional(TAG.integer);
  // The name of the authority may take many forms. The ESSCertID identifies it, and is checked.
  reader.optional(context(0));
  refuseCriticalExtensions(reader.optional(context(1)), what);
  reader.end();
  return { policy, ...imprint, serial, time, nonce: nonce ? readInteger(nonce, what) : null };
}
