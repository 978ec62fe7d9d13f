import { createHash } from 'node:crypto';
import { OID, type DigestName } from '../../lib/asn1/oids.ts';
import { parseSignerInfo, signedAttributesToSign, verifySigner } from '../../lib/cms/signed-data.ts';
import { notAllowed, SignpipeError, usage } from '../../lib/errors.ts';
import { unpooled } from '../../lib/bytes/read-write-fully.ts';
import type { PatchedSource } from '../../lib/bytes/patched-source.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { SigningKey } from '../keys/signing-key.ts';
import type { Timestamper } from '../timestamp/client.ts';
import type { TimestampInfo } from '../timestamp/token.ts';
import { parseDer } from '../../lib/asn1/der.ts';
import { openImage } from '../formats/open-file.ts';
import { requireTidyToken } from './unauthenticated-data.ts';
import type { SignableImage } from '../formats/signable-file.ts';
import {
  addNested,
  buildSignature,
  buildSigner,
  signedAttributes,
  type Description,
  type SignatureParts,
} from './signature.ts';

/** A signature that no file carries yet. */
export interface MadeSignature {
  /** PKCS#7 ContentInfo, DER. */
  readonly der: Buffer;
  readonly timestamp: SignedProgram['timestamp'];
}

export interface SignOptions {
  readonly key: SigningKey;
  /** Of the file, of the signed attributes and of the timestamp's imprint; sha256 unless given. */
  readonly hash?: DigestName;
  /** What Windows shows as the program's name before it asks for elevation. */
  readonly name?: string;
  /** Where Windows points for more about the program: an absolute http or https URL. */
  readonly url?: string;
  /** A claim that nobody checks; none unless given, since the timestamp says it better. */
  readonly signingTime?: Date;
  /** null signs without a timestamp: the signature then dies with the certificate. */
  readonly timestamper: Timestamper | null;
  /**
   * What to do with a signature that is there: `refuse` (default) throws `already-signed`, `replace`
   * drops it and all that is nested in it, `append` nests the new one in it.
   */
  readonly existing?: 'replace' | 'append' | 'refuse';
  /**
   * What was made before with these very options, by Authenticode digest in hex: the same program gets
   * the same signature. A new one is added.
   */
  readonly made?: Map<string, MadeSignature> | undefined;
}

export interface SignedProgram {
  /** The signed file, read from the unsigned one and the new bytes. */
  readonly content: PatchedSource;
  /** What the file now carries (PKCS#7 ContentInfo, DER): attached to the same unsigned file it gives the same bytes. */
  readonly signature: Buffer;
  /** The Authenticode digest. */
  readonly digest: Buffer;
  readonly hash: DigestName;
  readonly timestamp: (TimestampInfo & { readonly url: string }) | null;
}

/**
 * Signs one file: digest, signature, the signature checked with the public key, only then the
 * timestamp over it, then the signed file. Throws what `openImage`, `requireSignable` and the timestamper throw, and
 * `already-signed`, `append-would-lose`, `signature-name`, `signature-url`, `key-signature-wrong`.
 */
export async function signProgram(source: ByteSource, options: SignOptions): Promise<SignedProgram> {
  const description = requireDescription(options);
  const image = await openImage(source);
  requirePermitted(image, options.existing ?? 'refuse');
  image.requireSignable();
  const hash = options.hash ?? 'sha256';
  const digest = await image.digest(hash);
  const key = digest.toString('hex');
  const made =
    options.made?.get(key) ?? (await stampedSignature(image, { hash, digest, description }, options));
  options.made?.set(key, made);
  const signature = unpooled(withExisting(image, made.der, options));
  return { content: await image.embed(signature), signature, digest, hash, timestamp: made.timestamp };
}

/** What a signature is about. */
interface Subject {
  readonly hash: DigestName;
  readonly digest: Buffer;
  readonly description: Description;
}

async function stampedSignature(
  image: SignableImage,
  subject: Subject,
  options: SignOptions,
): Promise<MadeSignature> {
  const parts = await makeSignature(image, subject, options);
  requireSound(parts, image.source.name);
  const stamped =
    (await options.timestamper?.timestamp(parts.signature, subject.hash, requireTidyToken)) ?? null;
  return {
    der: buildSignature(stamped ? { ...parts, timestamp: stamped.token } : parts),
    timestamp: stamped && { ...stamped.info, url: stamped.url },
  };
}

function requirePermitted(image: SignableImage, existing: 'replace' | 'append' | 'refuse'): void {
  const { name } = image.source;
  if (image.signature && existing === 'refuse')
    throw notAllowed('already-signed', `${name}: it is signed already`, {
      hint: 'choose to keep, to replace, or to append to the signature that is there',
    });
  // A nested signature goes into the first; anything else in the table would be lost.
  const several =
    image.signatures.length > 1 || image.tableSlack.some(({ code }) => code === 'table-several-entries');
  if (existing === 'append' && several)
    throw notAllowed(
      'append-would-lose',
      `${name}: its certificate table has several entries, and appending to one would lose the others`,
      { hint: 'leave it as it is, or replace all of its signatures' },
    );
}

async function makeSignature(
  image: SignableImage,
  { hash, digest, description }: Subject,
  { key, signingTime }: SignOptions,
): Promise<SignatureParts> {
  const [leaf, ...chain] = key.certificates;
  if (!leaf) throw usage('key-signature-wrong', 'the signing key comes without a certificate');
  // Without tag and length: PKCS #7 version 1.5, section 9.3, for content that is no OCTET STRING too.
  const indirectData = image.indirectData(hash, digest);
  const { body } = parseDer(indirectData, 'indirect data');
  const attributes = signedAttributes(createHash(hash).update(body).digest(), description, signingTime);
  const signature = await key.sign(hash, signedAttributesToSign(attributes));
  return {
    indirectData,
    hash,
    key: key.algorithm,
    certificates: [leaf, ...chain],
    signedAttributes: attributes,
    signature,
  };
}

/** Reads back what was made and checks it with the certificate: a token or a service may answer with anything. */
function requireSound(parts: SignatureParts, file: string): void {
  const what = `${file}: new signature`;
  try {
    const signer = parseSignerInfo(buildSigner(parts), what);
    const content = parseDer(parts.indirectData, what).body;
    verifySigner(signer, parts.certificates[0], OID.spcIndirectData, content, what);
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    throw usage('key-signature-wrong', `${what} does not verify with its own certificate: ${error.message}`, {
      cause: error,
      hint: 'the key and the first certificate have to belong together',
    });
  }
}

function withExisting(image: SignableImage, made: Buffer, { existing }: SignOptions): Buffer {
  if (existing !== 'append' || !image.signature) return made;
  return addNested(image.signature, made, `${image.source.name}: signature`);
}

/** The longest name and URL, in characters: more than any dialog shows. */
const LONGEST_TEXT = 1024;

function requireDescription({ name, url }: SignOptions): Description {
  if (name !== undefined && (name === '' || name.length > LONGEST_TEXT || /[\p{Cc}\p{Cs}]/u.test(name)))
    throw usage('signature-name', 'the program name is empty, too long, or has control characters');
  if (url !== undefined && !isWebAddress(url))
    throw usage('signature-url', `not an absolute http or https URL in ASCII: ${JSON.stringify(url)}`, {
      hint: 'write other characters as %XX, and the host name in its xn-- form',
    });
  return { name: name ?? null, url: url ?? null };
}

const isWebAddress = (url: string): boolean =>
  url.length <= LONGEST_TEXT && /^https?:\/\/[\x21-\x7e]+$/.test(url) && URL.canParse(url);
