import { readCountersignature } from '../../engine/authenticode/countersignature.ts';
import { readIndirectData, requireDigestLength } from '../../engine/authenticode/indirect-data.ts';
import { authenticode } from '../../engine/authenticode/cms-scheme.ts';
import type { ReadSignature } from '../../engine/formats/signature-scheme.ts';
import type { ReceiptEntry } from '../../protocol/control/receipt-schema.ts';
import { invalid } from '../../lib/errors.ts';
import {
  certificateIdentity,
  identityText,
  isSameIdentity,
  type CertificateIdentity,
} from '../../lib/x509/certificate-identity.ts';

/** The signature by this certificate: usually the only one; the last nested one if ours was appended to another's. */
function signatureBy(der: Buffer, certificate: string, what: string): ReadSignature {
  const primary = authenticode.read(der, what);
  const all = [primary, ...primary.nested.map((nested) => authenticode.read(nested, what))];
  const ours = all.findLast((each) => each.certificate?.sha256 === certificate);
  if (ours) return ours;
  throw invalid(
    'signature-certificate-differs',
    `${what}: it is by ${primary.certificate?.sha256 ?? 'an unknown certificate'}, the receipt says ${certificate}`,
  );
}

/** By whom a receipt says that a program was signed. */
interface StatedSigner {
  /** SHA-256 of the certificate. */
  readonly certificate: string;
  /** Undefined in a receipt of version 1. */
  readonly identity: CertificateIdentity | undefined;
}

function requireIdentity(
  { certificate }: ReadSignature,
  stated: CertificateIdentity | undefined,
  what: string,
): void {
  const actual = certificate && certificateIdentity(certificate);
  if (!stated || !actual || isSameIdentity(actual, stated)) return;
  throw invalid(
    'signature-identity-differs',
    `${what}: it is by ${identityText(actual)}, the receipt says ${identityText(stated)}`,
  );
}

function requireDigest(signature: ReadSignature, entry: ReceiptEntry, what: string): void {
  const { algorithm, digest } = entry.authenticode;
  const signed = readIndirectData(signature.content, what);
  requireDigestLength(signed, what);
  const { hash } = signed;
  const signedDigest = signed.digest.toString('hex');
  if (hash !== algorithm || signedDigest !== digest)
    throw invalid(
      'signature-digest-differs',
      `${what}: it is over ${hash} ${signedDigest}, the receipt says ${algorithm} ${digest}`,
    );
}

function requireTimestamp(signature: ReadSignature, entry: ReceiptEntry, now: Date, what: string): void {
  const { certificate } = signature;
  const stamp = readCountersignature(signature, { now, weakDigests: false, what });
  const statedTime = entry.timestamp && new Date(entry.timestamp.time).getTime();
  const differs = stamp
    ? stamp.time.getTime() !== statedTime || stamp.authority !== entry.timestamp?.authority
    : statedTime !== null;
  if (differs)
    throw invalid(
      'signature-timestamp-differs',
      `${what}: its timestamp is ${stamp ? `${stamp.time.toISOString()} by ${stamp.authority}` : 'missing'}, the receipt says ${entry.timestamp ? `${entry.timestamp.time} by ${entry.timestamp.authority}` : 'none'}`,
    );
  if (stamp && certificate && (stamp.time < certificate.notBefore || stamp.time > certificate.notAfter))
    throw invalid(
      'signature-outside-validity',
      `${what}: it was made at ${stamp.time.toISOString()}, when its certificate was not valid`,
    );
}

/**
 * Checks a detached signature (PKCS #7, DER) against its receipt: it is by the receipt's certificate, over the receipt's
 * Authenticode digest, and verifies, and so does its timestamp, which is the one that the receipt names. Does not check
 * that certificate and authority lead to a trusted root: the signer did so before it delivered. Throws `signature-…`, or
 * what the functions of engine/authenticode throw.
 */
export function requireDetached(
  der: Buffer,
  entry: ReceiptEntry,
  { certificate, identity, now, what }: StatedSigner & { readonly now: Date; readonly what: string },
): void {
  const signature = signatureBy(der, certificate, what);
  requireIdentity(signature, identity, what);
  requireDigest(signature, entry, what);
  signature.requireContent(what);
  if (signature.certificate) signature.requireValue(signature.certificate.publicKey, what);
  requireTimestamp(signature, entry, now, what);
}
