import { OID, type DigestName } from '../../../lib/asn1/oids.ts';
import { ecdsaRawToDer } from '../../../lib/asn1/ecdsa-signature.ts';
import { NULL, octets, oid, seq } from '../../../lib/asn1/encode-der.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import { KEY_TYPE, type TokenKey } from './module-calls.ts';

/** How keys of one type sign. */
interface KeyKind {
  /** The mechanism that signs a digest. */
  readonly digest: { readonly name: string; readonly number: number };
  /** Mechanisms that hash the data themselves, which is all that some HSMs have, such as in FIPS mode. */
  readonly hashing: { readonly name: string; readonly numbers: Readonly<Record<DigestName, number>> };
  /** What the mechanism for digests gets. */
  input(hash: DigestName, digest: Buffer, key: TokenKey): Buffer;
  /** Turns what the token returns into a PKCS#1 v1.5 signature or a DER ECDSA-Sig-Value. Throws `token-error`. */
  readonly signature: (value: Buffer, what: string) => Buffer;
}

/** Sizes of the curves' orders in bytes; a digest that is longer is cut (FIPS 186-5, 6.4.1), which not all tokens do. */
const ORDER_BYTES = [
  [OID.p256, 32],
  [OID.p384, 48],
  [OID.p521, 66],
] as const;

/** The size of the order of a key's curve; undefined if the token does not name the curve. */
const orderBytes = ({ ecParams }: TokenKey): number | undefined =>
  ORDER_BYTES.find(([curve]) => ecParams?.equals(oid(curve)))?.[1];

function fromRaw(raw: Buffer, what: string): Buffer {
  if (ORDER_BYTES.some(([, bytes]) => raw.length === 2 * bytes)) return ecdsaRawToDer(raw, what);
  throw new SignpipeError('local', 'token-error', `${what}: its ECDSA signature has ${raw.length} bytes`);
}

const KINDS: ReadonlyMap<number, KeyKind> = new Map([
  [
    KEY_TYPE.rsa,
    {
      digest: { name: 'CKM_RSA_PKCS', number: 0x1 },
      hashing: { name: 'CKM_SHA256_RSA_PKCS', numbers: { sha256: 0x40, sha384: 0x41, sha512: 0x42 } },
      // DigestInfo (RFC 8017, 9.2), which CKM_RSA_PKCS pads only.
      input: (hash, digest) => seq(seq(oid(OID[hash]), NULL), octets(digest)),
      signature: (value) => value,
    },
  ],
  [
    KEY_TYPE.ec,
    {
      digest: { name: 'CKM_ECDSA', number: 0x1041 },
      hashing: { name: 'CKM_ECDSA_SHA256', numbers: { sha256: 0x1044, sha384: 0x1045, sha512: 0x1046 } },
      input: (_, digest, key) => digest.subarray(0, orderBytes(key)),
      signature: fromRaw,
    },
  ],
]);

const DIGESTS = ['sha256', 'sha384', 'sha512'] as const;

/** The names of mechanisms that sign programs, of those that a token offers. */
export const signingMechanisms = (offered: readonly number[]): string[] =>
  [...KINDS.values()].flatMap(({ digest, hashing }) => [
    ...(offered.includes(digest.number) ? [digest.name] : []),
    ...(offered.includes(hashing.numbers.sha256) ? [hashing.name] : []),
  ]);

/** How one key signs on its token. */
export interface SigningMethod {
  /** The digests that the token makes itself; undefined if it signs any. */
  readonly digests: readonly DigestName[] | undefined;
  /** The mechanism, and what it gets: the digest, or the data if the token makes the digest. */
  input(
    hash: DigestName,
    digest: Buffer,
    data: Buffer,
  ): { readonly mechanism: number; readonly data: Buffer };
  /** See `KeyKind`. */
  readonly signature: (value: Buffer, what: string) => Buffer;
}

/** The method for a key on a token that offers these mechanisms; else what the token does not have, for a message. */
export function signingMethod(key: TokenKey, offered: readonly number[]): SigningMethod | string {
  const kind = KINDS.get(key.type);
  if (!kind) return `cannot sign with a key of the type 0x${key.type.toString(16)}`;
  const { digest: own, hashing, signature } = kind;
  if (offered.includes(own.number)) {
    const input: SigningMethod['input'] = (hash, digest) => ({
      mechanism: own.number,
      data: kind.input(hash, digest, key),
    });
    return { digests: undefined, input, signature };
  }
  const digests = DIGESTS.filter((hash) => offered.includes(hashing.numbers[hash]));
  if (digests.length === 0) return `has neither ${own.name} nor ${hashing.name}`;
  return { digests, input: (hash, _, data) => ({ mechanism: hashing.numbers[hash], data }), signature };
}
