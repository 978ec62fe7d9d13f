import type { DeflateMap } from '../../lib/zip/deflate-block-scanner.ts';
import type { DigestName } from '../../lib/asn1/oids.ts';
import { openSignableFile } from '../formats/recognize.ts';
import type { SignableFile } from '../formats/signable-file.ts';
import { signProgram, type MadeSignature, type SignedProgram } from '../authenticode/sign.ts';
import { proveOnlySignatureAdded } from '../authenticode/only-signature-added.ts';
import { signaturesOf, verifySignableFile, type VerifyOptions } from '../authenticode/verify.ts';
import type { VerifyReport } from '../authenticode/report.ts';
import { invalid, notAllowed, SignpipeError, isInvalid } from '../../lib/errors.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { unchangedRange } from '../../lib/bytes/delta.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/settle-all.ts';
import type { SigningKey } from '../keys/signing-key.ts';
import type { Timestamper } from '../timestamp/client.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { printable } from '../../lib/printable.ts';
import { excluding } from './globs.ts';
import type { Spooled } from './spool.ts';

/** What to do with a program that bears a signature already. */
export type AlreadySigned = 'keep' | 'replace' | 'append' | 'reject';

/** Key and manner of signing, the same for every program of a file. */
export interface SigningOptions {
  readonly key: SigningKey;
  readonly hash: DigestName;
  readonly timestamper: Timestamper | null;
  readonly name?: string | undefined;
  readonly url?: string | undefined;
  readonly alreadySigned: AlreadySigned;
  /** When given, our own chain must lead to one of these before anything is delivered. */
  readonly roots?: readonly Certificate[] | undefined;
  readonly timestampRoots?: readonly Certificate[] | undefined;
  /** The signatures of a request, so that a program in several of its files gets one; see `SignOptions`. */
  readonly made?: Map<string, MadeSignature> | undefined;
}

/** One program, signed and verified, with all that a receipt says of it. */
export interface SignedEntry {
  /** Path inside the zip; empty for a lone program. */
  readonly path: string;
  readonly before: { readonly size: number; readonly sha256: string };
  readonly after: { readonly size: number; readonly sha256: string };
  readonly authenticode: { readonly algorithm: DigestName; readonly digest: string };
  readonly timestamp: { readonly time: Date; readonly authority: string; readonly url: string } | null;
  /** The detached PKCS#7 signature, DER. */
  readonly signature: Buffer;
  /** The signed program. */
  readonly content: ByteSource;
  /** What stands in it where it stood in the unsigned one. */
  readonly unchanged: ByteRange;
  /** How the unsigned one was packed, where that is known. */
  readonly packed?: DeflateMap | null | undefined;
}

/** Who signed a program that was signed already. */
export interface KeptSigner {
  /** The subject of the certificate, which anyone can choose. */
  readonly signer: string;
  /** SHA-256 of the certificate, lower-case hex; absent if it did not come along. */
  readonly certificate?: string;
  /** Whether the configured roots vouch for every signature; null if there are none. */
  readonly trusted: boolean | null;
}

/** A program that was left alone since someone else signed it. */
export interface KeptEntry extends KeptSigner {
  readonly path: string;
}

/** Problems name the file themselves; it is named once. */
const describeProblems = ({ path, problems }: VerifyReport): string =>
  problems.map(({ message }) => message.replace(`${path}: `, '')).join('; ');

/** Whether the roots vouch for a program whose signatures hold. */
async function isTrusted(image: SignableFile, { roots, timestampRoots }: ForKept): Promise<boolean | null> {
  if (!roots) return null;
  const options = { roots: [...roots], ...(timestampRoots ? { timestampRoots: [...timestampRoots] } : {}) };
  return (await verifySignableFile(image, options)).status === 'ok';
}

/** What to do about a program whose signature does not hold: often it is a vendor's, whose certificate expired. */
function adviceOn(path: string): string {
  const others =
    'build it again, or have the signer replace such signatures (signing.alreadySigned: replace)';
  if (path === '') return others;
  return `to leave it as it is, add '${printable(excluding(path), 300)}' to signing.files on the signer; or ${others}`;
}

/** Who signed a program already; throws `kept-signature-bad` if that signature does not hold. */
async function signerOf(image: SignableFile, path: string, options: ForKept): Promise<KeptSigner> {
  const { source } = image;
  const report = await verifySignableFile(image, {});
  if (report.status === 'bad')
    throw invalid(
      'kept-signature-bad',
      `${source.name}: it bears a signature that does not hold: ${describeProblems(report)}`,
      { hint: adviceOn(path) },
    );
  const signer = report.signatures[0]?.signer;
  return {
    signer: signer?.subject ?? 'unknown',
    ...(signer ? { certificate: signer.sha256 } : {}),
    trusted: await isTrusted(image, options),
  };
}

type ForKept = Pick<SigningOptions, 'alreadySigned' | 'roots' | 'timestampRoots'>;

/**
 * Decides about a program that may be signed already, at a path in a zip (empty for a lone one): its signer if it is
 * to be left alone, null if it is to be signed. Throws `already-signed` if policy refuses such programs.
 */
