import forge from 'node-forge';
import { OID } from '../../lib/asn1/oids.ts';
import { usage } from '../../lib/errors.ts';
import { octetsOf, parseBer } from './ber.ts';

/** What one file may ask for in all: OWASP wants 600,000 an encryption, and a file has three or four. */
const MOST_ITERATIONS = 5_000_000n;

/** A PFX wraps its bags twice (RFC 7292, 4.1): AuthenticatedSafe, SafeContents. */
const WRAPPINGS = 2;

const { Class, Type } = forge.asn1;

const isUniversal = (node: forge.asn1.Asn1 | undefined, type: forge.asn1.Type): boolean =>
  node?.tagClass === Class.UNIVERSAL && node.type === type;

/** The AuthenticatedSafe or SafeContents in a ContentInfo of type data (RFC 5652, 3 and 4). */
function unwrapped([type, content]: forge.asn1.Asn1[], what: string): forge.asn1.Asn1 | undefined {
  if (!isUniversal(type, Type.OID) || content?.tagClass !== Class.CONTEXT_SPECIFIC) return undefined;
  if (forge.asn1.derToOid(type?.value as string) !== OID.data) return undefined;
  return parseBer(Buffer.from(octetsOf(content), 'latin1'), what);
}

/**
 * Every INTEGER that follows an OCTET STRING: the iterations after the salt in MacData, pkcs-12PbeParams
 * and PBKDF2-params, and the cost in scrypt-params (RFC 7292, 4 and C; RFC 8018, A.2; RFC 7914, 7).
 */
function* iterationCounts(node: forge.asn1.Asn1, what: string, wrappings = WRAPPINGS): Generator<bigint> {
  const parts = node.value;
  if (typeof parts === 'string') return;
  for (const [index, part] of parts.entries()) {
    if (isUniversal(part, Type.INTEGER) && isUniversal(parts[index - 1], Type.OCTETSTRING))
      yield BigInt(`0x0${forge.util.bytesToHex(octetsOf(part))}`);
    yield* iterationCounts(part, what, wrappings);
  }
  const inner = wrappings > 0 ? unwrapped(parts, what) : undefined;
  if (inner) yield* iterationCounts(inner, what, wrappings - 1);
}

/**
 * Refuses a PFX or an EncryptedPrivateKeyInfo that would keep the machine busy, before any key is
 * derived: `key-iterations`. Parameters that are themselves encrypted are not seen; whoever wrote
 * those knew the passphrase. Says whether there are any: whether the file asks for a passphrase.
 */
export function checkIterations(tree: forge.asn1.Asn1, what: string): boolean {
  const counts = [...iterationCounts(tree, what)];
  const sum = counts.reduce((total, count) => total + count, 0n);
  if (sum <= MOST_ITERATIONS && !counts.includes(0n)) return counts.length > 0;
  throw usage(
    'key-iterations',
    `${what}: asks for ${sum} iterations of key derivation, which is not sensible`,
    {
      hint: 'Export the key again with fewer iterations, but at least one',
    },
  );
}
