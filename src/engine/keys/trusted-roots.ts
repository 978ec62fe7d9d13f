import { fileURLToPath } from 'node:url';
import { messageOf, usage } from '../../lib/errors.ts';
import { readOnce } from '../../lib/bytes/byte-source.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { parsePemCertificates, type Certificate } from '../../lib/x509/certificate.ts';
import { isTestChain } from './signing-key.ts';

/** A whole system's root store has some 300 kB. */
const LARGEST = 16 * 1024 * 1024;

async function readPem(path: string): Promise<{ pem: string; certificates: Certificate[] }> {
  try {
    const bytes = await readOnce(path, LARGEST);
    if (!bytes) throw usage('roots-unreadable', `more than ${LARGEST} bytes`);
    const pem = bytes.toString('latin1');
    return { pem, certificates: parsePemCertificates(pem, path) };
  } catch (error) {
    throw usage('roots-unreadable', `${path}: no certificates can be read from it: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** The certificates of a PEM file of roots; undefined if none was named. Throws `roots-unreadable` (usage). */
export const readRoots = async (path: string | undefined): Promise<Certificate[] | undefined> =>
  path === undefined ? undefined : (await readPem(path)).certificates;

/** In place of a file's path: the roots of public timestamp authorities that come with this package. */
export const PUBLIC_ROOTS = 'public';

/** The package's own roots of public timestamp authorities (`roots/timestamp.pem`). */
export interface PublicRoots {
  readonly certificates: readonly Certificate[];
  /** When they were last compared with their sources. */
  readonly checked: Date;
}

const CHECKED = /^# Date: (\d{4}-\d{2}-\d{2})$/m;

/** Reads the package's roots of public timestamp authorities. Throws `roots-unreadable` (usage). */
export async function readPublicRoots(): Promise<PublicRoots> {
  const path = fileURLToPath(new URL('roots/timestamp.pem', packageRoot));
  const { pem, certificates } = await readPem(path);
  const date = CHECKED.exec(pem)?.[1];
  if (date === undefined) throw usage('roots-unreadable', `${path}: it has no line "# Date: YYYY-MM-DD"`);
  return { certificates, checked: new Date(date) };
}

/**
 * The roots that timestamps must lead to: those of every PEM file named, and the package's own for the word
 * `public`. Undefined when none are named. Throws `roots-unreadable` (usage).
 */
export async function readTimestampRoots(
  names: readonly string[] | undefined,
): Promise<Certificate[] | undefined> {
  if (names === undefined) return undefined;
  const sets = await Promise.all(
    names.map(async (name) =>
      name === PUBLIC_ROOTS ? (await readPublicRoots()).certificates : (await readPem(name)).certificates,
    ),
  );
  return sets.flat();
}

/**
 * Which roots the timestamps on our own signatures must lead to. Anyone on the network can answer for an
 * authority with a certificate of their own, so they are `public` unless something else is configured. Only
 * signatures of a test certificate, which is not trusted anyway, may have any timestamp.
 */
export const timestampRootsFor = (
  names: readonly string[] | undefined,
  signer: readonly Certificate[],
): readonly string[] | undefined => names ?? (isTestChain(signer) ? undefined : [PUBLIC_ROOTS]);
