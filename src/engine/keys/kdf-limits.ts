import forge from 'node-forge';
import { OID } from '../../lib/asn1/oids.ts';
import { usage } from '../../lib/errors.ts';
import { octetsOf, parseBer } from './ber.ts';

/** The limit for one file in all: OWASP recommends 600,000 per encryption, and a file has three or four. */
const MAX_ITERATIONS = 5_000_000n;

/** A PFX has two levels of ContentInfo around its bags (RFC 7292, 4.1): AuthenticatedSafe and SafeContents. */
const NESTING = 2;

const { Class, Type } = forge.asn1;

const isUniversal = (node: forge.asn1.Asn1 | undefined, type: forge.asn1.Type): boolean =>
  node?.tagClass === Class.UNIVERSAL && node.type === type;

/** Parses the AuthenticatedSafe or SafeContents in a ContentInfo of type data (RFC 5652, 3 and 4). */
function parseDataContent([type, content]: forge.asn1.Asn1[], what: string): forge.asn1.Asn1 | undefined {
  if (!isUniversal(type, Type.OID) || content?.tagClass !== Class.CONTEXT_SPECIFIC) return undefined;
  if (forge.asn1.derToOid(type?.value as string) !== OID.data) return undefined;
  return parseBer(Buffer.from(octetsOf(content), 'latin1'), what);
}

/**
 * Finds every INTEGER after an OCTET STRING: the iterations after the salt in MacData, pkcs-12PbeParams and
 * PBKDF2-params, and the cost in scrypt-params (RFC 7292, 4 and C; RFC 8018, A.2; RFC 7914, 7).
 */
function* iterationCounts(node: forge.asn1.Asn1, what: string, nesting = NESTING): Generator<bigint> {
  const parts = node.value;
  if (typeof parts === 'string') return;
  for (const [index, part] of parts.entries()) {
    if (isUniversal(part, Type.INTEGER) && isUniversal(parts[index - 1], Type.OCTETSTRING))
      yield BigInt(`0x0${forge.util.bytesToHex(octetsOf(part))}`);
    yield* iterationCounts(part, what, nesting);
  }
  const inner = nesting > 0 ? parseDataContent(parts, what) : undefined;
  if (inner) yield* iterationCounts(inner, what, nesting - 1);
}

/**
 * Throws `key-iterations` for a PFX or an EncryptedPrivateKeyInfo that would keep the machine busy, before any key is
 * derived. Parameters that are encrypted themselves are not checked: their author knew the passphrase. Returns whether
 * the file is encrypted or has a MAC, and so needs a passphrase.
 */
export function checkKdfLimits(tree: forge.asn1.Asn1, what: string): boolean {
  const counts = [...iterationCounts(tree, what)];
  const sum = counts.reduce((total, count) => total + count, 0n);
  if (sum <= MAX_ITERATIONS && !counts.includes(0n)) return counts.length > 0;
  throw usage(
    'key-iterations',
    `${what}: needs ${sum} iterations of key derivation; at least 1 and at most ${MAX_ITERATIONS} are accepted`,
    { hint: 'export the key again with an accepted number of iterations' },
  );
}
