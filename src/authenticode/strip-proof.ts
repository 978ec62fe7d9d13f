import { context, sorted } from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import { signedDataFields } from '../cms/signed-data.ts';
import { invalid, type SignpipeError } from '../errors.ts';
import { firstDifference } from '../io/bulk.ts';
import { opened, type Openable } from './image.ts';
import type { SignableImage, Span } from './signable.ts';
import { parseSignature } from './signature.ts';
import { signatureTidiness } from './tidiness.ts';

/**
 * Proves that `signed` is `original` plus one signature and nothing else: every byte that the
 * digest covers is equal, at most seven zero bytes of padding stand between the file and its
 * signature, the checksum is right, and the signature carries nothing that no verifier looks at.
 * This needs no trust in the signature: whether it holds is the verifier's matter.
 *
 * Where `original` was signed itself, its signature must either be gone (replaced) or be whole
 * inside the new one's place, with exactly one signature more nested in it (appended).
 *
 * | code                    | what it says                                                       |
 * | ----------------------- | ------------------------------------------------------------------ |
 * | `strip-not-signed`      | there is no signature                                              |
 * | `strip-no-new-signature`| only the original's own is there                                   |
 * | `strip-body-differs`    | a byte of the program differs; the message says where              |
 * | `strip-length-differs`  | bytes were added to the program or cut off                         |
 * | `strip-padding`         | the padding before the signature is not zero                       |
 * | `strip-checksum`        | CheckSum is neither the original's nor right                       |
 * | `strip-signature-differs`| an appended-to signature was changed otherwise                    |
 * | `strip-untidy`          | something rides along beside the signature; see `tidiness`         |
 *
 * Throws also what `openImage` throws for either file. Reads both as streams.
 */
export async function proveStripped(original: Openable, signed: Openable): Promise<void> {
  const [before, after] = [await opened(original), await opened(signed)];
  const { signature, source } = after;
  if (!signature) throw invalid('strip-not-signed', `${source.name}: it carries no signature`);
  requireLength(before, after);
  await requireSameBody(before, after);
  await requireZeroPadding(before, after);
  await requireChecksum(before, after);
  requireTidy(after, addedSignature(before, signature, source.name));
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
function coveredSpans({ bodyEnd, rewritten }: SignableImage): Span[] {
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

/**
 * The signature that was added: the whole of `after` where it replaced one or there was none before;
 * where the original's is there in full, the one that is nested in it now and was not before.
 */
function addedSignature(original: SignableImage, after: Buffer, file: string): Buffer {
  const before = original.signature;
  if (!before) return after;
  const what = `${file}: signature`;
  if (before.equals(after))
    throw invalid('strip-no-new-signature', `${what}: it is the one that the original carried`);
  const [was, is] = [parseSignature(before, what), parseSignature(after, what)];
  if (!was.signer.signature.equals(is.signer.signature)) return after;
  const added = is.nested.filter((nested) => !was.nested.some((other) => other.equals(nested)));
  const [one] = added;
  const others = original.tableSlack.some(({ code }) => code === 'table-several-entries');
  const kept = is.nested.length === was.nested.length + 1 && added.length === 1 && !others;
  if (one && kept && everythingElse(before, what).equals(everythingElse(after, what))) {
    if (parseSignature(one, what).nested.length === 0) return one;
  }
  throw invalid(
    'strip-signature-differs',
    `${what}: it is not the original's signature with one more nested in it`,
  );
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
