import { context, sorted } from '../../lib/asn1/der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import { signedDataFields } from '../../lib/cms/signed-data.ts';
import { invalid, type SignpipeError } from '../../lib/errors.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { firstDifference } from '../../lib/bytes/hash-and-compare.ts';
import { opened, type Openable } from '../formats/open-file.ts';
import type { SignableImage } from '../formats/signable-file.ts';
import { parseSignature } from './signature.ts';
import { signatureTidiness } from './unauthenticated-data.ts';

export interface StripProofOptions {
  /**
   * The original's signature may have been replaced by an equal one: RSA signs without randomness, so that signing
   * again with the same key and without a timestamp changes nothing. For the signer's own work only, which it
   * has just made: false by default.
   */
  readonly mayBeEqual?: boolean;
}

/**
 * Proves that `signed` is `original` plus one signature and nothing else: every byte that the
 * digest covers is equal, at most seven zero bytes of padding stand between the file and its
 * signature, the checksum is right, and the signature carries nothing that no verifier looks at.
 * This needs no trust in the signature: whether it holds is the verifier's matter. Returns the signature that
 * was added (PKCS#7 ContentInfo, DER).
 *
 * If `original` was signed itself, its signature must either be gone (replaced), or be there in
 * full with exactly one more nested in it (appended); in a UEFI program, the one that was added may also
 * stand behind it. What is added has nothing nested in it.
 *
 * | code                    | what it says                                                       |
 * | ----------------------- | ------------------------------------------------------------------ |
 * | `strip-not-signed`      | there is no signature                                              |
 * | `strip-no-new-signature`| only the original's own is there                                   |
 * | `strip-several-signatures` | more than one signature was added                               |
 * | `strip-body-differs`    | a byte of the program differs; the message says where              |
 * | `strip-length-differs`  | bytes were added to the program or cut off                         |
 * | `strip-padding`         | the padding before the signature is not zero                       |
 * | `strip-checksum`        | CheckSum is neither the original's nor right                       |
 * | `strip-signature-differs`| an appended-to signature was changed otherwise                    |
 * | `strip-untidy`          | something rides along beside the signature; see `tidiness`         |
 *
 * Throws also what `openImage` throws for either file. Reads both as streams.
 */
export async function proveStripped(
  original: Openable,
  signed: Openable,
  options: StripProofOptions = {},
): Promise<Buffer> {
  const [before, after] = [await opened(original), await opened(signed)];
  const { signature, source } = after;
  if (!signature) throw invalid('strip-not-signed', `${source.name}: it carries no signature`);
  requireLength(before, after);
  await requireSameBody(before, after);
  await requireZeroPadding(before, after);
  await requireChecksum(before, after);
  const added = addedSignature(before, after, options);
  requireTidy(after, added);
  return added;
}

const align = (length: number): number => Math.ceil(length / 8) * 8;

function requireLength(before: SignableImage, after: SignableImage): void {
  const expected = align(before.bodyEnd);
  if (after.bodyEnd === expected) return;
  throw invalid(
    'strip-length-differs',
    `${after.source.name}: the signed program has ${after.bodyEnd} bytes before its signature, ${before.source.name} with padding ${expected}`,
  );
}

async function requireSameBody(before: SignableImage, after: SignableImage): Promise<void> {
  const at = await firstDifference(before.source, after.source, coveredSpans(before));
  if (at === undefined) return;
  const [[was], [is]] = await Promise.all([before.source.read(at, 1), after.source.read(at, 1)]);
  throw bodyDiffers(before, after, at, was, is);
}

/** All of the body but the fields that signing rewrites. They lie alike in both: the headers are compared too. */
function coveredSpans({ bodyEnd, rewritten }: SignableImage): ByteRange[] {
  const starts = [0, ...rewritten.map(({ end }) => end)];
  const ends = [...rewritten.map(({ start }) => start), bodyEnd];
  return starts.map((start, index) => ({ start, end: ends[index] ?? bodyEnd }));
}

