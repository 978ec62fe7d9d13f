import { context } from '../../lib/asn1/der.ts';
import { sorted } from '../../lib/asn1/encode-der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import { signedDataFields } from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import type { ReadSignature } from '../formats/signature-scheme.ts';
import type { SignableFile } from '../formats/signable-file.ts';
import { parseSignature } from './signature.ts';
import { schemeOf } from './scheme-of.ts';
import { EVERYTHING } from './unauthenticated-data.ts';

interface ProofOptions {
  /**
   * The original's signature may have been replaced by an equal one: RSA signs without randomness, so that signing
   * again with the same key and without a timestamp changes nothing. Only the signer sets this, for what it has
   * just signed; false by default.
   */
  readonly mayBeEqual?: boolean;
}

/**
 * Proves that `signed` is `original` plus one signature and nothing else: every byte that the digest covers is
 * equal, everything else is what signing writes there, and the signature carries nothing that no verifier looks at.
 * The proof needs no trust in the signature; whether it is valid is for the verifier to check. Returns the signature
 * that was added (PKCS #7 ContentInfo, DER).
 *
 * If `original` was signed itself, its signature must either be gone (replaced), or be there in full with exactly
 * one more nested in it (appended); in a format that has signatures side by side, the added one may also follow the
 * original's. The added signature has nothing nested in it.
 *
 * | code                    | meaning                                                            |
 * | ----------------------- | ------------------------------------------------------------------ |
 * | `strip-not-signed`      | there is no signature                                              |
 * | `strip-no-new-signature`| the only signature is the original's own                           |
 * | `strip-several-signatures` | more than one signature was added                               |
 * | `strip-signature-differs`| an appended-to signature was changed otherwise                    |
 * | `strip-untidy`          | the file holds unauthenticated data beside the signature           |
 *
 * Throws also what `requireSameContent` and `readContent` of the format throw. Reads both files as streams.
 */
export async function proveOnlySignatureAdded(
  original: SignableFile,
  signed: SignableFile,
  options: ProofOptions = {},
): Promise<Buffer> {
  const { source, signatures } = signed;
  if (signatures.length === 0) throw invalid('strip-not-signed', `${source.name}: it carries no signature`);
  await signed.requireSameContent(original);
  const added = addedSignature(original, signed, options);
  requireNothingElse(signed, added);
  return added;
}

/** The one signature that was added. It has nothing nested in it. */
function addedSignature(
  before: SignableFile,
  after: SignableFile,
  { mayBeEqual = false }: ProofOptions,
): Buffer {
  const what = `${after.source.name}: signature`;
  const [first] = before.signatures;
  if (!first) return onlySignature(after, what);
  if (!mayBeEqual && sameSignatures(before.signatures, after.signatures))
    throw invalid('strip-no-new-signature', `${what}: it is the one that the original carried`);
  const added =
    addedBeside(before, after) ??
    nestedAddition(before, after, what) ??
    replacement(before.signatures, after, { mayBeEqual, what });
  if (added && schemeOf(after).read(added, what).nested.length === 0) return added;
  throw invalid(
    'strip-signature-differs',
    `${what}: it is neither a new one nor the original's with one more nested in it`,
  );
}

const sameSignatures = (some: readonly Buffer[], others: readonly Buffer[]): boolean =>
  some.length === others.length && some.every((each, at) => others[at]?.equals(each));

function onlySignature(file: SignableFile, what: string): Buffer {
  const { signatures } = file;
  const [one, another] = signatures;
  const nested = one ? schemeOf(file).read(one, what).nested.length : 0;
  if (one && !another && nested === 0) return one;
  throw invalid(
    'strip-several-signatures',
    `${what}: ${signatures.length + nested} signatures were added, not one`,
  );
}

/** The last of the signatures side by side, if the others are the original's. */
const addedBeside = (
  { signatures: before }: SignableFile,
  { signatures: after }: SignableFile,
): Buffer | undefined => (sameSignatures(before, after.slice(0, -1)) ? after.at(-1) : undefined);

/** The one signature that is nested now and was not before, if the original's is there in full otherwise. */
function nestedAddition(before: SignableFile, after: SignableFile, what: string): Buffer | undefined {
  const [[older, ...others], [newer, ...othersNow]] = [before.signatures, after.signatures];
  if (!older || !newer || !before.canNest || !after.canNest) return undefined;
  if (!sameSignatures(others, othersNow)) return undefined;
  const unmatched = [...parseSignature(older, what).nested];
  const added = parseSignature(newer, what).nested.filter((each) => {
    const at = unmatched.findIndex((other) => other.equals(each));
    if (at >= 0) unmatched.splice(at, 1);
    return at < 0;
  });
  const oneMore = unmatched.length === 0 && added.length === 1;
  return oneMore && everythingElse(older, what).equals(everythingElse(newer, what)) ? added[0] : undefined;
}

/**
 * The whole signature, if it took the place of the original's, one or several. An RSA signature by the same key over the
 * same attributes has the same value: only its timestamp is new then.
 */
function replacement(
  before: readonly Buffer[],
  after: SignableFile,
  { mayBeEqual, what }: { readonly mayBeEqual: boolean; readonly what: string },
): Buffer | undefined {
  const [one, another] = after.signatures;
  if (!one || another) return undefined;
  if (mayBeEqual) return one;
  const scheme = schemeOf(after);
  const newer = scheme.read(one, what);
  return before.every((each) => isNew(newer, scheme.read(each, what))) ? one : undefined;
}

/** Whether a signature, or its timestamp, is not that of an older one. */
function isNew(signature: ReadSignature, older: ReadSignature): boolean {
  const stamps = stampsOf(older);
  const stamped = stampsOf(signature).some((each) => !stamps.some((other) => other.equals(each)));
  return stamped || !older.value.equals(signature.value);
}

const stampsOf = ({ timestamps, legacyTimestamps }: ReadSignature): Buffer[] => [
  ...timestamps.map(({ raw }) => raw),
  ...legacyTimestamps,
];

/** All of a signature except those nested in it, its unsigned attributes in an order that sorting cannot change. */
function everythingElse(contentInfo: Buffer, what: string): Buffer {
  const { type, data, signer } = signedDataFields(contentInfo, what);
  const unsigned = parseSignature(contentInfo, what).signer.unsignedAttributes;
  const others = unsigned.filter(({ oid }) => oid !== OID.spcNestedSignature).map(({ raw }) => raw);
  const rest = signer.filter(({ tag }) => tag !== context(1));
  return Buffer.concat([...[type, ...data, ...rest].map(({ raw }) => raw), ...sorted(others)]);
}

/** What an appended-to signature carried before is not examined: it is equal, byte for byte. */
function requireNothingElse(signed: SignableFile, added: Buffer): void {
  const what = `${signed.source.name}: signature`;
  const signature = schemeOf(signed).read(added, what);
  signed.readContent(signature.content, signature.digestAlgorithm(what), what);
  const findings = [
    ...signed.unauthenticatedData,
    ...signature.findings({ index: 0, nested: false }, EVERYTHING),
  ];
  if (findings.length === 0) return;
  throw invalid(
    'strip-untidy',
    `${signed.source.name}: more than a signature was added: ${findings.map(({ message }) => message).join('; ')}`,
  );
}
