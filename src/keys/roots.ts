import { messageOf, usage } from '../errors.ts';
import { readOnce } from '../io/source.ts';
import { parsePemCertificates, type Certificate } from '../x509/certificate.ts';

/** A whole system's root store has some 300 kB. */
const LARGEST = 16 * 1024 * 1024;

/** The certificates of a PEM file that somebody trusts; undefined when no file was named. Throws `roots-unreadable` (usage). */
export async function readRoots(path: string | undefined): Promise<Certificate[] | undefined> {
  if (path === undefined) return undefined;
  try {
    const pem = await readOnce(path, LARGEST);
    if (!pem) throw usage('roots-unreadable', `more than ${LARGEST} bytes`);
    return parsePemCertificates(pem.toString('latin1'), path);
  } catch (error) {
    throw usage('roots-unreadable', `${path}: no certificates can be read from it: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