function bodyDiffers(
  before: SignableImage,
  after: SignableImage,
  offset: number,
  was = 0,
  is = 0,
): SignpipeError {
  return invalid(
    'strip-body-differs',
    `${after.source.name}: it is not ${before.source.name} plus a signature: in the ${before.locate(offset)} ` +
      `(byte ${offset} of the file) 0x${hex(was)} became 0x${hex(is)}`,
  );
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');

async function requireZeroPadding(before: SignableImage, after: SignableImage): Promise<void> {
  const padding = await after.source.read(before.bodyEnd, after.bodyEnd - before.bodyEnd);
  if (padding.every((byte) => byte === 0)) return;
  throw invalid(
    'strip-padding',
    `${after.source.name}: the ${padding.length} bytes of padding before its signature are not zero`,
  );
}

/** CheckSum is covered by no digest: unless it is what it was, or what it must be, four bytes could hide there. */
async function requireChecksum(before: SignableImage, after: SignableImage): Promise<void> {
  const checksum = await after.checksum();
  if (!checksum || checksum.stored === checksum.computed) return;
  if ((await before.checksum())?.stored === checksum.stored) return;
  throw invalid('strip-checksum', `${after.source.name}: its CheckSum field does not hold its checksum`, {
    hint: 'whatever signed it should have recomputed the checksum afterwards',
  });
}

/** The one signature that was added. It has nothing nested in it. */
function addedSignature(
  before: SignableImage,
  after: SignableImage,
  { mayBeEqual = false }: StripProofOptions,
): Buffer {
  const what = `${after.source.name}: signature`;
  if (!before.signature) return onlySignature(after, what);
  if (!mayBeEqual && sameSignatures(before.signatures, after.signatures))
    throw invalid('strip-no-new-signature', `${what}: it is the one that the original carried`);
  const added =
    besides(before, after) ??
    nestedAddition(before, after, what) ??
    replacement(before.signature, after, { mayBeEqual, what });
  if (added && parseSignature(added, what).nested.length === 0) return added;
  throw invalid(
    'strip-signature-differs',
    `${what}: it is neither a new one nor the original's with one more nested in it`,
  );
}

const sameSignatures = (some: readonly Buffer[], others: readonly Buffer[]): boolean =>
  some.length === others.length && some.every((each, at) => others[at]?.equals(each));

function onlySignature({ signatures }: SignableImage, what: string): Buffer {
  const [one, another] = signatures;
  const nested = one ? parseSignature(one, what).nested.length : 0;
  if (one && !another && nested === 0) return one;
  throw invalid(
    'strip-several-signatures',
    `${what}: ${signatures.length + nested} signatures were added, not one`,
  );
}

/** In a UEFI program: the last of those side by side, if the others are the original's. */
function besides({ signatures: was }: SignableImage, { signatures: is }: SignableImage): Buffer | undefined {
  return sameSignatures(was, is.slice(0, -1)) ? is.at(-1) : undefined;
}

/** The one signature that is nested now and was not before, if the original's is there in full otherwise. */
function nestedAddition(before: SignableImage, after: SignableImage, what: string): Buffer | undefined {
  const [was, is] = [before.signature, after.signature].map((each) => each && parseSignature(each, what));
  if (!was || !is || !before.signature || !after.signature || isSeveral(before) || isSeveral(after))
    return undefined;
  const left = [...was.nested];
  const added = is.nested.filter((each) => {
    const at = left.findIndex((other) => other.equals(each));
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
  const kept = left.length === 0 && added.length === 1;
  const [rest, now] = [everythingElse(before.signature, what), everythingElse(after.signature, what)];
  return kept && rest.equals(now) ? added[0] : undefined;
}

const isSeveral = ({ signatures, tableSlack }: SignableImage): boolean =>
  signatures.length > 1 || tableSlack.some(({ code }) => code === 'table-several-entries');

/**
 * The whole signature, if it took the place of the original's. An RSA signature by the same key over the same
 * attributes has the same value: what is new then is its timestamp.
 */
function replacement(
  before: Buffer,
  { signatures }: SignableImage,
  { mayBeEqual, what }: { readonly mayBeEqual: boolean; readonly what: string },
): Buffer | undefined {
  const [one, another] = signatures;
  if (!one || another) return undefined;
  if (mayBeEqual) return one;
  const [was, is] = [parseSignature(before, what), parseSignature(one, what)];
  const stamps = [...was.timestamps, ...was.counterSignatures];
  const stamped = [...is.timestamps, ...is.counterSignatures].some(
    (each) => !stamps.some((other) => other.equals(each)),
  );
  return stamped || !was.signer.signature.equals(is.signer.signature) ? one : undefined;
}

/** All of a signature but those nested in it, its unsigned attributes in an order that sorting cannot change. */
function everythingElse(contentInfo: Buffer, what: string): Buffer {
  const { type, data, signer } = signedDataFields(contentInfo, what);
  const unsigned = parseSignature(contentInfo, what).signer.unsignedAttributes;
  const others = unsigned.filter(({ oid }) => oid !== OID.spcNestedSignature).map(({ raw }) => raw);
  const rest = signer.filter(({ tag }) => tag !== context(1));
  return Buffer.concat([...[type, ...data, ...rest].map(({ raw }) => raw), ...sorted(others)]);
}

/** What an appended-to signature carried before is not looked at: it is equal, byte for byte. */
function requireTidy(after: SignableImage, added: Buffer): void {
  const found = [...after.tableSlack, ...signatureTidiness(added, `${after.source.name}: signature`)];
  if (found.length === 0) return;
  throw invalid(
    'strip-untidy',
    `${after.source.name}: more than a signature was added: ${found.map(({ message }) => message).join('; ')}`,
  );
}
