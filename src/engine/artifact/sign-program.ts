import { invalid, isInvalid, notAllowed, SignpipeError } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { PatchedSource } from '../../lib/bytes/patched-source.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/all-settled.ts';
import { printable } from '../../lib/printable.ts';
import { proveOnlySignatureAdded } from '../authenticode/only-signature-added.ts';
import type { VerifyReport } from '../authenticode/report.ts';
import { schemeOf } from '../authenticode/scheme-of.ts';
import { requireAppendable, signProgram, type SigningResult } from '../authenticode/sign.ts';
import { signaturesOf, verifySignableFile, type VerifyOptions } from '../authenticode/verify.ts';
import { detachedName } from './detached.ts';
import { openSignableFile } from '../formats/recognize.ts';
import type { SignableFile } from '../formats/signable-file.ts';
import { excluding } from './globs.ts';
import type { KeptSigner, SignArtifactOptions, SignedProgram } from './signed-artifact.ts';

/** The problems of a report, without the name of the file in each. */
const describeProblems = ({ path, problems }: VerifyReport): string =>
  problems.map(({ message }) => message.replace(`${path}: `, '')).join('; ');

/** The options that decide about a program that is signed already. */
type KeepOptions = Pick<SignArtifactOptions, 'alreadySigned' | 'inside' | 'roots' | 'timestampRoots'>;

const rootsOf = ({ roots, timestampRoots }: KeepOptions): VerifyOptions => ({
  ...(roots ? { roots: [...roots] } : {}),
  ...(timestampRoots ? { timestampRoots: [...timestampRoots] } : {}),
});

/** The hint for a program whose signature is bad: often it is a vendor's, whose certificate expired. */
function hintForBadSignature(path: string): string {
  const others = 'build it again, or set signing.alreadySigned on the signer to replace';
  if (path === '') return others;
  return `to leave it as it is, add '${printable(excluding(path), 300)}' to signing.files on the signer; or ${others}`;
}

/** The signer of a signed program; throws `kept-signature-bad` if its signature is bad. */
async function signerOf(file: SignableFile, path: string, options: KeepOptions): Promise<KeptSigner> {
  const report = await verifySignableFile(file, {});
  if (report.status === 'bad')
    throw invalid(
      'kept-signature-bad',
      `${file.source.name}: it has a signature that is not valid: ${describeProblems(report)}`,
      { hint: hintForBadSignature(path) },
    );
  const signer = report.signatures[0]?.signer;
  return {
    signer: signer?.subject ?? 'unknown',
    ...(signer ? { certificate: signer.sha256 } : {}),
    trusted: options.roots ? (await verifySignableFile(file, rootsOf(options))).status === 'ok' : null,
  };
}

/**
 * Decides about a program that may be signed already: returns its signer if it is to be left alone, null if it is to
 * be signed. `path` is its path in a zip, or empty. Throws `already-signed` if the policy refuses signed programs,
 * `append-would-lose`, and what `requireSignable` throws.
 */
export async function keptSigner(
  file: SignableFile,
  path: string,
  options: KeepOptions,
): Promise<KeptSigner | null> {
  const signer = file.signatures.length === 0 ? null : await existingSigner(file, path, options);
  // Now, before anything is hashed.
  // A container whose inside is signed is asked when that is done: it may become signable by it.
  if (signer === null && !(file.container && options.inside === 'sign')) file.requireSignable();
  return signer;
}

async function existingSigner(
  file: SignableFile,
  path: string,
  options: KeepOptions,
): Promise<KeptSigner | null> {
  const { alreadySigned: policy } = options;
  // A bad signature is not appended to: ours beside it would not mend it.
  const signer = policy === 'keep' || policy === 'append' ? await signerOf(file, path, options) : null;
  if (policy === 'keep') return signer;
  if (policy === 'append') requireAppendable(file);
  if (policy === 'reject')
    throw notAllowed(
      'already-signed',
      `${file.source.name}: it is signed already, and signing.alreadySigned is reject`,
      { hint: 'send the unsigned program' },
    );
  return null;
}

/**
 * Verifies a program that was just signed as anyone else would: every check of the verifier, including the timestamp,
 * and the proof that only a signature was added. Nothing is delivered before. Throws `own-signature-bad`.
 */
