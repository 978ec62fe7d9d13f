import type { DeflateMap } from '../../lib/zip/deflate-block-scanner.ts';
import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import type { NewContent } from '../../lib/zip/rewrite-zip.ts';
import { patternsMatching } from '../formats/program-names.ts';
import { notAllowed } from '../../lib/errors.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { printable } from '../../lib/printable.ts';
import type { PathFilter } from './globs.ts';
import type { KeptEntry, SignedEntry, SigningOptions } from './sign-program.ts';

export interface SignArtifactOptions extends SigningOptions {
  /** Which programs are ours: by its path in a zip, or by the name of a lone one. */
  readonly isOurs: PathFilter;
  /** Which lone programs are ours, by name, if that is not for `isOurs` to say. */
  readonly isOursAlone?: PathFilter | undefined;
  readonly limits: ArchiveLimits;
  /** A folder for unpacked programs; emptied again. */
  readonly scratch: string;
  /** SHA-256 by path: with it every entry of ours must be named here, and match. */
  readonly pins?: ReadonlyMap<string, string> | undefined;
  /** Told after each program, how many of how many are done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What stays known of a program once it was written. */
export type SignedAway = Omit<SignedEntry, 'content' | 'unchanged' | 'packed'>;

/** An entry that was left as it was, though it may look as if it had been signed. */
export interface LeftAlone {
  readonly path: string;
  /** `apple-double`: the patterns name it, but it is macOS's file beside a program; `nested-zip`: not looked into. */
  readonly why: 'apple-double' | 'nested-zip';
}

/** What was done to one file. */
export interface SignedArtifact {
  readonly kind: 'zip' | 'program';
  /** Files in the zip, without folders; 1 for a program that is not in a zip. */
  readonly entries: number;
  readonly signed: readonly SignedAway[];
  readonly kept: readonly KeptEntry[];
  readonly leftAlone: readonly LeftAlone[];
}

/** What was done to one file that was written. */
export interface SignedFile extends SignedArtifact {
  readonly output: { readonly size: number; readonly sha256: string };
}

/** What is known without any SHA-256. */
export interface SignedUnhashed extends Omit<SignedArtifact, 'signed'> {
  readonly signed: readonly Omit<SignedAway, 'before' | 'after'>[];
}

/** For who asks for no SHA-256 of a file: of a large program, the two would take half of the time. */
export interface UnhashedOptions extends SignArtifactOptions {
  readonly unhashed: true;
}

/** A lone program is matched by its name, as it would be in a zip. */
export function requireOurs(name: string, { isOurs, isOursAlone = isOurs }: SignArtifactOptions): void {
  if (isOursAlone(name)) return;
  const patterns = patternsMatching(name).map((pattern) => `"${printable(pattern, 300)}"`);
  throw notAllowed('nothing-to-sign', `${name}: nothing to sign: signing.files does not name this program`, {
    hint: `have ${patterns.join(' or ')} added to signing.files on the signer, unless a pattern with "!" excludes it on purpose`,
  });
}

export function requireSomething(
  signed: number,
  kept: readonly KeptEntry[],
  files: number,
  name: string,
): void {
  if (signed > 0) return;
  const [first, ...others] = kept;
  if (!first)
    throw notAllowed(
      'nothing-to-sign',
      `${name}: nothing to sign: none of its files is ours (${files} in all)`,
      {
        hint: 'check the zip, and signing.files on the signer',
      },
    );
  const whose = `signed already, ${first.path === '' ? '' : `${first.path} `}by ${printable(first.signer, 200)}`;
  const told = others.length > 0 ? `all ${kept.length} programs of ours are ${whose}` : `it is ${whose}`;
  throw notAllowed('nothing-to-sign', `${name}: nothing to sign: ${told}`, {
    hint: 'send unsigned programs, or have the signer replace or append (signing.alreadySigned)',
  });
}

export const withoutContent = ({
  content: _content,
  unchanged: _unchanged,
  packed: _packed,
  ...entry
}: SignedEntry): SignedAway => entry;

/** New content, with what it has in common with the old where it is known how that is packed. */
export const newContent = (
  source: ByteSource,
  kept: ByteRange,
  map: DeflateMap | null | undefined,
): NewContent => (map ? { source, reuse: { map, kept } } : { source });
