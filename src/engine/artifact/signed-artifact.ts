import type { DigestName } from '../../lib/asn1/oids.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import { notAllowed, SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import type { SignOptions } from '../authenticode/sign.ts';
import { patternsMatching } from '../formats/program-names.ts';
import type { PathFilter } from './globs.ts';
import type { Place } from './inside/place.ts';

/** What to do with a program that is signed already. */
export type AlreadySigned = 'keep' | 'replace' | 'append' | 'reject';

/**
 * What to do with programs inside of containers: zips in a zip, and signed containers such as MSI.
 * - `sign`: sign those of ours and pack the container again, before it is signed itself;
 * - `require-signed`: refuse a container with an unsigned program;
 * - `report`: name the unsigned programs in a container that is signed, and sign it as it is;
 * - `ignore`: do not look.
 */
export type InsidePolicy = 'sign' | 'require-signed' | 'report' | 'ignore';

/** How to sign the programs of a file. */
export interface SignArtifactOptions extends Omit<SignOptions, 'existing' | 'signingTime'> {
  readonly hash: DigestName;
  readonly alreadySigned: AlreadySigned;
  /** `report` if left out. */
  readonly inside?: InsidePolicy | undefined;
  /** If given, our own chain must lead to one of these before anything is delivered. Some schemes include the root. */
  readonly roots?: readonly Certificate[] | undefined;
  readonly timestampRoots?: readonly Certificate[] | undefined;
  /** Which programs are ours: by path in a zip, by file name outside. */
  readonly isOurs: PathFilter;
  /** Replaces `isOurs` for a program that is not in a zip. */
  readonly isOursAlone?: PathFilter | undefined;
  readonly limits: ArchiveLimits;
  /** A folder for unpacked programs; emptied again. */
  readonly scratch: string;
  /** SHA-256 by path: if given, each of our programs must be named here, and match. */
  readonly pins?: ReadonlyMap<string, string> | undefined;
  /**
   * Only for speed: false leaves out the SHA-256s, which are then empty, of a program that is large and not in a
   * zip. They take half of the time.
   */
  readonly hashed?: boolean | undefined;
  /** Called after each program with the number done and the number of all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A program that was signed and verified, with everything that a receipt says about it. */
export interface SignedProgram extends Place {
  /** The name of its format. */
  readonly format: string;
  /** The kind of its signature. */
  readonly scheme: string;
  readonly before: { readonly size: number; readonly sha256: string };
  readonly after: { readonly size: number; readonly sha256: string };
  readonly authenticode: { readonly algorithm: DigestName; readonly digest: string };
  readonly timestamp: { readonly time: Date; readonly authority: string; readonly url: string } | null;
  /** The certificate that the signature verifies with. */
  readonly certificate: Certificate;
  /** The detached signature: PKCS #7 in DER, unless the format needs more. */
  readonly signature: Buffer;
  /** Its file name in receipts; see `detachedName`. */
  readonly detachedName: string;
}

/** The signer of a program that was signed before. */
export interface KeptSigner {
  /** The subject of the certificate, which anyone can choose. */
  readonly signer: string;
  /** SHA-256 of the certificate, lower-case hex; absent if the certificate is not in the file. */
  readonly certificate?: string;
  /** Whether every signature leads to the configured roots; null if there are none. */
  readonly trusted: boolean | null;
}

/** A program that was left alone because someone else signed it. */
export interface KeptEntry extends KeptSigner, Place {}

/** An entry that was left as it was, though it may look as if it had been signed. */
export interface LeftAlone extends Place {
  /**
   * `apple-double`: the patterns name it, but it is macOS's file beside a program; `nested-zip`: not looked into;
   * `not-opened`: a container that could not be looked into.
   */
  readonly why: 'apple-double' | 'nested-zip' | 'not-opened';
}

/** What was done to one file. */
export interface SignedArtifact {
  readonly kind: 'zip' | 'program';
  /** Files in the zip, without folders; 1 for a program that is not in a zip. */
  readonly entries: number;
  readonly signed: readonly SignedProgram[];
  readonly kept: readonly KeptEntry[];
  readonly leftAlone: readonly LeftAlone[];
  /** Programs in containers that were looked into, without a signature before and after. */
  readonly unsignedInside: readonly Place[];
}

/** A signed file that was written. */
export interface SignedFile extends SignedArtifact {
  readonly output: { readonly size: number; readonly sha256: string };
}

/** Checks the name of a program that is not in a zip against the patterns, as if it were in one. */
export function requireOurs(
  name: string,
  { isOurs, isOursAlone = isOurs }: Pick<SignArtifactOptions, 'isOurs' | 'isOursAlone'>,
): void {
  if (isOursAlone(name)) return;
  const patterns = patternsMatching(name).map((pattern) => `"${printable(pattern, 300)}"`);
  throw notAllowed('nothing-to-sign', `${name}: nothing to sign: signing.files does not name this program`, {
    hint: `add ${patterns.join(' or ')} to signing.files on the signer, unless a pattern with "!" excludes it on purpose`,
  });
}

/** `nothing-to-sign` for a zip in which no file is ours, nor has the name of a program that may have been meant. */
export class NoPrograms extends SignpipeError {
  constructor(
    name: string,
    /** What is to be said of it if it may stay as it is: the number of files in it, and the zips among them. */
    readonly contents: Pick<SignedFile, 'entries' | 'leftAlone'>,
  ) {
    super('not-allowed', 'nothing-to-sign', noneOurs(name, contents.entries), { hint: NONE_OURS_HINT });
  }
}

const noneOurs = (name: string, files: number): string =>
  `${name}: nothing to sign: none of its files is ours (${files} in all)`;
const NONE_OURS_HINT = 'check the zip, and signing.files on the signer';

/** Throws `nothing-to-sign` if no program is to be signed; `files` is the number of files in all. */
export function requireSomethingToSign(
  toSign: number,
  kept: readonly KeptEntry[],
  files: number,
  name: string,
): void {
  if (toSign > 0) return;
  const [first, ...others] = kept;
  if (!first) throw notAllowed('nothing-to-sign', noneOurs(name, files), { hint: NONE_OURS_HINT });
  const signedBy = `signed already, ${first.path === '' ? '' : `${first.path} `}by ${printable(first.signer, 200)}`;
  const why = others.length > 0 ? `all ${kept.length} programs of ours are ${signedBy}` : `it is ${signedBy}`;
  throw notAllowed('nothing-to-sign', `${name}: nothing to sign: ${why}`, {
    hint: 'send unsigned programs, or set signing.alreadySigned on the signer to replace or append',
  });
}