export async function verifyOwnSignature(
  original: SignableFile,
  signed: ByteSource,
  { certificate }: Pick<SigningResult, 'certificate'>,
  options: SignArtifactOptions,
): Promise<void> {
  try {
    const file = await openSignableFile(signed);
    const [report, added] = await settleAll([
      verifySignableFile(file, { ...rootsOf(options), requireTimestamp: options.timestamper !== null }),
      proveOnlySignatureAdded(original, file, { mayBeEqual: options.alreadySigned !== 'append' }),
      // The proof asks for the checksum, which is a by-product of this.
      file.digest(options.hash),
    ]);
    const fault =
      faultOf(report, { index: indexOf(added, file), certificate }, options) ?? (await faultOfOthers(file));
    if (fault !== null) throw ownSignatureBad(signed, fault);
  } catch (error) {
    if (!isInvalid(error)) throw error;
    throw ownSignatureBad(signed, error.message, error);
  }
}

/** The index of the added signature; an equal one that was there before will do. */
const indexOf = (added: Buffer, file: SignableFile): number | undefined =>
  signaturesOf(file).findLast(({ der }) => der.equals(added))?.index;

/** Why the signature that was just made must not be delivered, or null. */
function faultOf(
  report: VerifyReport,
  { index: ours, certificate }: { readonly index: number | undefined; readonly certificate: Certificate },
  { roots }: SignArtifactOptions,
): string | null {
  const signature = report.signatures.find(({ index }) => index === ours);
  if (signature?.signer?.sha256 !== certificate.sha256) return 'it is not by our certificate';
  const problems = report.problems.filter((each) => each.signature === undefined || each.signature === ours);
  if (problems.length > 0) return describeProblems({ ...report, problems });
  return roots && signature?.trusted !== true ? 'it does not lead to signing.roots' : null;
}

/** Signatures that ours was appended to need no timestamp and none of our roots, but must be valid. */
async function faultOfOthers(file: SignableFile): Promise<string | null> {
  if (signaturesOf(file).length < 2) return null;
  const report = await verifySignableFile(file);
  return report.status === 'bad' ? describeProblems(report) : null;
}

const ownSignatureBad = (signed: ByteSource, fault: string, cause?: unknown): SignpipeError =>
  new SignpipeError(
    'local',
    'own-signature-bad',
    `${signed.name}: the signature just made does not verify: ${fault}`,
    {
      cause,
      hint: 'nothing was delivered; check the certificate chain, the configured roots, and that nothing writes to the program meanwhile; else report this',
    },
  );

/** Signs one program, which `keptSigner` decided to sign. Nothing is written, and only the signature is checked. */
export const signUnverified = (file: SignableFile, options: SignArtifactOptions): Promise<SigningResult> =>
  signProgram(file, { ...options, existing: options.alreadySigned === 'append' ? 'append' : 'replace' });

/** The receipt's record of a program; the SHA-256s are those of the unsigned program and the signed one. */
export function describeSigned(
  path: string,
  file: SignableFile,
  { content, signature, hash, digest, certificate, timestamp }: SigningResult,
  sha256: { readonly before: string; readonly after: string },
): SignedProgram {
  return {
    path,
    format: file.format,
    scheme: schemeOf(file).name,
    before: { size: file.source.size, sha256: sha256.before },
    after: { size: content.size, sha256: sha256.after },
    authenticode: { algorithm: hash, digest: digest.toString('hex') },
    timestamp: timestamp && { time: timestamp.time, authority: timestamp.authority, url: timestamp.url },
    certificate,
    signature,
    detachedName: detachedName(file, sha256.before),
  };
}

/**
 * Signs one program and verifies the result; nothing is written. `before` describes the program as it came: what lies inside
 * of it may have been signed since.
 */
export async function signAndVerify(
  path: string,
  { file, before }: { readonly file: SignableFile; readonly before: SignedProgram['before'] },
  options: SignArtifactOptions,
): Promise<{ readonly program: SignedProgram; readonly content: PatchedSource }> {
  const result = await signUnverified(file, options);
  const { content } = result;
  const [, after] = await settleAll([
    verifyOwnSignature(file, content, result, options),
    sha256OfSource(content),
  ]);
  const program = describeSigned(path, file, result, { before: before.sha256, after });
  return { program: { ...program, before }, content };
}
