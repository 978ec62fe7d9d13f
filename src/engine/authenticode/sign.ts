import type { DigestName } from '../../lib/asn1/oids.ts';
import { messageOf, notAllowed, SignpipeError, usage } from '../../lib/errors.ts';
import { unpooled } from '../../lib/bytes/read-write-fully.ts';
import type { PatchedSource } from '../../lib/bytes/patched-source.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { SigningKey } from '../keys/signing-key.ts';
import type { Timestamper } from '../timestamp/client.ts';
import type { TimestampInfo } from '../timestamp/token/token.ts';
import type {
  Description,
  SignatureDraft,
  SignatureScheme,
  SignedContent,
  SignedDraft,
} from '../formats/signature-scheme.ts';
import type { CatalogRun, ContentOptions, SignableFile } from '../formats/signable-file.ts';
import { authenticode } from './cms-scheme.ts';
import { schemeOf } from './scheme-of.ts';
import { addNested } from './signature.ts';
import { requireNoExtraContent } from './unauthenticated-data.ts';

/** A new signature that no file carries yet. */
export interface NewSignature {
  /** The signature as its scheme has it: for all that use CMS, a ContentInfo in DER. */
  readonly der: Buffer;
  /** The certificate that it verifies with. */
  readonly certificate: Certificate;
  readonly timestamp: SigningResult['timestamp'];
}

export interface SignOptions extends ContentOptions {
  readonly key: SigningKey;
  /** The digest algorithm of the file, the signed attributes and the timestamp's imprint; sha256 unless given. */
  readonly hash?: DigestName;
  /** What Windows shows as the program's name before it asks for elevation. */
  readonly name?: string | undefined;
  /** The link that Windows shows for more about the program: an absolute http or https URL. */
  readonly url?: string | undefined;
  /** Unverified; none unless given, since a timestamp is better evidence. A scheme that prescribes one takes the present. */
  readonly signingTime?: Date | undefined;
  /** The time in fields of the file that hold the time of signing and that no digest covers; see `EmbedOptions`. */
  readonly containerTime?: Date | undefined;
  /** Roots, among which a scheme that includes the root of the signer's chain looks for it; others ignore them. */
  readonly roots?: readonly Certificate[] | undefined;
  /** Repeats the catalog of an earlier run, in packages that have one; see `Preparation`. */
  readonly catalog?: CatalogRun | undefined;
  /** null signs without a timestamp: the signature then becomes invalid when the certificate expires. */
  readonly timestamper: Timestamper | null;
  /**
   * What to do with an existing signature: `refuse` (default) throws `already-signed`, `replace` removes it with all
   * that are nested in it, `append` nests the new one in it, or puts it beside it if the format asks for that.
   */
  readonly existing?: 'replace' | 'append' | 'refuse';
  /**
   * Signatures made before with the same options, by what they sign: equal programs get the same signature. A new
   * one is added.
   */
  readonly earlier?: Map<string, NewSignature> | undefined;
}

export interface SigningResult {
  /** The signed file, read from the unsigned one and the new bytes. */
  readonly content: PatchedSource;
  /**
   * The file's whole signature, a PKCS #7 ContentInfo in DER unless the format's `detached` says otherwise: attached to the
   * same unsigned file, it yields the same bytes.
   */
  readonly signature: Buffer;
  /** The Authenticode digest. */
  readonly digest: Buffer;
  readonly hash: DigestName;
  /** The certificate that the new signature verifies with: a service may replace its certificates every few days. */
  readonly certificate: Certificate;
  readonly timestamp: (TimestampInfo & { readonly url: string }) | null;
}

/**
 * Signs one file: digest, signature, the signature checked with the public key, only then the timestamp over it,
 * then the signed file. Throws what `requireSignable`, `requireSigner` and the timestamper throw, and `already-signed`,
 * `append-would-lose`, `signature-name`, `signature-url`, `key-signature-wrong`.
 */
export async function signProgram(file: SignableFile, options: SignOptions): Promise<SigningResult> {
  const description = requireDescription(options);
  requirePermitted(file, options.existing ?? 'refuse');
  file.requireSignable();
  const hash = options.hash ?? 'sha256';
  const prepared = await prepare(file, hash, options);
  const digest = await prepared.digest(hash);
  const signedContent = await prepared.contentToSign(hash, digest, options);
  const key = signedContent.der.toString('hex');
  const added =
    options.earlier?.get(key) ??
    (await timestampedSignature(prepared, { hash, content: signedContent, description }, options));
  options.earlier?.set(key, added);
  const signature = unpooled(withExisting(prepared, added.der, options));
  const { certificate, timestamp } = added;
  const embedding = { time: options.containerTime };
  const content = await prepared.embed(signature, embedding);
  const detached = (await prepared.detached?.(signature, embedding)) ?? signature;
  return { content, signature: detached, digest, hash, certificate, timestamp };
}