export async function keptSigner(
  source: ByteSource,
  path: string,
  options: ForKept,
): Promise<KeptSigner | null> {
  const image = await openSignableFile(source);
  const signer = await existingSigner(image, path, options);
  // Now, before anything is hashed.
  if (signer === null) image.requireSignable();
  return signer;
}

async function existingSigner(
  image: SignableFile,
  path: string,
  options: ForKept,
): Promise<KeptSigner | null> {
  const { alreadySigned: policy } = options;
  if (image.signatures.length === 0) return null;
  // To append to a signature that does not hold would put ours beside it, and mend nothing.
  const signer = policy === 'keep' || policy === 'append' ? await signerOf(image, path, options) : null;
  if (policy === 'keep') return signer;
  if (policy === 'reject')
    throw notAllowed(
      'already-signed',
      `${image.source.name}: it is signed already, and signing.alreadySigned says reject`,
      {
        hint: 'send the unsigned program',
      },
    );
  return null;
}

/**
 * Nothing leaves before it was read back as a stranger would: every check of the verifier, the
 * timestamp among them, and the proof that only a signature was added (design: promises).
 */
export async function checkOwnWork(
  original: ByteSource,
  made: ByteSource,
  options: SigningOptions,
): Promise<void> {
  try {
    const image = await openSignableFile(made);
    const [report, added] = await settleAll([
      verifySignableFile(image, strictly(options)),
      proveOnlySignatureAdded(await openSignableFile(original), image, {
        mayBeEqual: options.alreadySigned !== 'append',
      }),
      // The proof asks for the checksum, which is a by-product of this.
      image.digest(options.hash),
    ]);
    const fault = faultOf(report, indexOf(added, image), options) ?? (await faultOfOthers(image));
    if (fault !== null) throw ownWorkBad(made, fault);
  } catch (error) {
    if (!isInvalid(error)) throw error;
    throw ownWorkBad(made, error.message, error);
  }
}

const strictly = (options: SigningOptions): VerifyOptions => ({
  ...(options.roots ? { roots: [...options.roots] } : {}),
  ...(options.timestampRoots ? { timestampRoots: [...options.timestampRoots] } : {}),
  requireTimestamp: options.timestamper !== null,
});

/** Where the signature that was just added stands; an equal one that was there before is as good. */
const indexOf = (added: Buffer, image: SignableFile): number | undefined =>
  signaturesOf(image).findLast(({ der }) => der.equals(added))?.index;

/** Why the signature that was just made may not leave, or null. */
function faultOf(
  report: VerifyReport,
  ours: number | undefined,
  { key, roots }: SigningOptions,
): string | null {
  const signature = report.signatures.find(({ index }) => index === ours);
  if (signature?.signer?.sha256 !== key.certificates[0]?.sha256) return 'it is not by our certificate';
  const problems = report.problems.filter((each) => each.signature === undefined || each.signature === ours);
  if (problems.length > 0) return describeProblems({ ...report, problems });
  return roots && signature?.trusted !== true ? 'it does not lead to signing.roots' : null;
}

/** Signatures that ours was appended to need no timestamp and none of our roots, and still have to hold. */
async function faultOfOthers(image: SignableFile): Promise<string | null> {
  if (signaturesOf(image).length < 2) return null;
  const report = await verifySignableFile(image);
  return report.status === 'bad' ? describeProblems(report) : null;
}

const ownWorkBad = (made: ByteSource, fault: string, cause?: unknown): SignpipeError =>
  new SignpipeError(
    'local',
    'own-signature-bad',
    `${made.name}: the signature just made does not verify: ${fault}`,
    {
      cause,
      hint: 'nothing was delivered; check the certificate chain, the configured roots, and that nothing writes to the program meanwhile; else report this',
    },
  );

/** What came of one program. */
interface Outcome {
  readonly before: Spooled;
  readonly signed: SignedProgram;
  readonly made: ByteSource;
  /** SHA-256 of what was made, hex. */
  readonly after: string;
}

export function entryOf(path: string, { before, signed, made, after }: Outcome): SignedEntry {
  const { timestamp } = signed;
  return {
    path,
    before: { size: before.source.size, sha256: before.sha256 },
    after: { size: made.size, sha256: after },
    authenticode: { algorithm: signed.hash, digest: signed.digest.toString('hex') },
    timestamp: timestamp && { time: timestamp.time, authority: timestamp.authority, url: timestamp.url },
    signature: signed.signature,
    content: made,
    unchanged: unchangedRange(signed.content.delta),
  };
}

/** Signs one program; nothing is written anywhere, nor checked but the signature alone. */
export const makeSigned = async (source: ByteSource, options: SigningOptions): Promise<SignedProgram> =>
  signProgram(await openSignableFile(source), {
    key: options.key,
    hash: options.hash,
    timestamper: options.timestamper,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.url === undefined ? {} : { url: options.url }),
    existing: options.alreadySigned === 'append' ? 'append' : 'replace',
    made: options.made,
  });

/** Signs one program and verifies what was made; nothing is written anywhere. */
export async function signAndCheck(
  path: string,
  before: Spooled,
  options: SigningOptions,
): Promise<SignedEntry> {
  const { source } = before;
  const signed = await makeSigned(source, options);
  const made = signed.content;
  const [, after] = await settleAll([checkOwnWork(source, made, options), sha256OfSource(made)]);
  return entryOf(path, { before, signed, made, after });
}
