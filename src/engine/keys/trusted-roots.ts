import { fileURLToPath } from 'node:url';
import { messageOf, usage } from '../../lib/errors.ts';
import { readOnce } from '../../lib/bytes/byte-source.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { parsePemCertificates, type Certificate } from '../../lib/x509/certificate.ts';
import { isTestChain } from './signing-key.ts';

/** In bytes. The root store of a whole system has about 300 kB. */
const MAX_FILE = 16 * 1024 * 1024;

async function readPem(path: string): Promise<{ pem: string; certificates: Certificate[] }> {
  try {
    const bytes = await readOnce(path, MAX_FILE);
    if (!bytes) throw usage('roots-unreadable', `more than ${MAX_FILE} bytes`);
    const pem = bytes.toString('latin1');
    return { pem, certificates: parsePemCertificates(pem, path) };
  } catch (error) {
    throw usage('roots-unreadable', `${path}: cannot read certificates from it: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Reads the certificates of a PEM file; undefined if no file is named. Throws `roots-unreadable` (usage). */
export const readRoots = async (path: string | undefined): Promise<Certificate[] | undefined> =>
  path === undefined ? undefined : (await readPem(path)).certificates;

/** Written instead of a path: the roots of public timestamp authorities that are part of this package. */
export const PUBLIC_ROOTS = 'public';

/** The roots of public timestamp authorities that are part of this package (`roots/timestamp.pem`). */
interface PublicRoots {
  readonly certificates: readonly Certificate[];
  /** When they were last compared with their sources. */
  readonly checked: Date;
}

const CHECKED = /^# Date: (\d{4}-\d{2}-\d{2})$/m;

/** Reads the roots of public timestamp authorities that are part of this package. Throws `roots-unreadable` (usage). */
export async function readPublicRoots(): Promise<PublicRoots> {
  const path = fileURLToPath(new URL('roots/timestamp.pem', packageRoot));
  const { pem, certificates } = await readPem(path);
  const date = CHECKED.exec(pem)?.[1];
  if (date === undefined) throw usage('roots-unreadable', `${path}: there is no line "# Date: YYYY-MM-DD"`);
  return { certificates, checked: new Date(date) };
}

/**
 * Reads the roots to which chains of timestamps must lead: those of every PEM file that is named, and for the word
 * `public` those of this package. Undefined if `names` is. Throws `roots-unreadable` (usage).
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
 * The names of the roots to which the timestamps on our own signatures must lead: the configured ones, else `public`,
 * because anyone on the network can answer for an authority with a certificate of their own. With a test certificate,
 * which is not trusted anyway, any timestamp is accepted unless roots are configured.
 */
export const timestampRootsFor = (
  names: readonly string[] | undefined,
  signer: readonly Certificate[],
): readonly string[] | undefined => names ?? (isTestChain(signer) ? undefined : [PUBLIC_ROOTS]);