/** The file as it will be signed; see `SignableFile.prepare`. */
async function prepare(file: SignableFile, hash: DigestName, options: SignOptions): Promise<SignableFile> {
  if (!file.prepare) return file;
  const { key, signingTime = new Date() } = options;
  const [certificate] = requireSigner(file, key.certificates);
  const description = { name: null, url: null };
  const sign = async (content: SignedContent): Promise<Buffer> => {
    const { draft, made } = await makeSignature(file, authenticode, { hash, content, description }, { key });
    return draft.finish(made);
  };
  const { catalog, containerTime: time = signingTime } = options;
  const appends = options.existing === 'append';
  return file.prepare({ hash, certificate, time, catalog, appends, sign });
}

/** What a signature is about. */
interface Subject {
  readonly hash: DigestName;
  readonly content: SignedContent;
  readonly description: Description;
}

async function timestampedSignature(
  file: SignableFile,
  subject: Subject,
  options: SignOptions,
): Promise<NewSignature> {
  const { draft, made } = await makeSignature(file, schemeOf(file), subject, options);
  const stamped =
    (await options.timestamper?.timestamp(made.value, subject.hash, requireNoExtraContent)) ?? null;
  return {
    der: draft.finish({ ...made, timestamp: stamped?.token }),
    certificate: made.certificates[0],
    timestamp: stamped && { ...stamped.info, url: stamped.url },
  };
}

function requirePermitted(
  { source, signatures, canNest, unauthenticatedData }: SignableFile,
  existing: 'replace' | 'append' | 'refuse',
): void {
  if (signatures.length > 0 && existing === 'refuse')
    throw notAllowed('already-signed', `${source.name}: it is signed already`, {
      hint: 'choose to keep, to replace, or to append to the signature that is there',
    });
  if (existing === 'append') requireAppendable({ source, signatures, canNest, unauthenticatedData });
}

/** Throws `append-would-lose` if the file is signed, and another signature cannot be added without losing what is there. */
export function requireAppendable({
  source,
  signatures,
  canNest,
  unauthenticatedData,
}: Pick<SignableFile, 'source' | 'signatures' | 'canNest' | 'unauthenticatedData'>): void {
  if (canNest || signatures.length === 0) return;
  throw appendWouldLose(
    source.name,
    unauthenticatedData.length > 0
      ? 'something lies beside its signature, and appending another one would lose it'
      : 'a second signature cannot be added to a file of this kind',
  );
}

export const appendWouldLose = (name: string, why: string): SignpipeError =>
  notAllowed('append-would-lose', `${name}: ${why}`, {
    hint: 'leave it as it is, or replace all of its signatures: set signing.alreadySigned to keep or replace, or exclude it from signing.files with "!"',
  });

/** Throws if the format refuses signatures with these certificates, or there are none. */
function requireSigner(
  file: SignableFile,
  [leaf, ...chain]: readonly Certificate[],
): [Certificate, ...Certificate[]] {
  if (!leaf) throw usage('key-signature-wrong', 'the signing key comes without a certificate');
  file.requireSigner?.(leaf, file.source.name);
  return [leaf, ...chain];
}

/** A signature that needs no more than perhaps a timestamp. */
interface Made {
  readonly draft: SignatureDraft;
  readonly made: SignedDraft;
}

/** Has the key sign, and checks what it made: a token or a service may answer with anything. */
async function makeSignature(
  file: SignableFile,
  scheme: SignatureScheme,
  subject: Subject,
  { key, signingTime, roots = [] }: Pick<SignOptions, 'key' | 'signingTime' | 'roots'>,
): Promise<Made> {
  const make = async (expected: readonly Certificate[]): Promise<Made> => {
    const draft = scheme.draft({ ...subject, signingTime, certificates: requireSigner(file, expected) });
    const { value, certificates } = await key.sign(subject.hash, draft.toSign);
    return {
      draft,
      made: { value, key: key.algorithm, certificates: requireSigner(file, certificates), roots },
    };
  };
  const [expected] = requireSigner(file, key.certificates);
  const first = await make(key.certificates);
  const { certificates } = first.made;
  const again = scheme.namesCertificate && !certificates[0].equals(expected);
  const result = again ? await make(certificates) : first;
  requireSound(scheme, result, subject.hash, file.source.name);
  return result;
}

/** Reads the new signature and checks it with the certificate. */
function requireSound(scheme: SignatureScheme, { draft, made }: Made, hash: DigestName, file: string): void {
  const what = `${file}: new signature`;
  try {
    const signature = scheme.read(draft.finish(made), what);
    signature.requireForm(hash, what);
    signature.requireContent(what);
    signature.requireValue(made.certificates[0].publicKey, what);
  } catch (error) {
    // Not usage, for which a request would be tried at each poll: a key in a file was compared with its certificate before.
    throw new SignpipeError(
      'local',
      'key-signature-wrong',
      `${what} does not verify with its own certificate: ${messageOf(error)}`,
      { cause: error, hint: 'the key and the first certificate have to belong together' },
    );
  }
}

function withExisting(
  { signatures, source, appendsBeside = false }: SignableFile,
  added: Buffer,
  { existing }: SignOptions,
): Buffer {
  const [first] = signatures;
  if (existing !== 'append' || !first) return added;
  if (appendsBeside) return Buffer.concat([...signatures, added]);
  return addNested(first, added, `${source.name}: signature`);
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
