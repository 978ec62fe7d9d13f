import { readDetached } from '../../engine/artifact/detached.ts';
import { readCountersignature } from '../../engine/authenticode/countersignature.ts';
import type { SignatureWithoutFile } from '../../engine/formats/signable-file.ts';
import type { FileDigest, ReadSignature } from '../../engine/formats/signature-scheme.ts';
import type { ReceiptEntry } from '../../protocol/control/receipt-schema.ts';
import { invalid } from '../../lib/errors.ts';
import {
  certificateIdentity,
  identityText,
  isSameIdentity,
  type CertificateIdentity,
} from '../../lib/x509/certificate-identity.ts';

/** The signature by this certificate: usually the only one; the last one if ours was appended to another's. */
function signatureBy(
  all: readonly SignatureWithoutFile[],
  certificate: string,
  what: string,
): SignatureWithoutFile {
  const ours = all.findLast(({ signature }) => signature.certificate?.sha256 === certificate);
  if (ours) return ours;
  throw invalid(
    'signature-certificate-differs',
    `${what}: it is by ${all[0]?.signature.certificate?.sha256 ?? 'an unknown certificate'}, the receipt says ${certificate}`,
  );
}

/** By which signer a receipt says that a program was signed. */
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

function requireDigest(signed: FileDigest, { authenticode }: ReceiptEntry, what: string): void {
  const { algorithm, digest } = authenticode;
  const signedDigest = signed.digest.toString('hex');
  if (signed.hash !== algorithm || signedDigest !== digest)
    throw invalid(
      'signature-digest-differs',
      `${what}: it is over ${signed.hash} ${signedDigest}, the receipt says ${algorithm} ${digest}`,
    );
}

function requireTimestamp(
  signature: ReadSignature,
  { timestamp: stated }: ReceiptEntry,
  now: Date,
  what: string,
): void {
  const { certificate } = signature;
  const stamp = readCountersignature(signature, { now, weakDigests: false, what });
  const statedTime = stated && new Date(stated.time).getTime();
  const differs = stamp
    ? stamp.time.getTime() !== statedTime || stamp.authority !== stated?.authority
    : statedTime !== null;
  if (differs)
    throw invalid(
      'signature-timestamp-differs',
      `${what}: its timestamp is ${stamp ? `${stamp.time.toISOString()} by ${stamp.authority}` : 'missing'}, the receipt says ${stated ? `${stated.time} by ${stated.authority}` : 'none'}`,
    );
  if (stamp && certificate && (stamp.time < certificate.notBefore || stamp.time > certificate.notAfter))
    throw invalid(
      'signature-outside-validity',
      `${what}: it was made at ${stamp.time.toISOString()}, when its certificate was not valid`,
    );
}

/**
 * Checks a detached signature against its receipt: its format can be read, it is by the receipt's certificate, over the
 * receipt's digest, and verifies, and so does its timestamp, which is the one that the receipt names. Does not check that
 * certificate and authority lead to a trusted root: the signer did so before it delivered. Throws `signature-…`, or what
 * `readDetached` and the methods of its result throw.
 */
export async function requireDetached(
  detached: Buffer,
  entry: ReceiptEntry,
  { certificate, identity, now, what }: StatedSigner & { readonly now: Date; readonly what: string },
): Promise<void> {
  const all = await readDetached(detached, entry.format, what);
  const found = signatureBy(all, certificate, what);
  const { signature } = found;
  requireIdentity(signature, identity, what);
  requireDigest(found.digest(), entry, what);
  signature.requireContent(what);
  if (signature.certificate) signature.requireValue(signature.certificate.publicKey, what);
  requireTimestamp(signature, entry, now, what);
}
