import { proveOnlySignatureAdded } from '../../src/engine/authenticode/only-signature-added.ts';
import { signProgram, type SignOptions } from '../../src/engine/authenticode/sign.ts';
import { schemeOf } from '../../src/engine/authenticode/scheme-of.ts';
import { signaturesOf, verifySignableFile } from '../../src/engine/authenticode/verify.ts';
import { openSignableFile } from '../../src/engine/formats/recognize.ts';
import type { FileDigest, SignableFile } from '../../src/engine/formats/signable-file.ts';
import type { ReadSignature } from '../../src/engine/formats/signature-scheme.ts';
import type { SigningKey } from '../../src/engine/keys/signing-key.ts';
import type { Timestamp, Timestamper } from '../../src/engine/timestamp/client.ts';
import { checkToken, parseToken } from '../../src/engine/timestamp/token/token.ts';
import type { ByteSource } from '../../src/lib/bytes/byte-source.ts';
import { firstDifference } from '../../src/lib/bytes/hash-and-compare.ts';
import { messageOf } from '../../src/lib/errors.ts';
import { signingRunOf } from './signing-run.ts';
import { partsDiffer } from './vsix-run.ts';

/** The columns of the table. */
export const CHECKS = ['digest', 'verify', 'bytes', 'attach', 'remove'] as const;
export type Check = (typeof CHECKS)[number];

/** Why a check failed, or null if it passed; a check that could not be made is left out. */
export type Outcomes = Partial<Record<Check, string | null>>;

/** A signed file, the unsigned one if there is one, and the key that signed it if it is at hand. */
export interface Vector {
  readonly signed: ByteSource;
  readonly twin: ByteSource | null;
  readonly keys: readonly SigningKey[];
}

/** A vector that is open. */
interface OpenVector {
  readonly signed: SignableFile;
  readonly twin: SignableFile | null;
  readonly der: Buffer;
  readonly signature: ReadSignature;
  readonly stated: FileDigest;
  readonly key: SigningKey | undefined;
}

/** Opens the signed file and makes every check; `unsigned` if it carries no signature. Throws if it cannot be opened. */
export async function checkFile(
  vector: Vector,
): Promise<{ format: string; outcomes: Outcomes | 'unsigned' }> {
  const signed = await openSignableFile(vector.signed);
  const { format } = signed;
  const [der] = signed.signatures;
  if (!der) return { format, outcomes: 'unsigned' };
  const what = signed.source.name;
  const signature = schemeOf(signed).read(der, what);
  const stated = signed.readContent(signature.content, signature.digestAlgorithm(what), what);
  const { certificate } = signature;
  const key = vector.keys.find(({ certificates: [leaf] }) => leaf && certificate?.equals(leaf));
  const twin = vector.twin && (await openSignableFile(vector.twin));
  const open = { signed, twin, der, signature, stated, key };
  const made = key
    ? await attempt(async () => sign(twin ?? (await withoutSignature(signed)), open, key))
    : null;
  return { format, outcomes: await outcomesOf(open, made) };
}

/** What is signed again if there is no unsigned twin. */
const withoutSignature = async (signed: SignableFile): Promise<SignableFile> =>
  openSignableFile(await signed.remove());

type Made = { readonly value: Awaited<ReturnType<typeof sign>> } | { readonly fault: string };

async function outcomesOf(open: OpenVector, made: Made | null): Promise<Outcomes> {
  const { twin, signed } = open;
  return {
    digest: await faultOf(() => digestFault(open, made)),
    verify: await faultOf(() => verifyFault(signed)),
    ...(made && {
      bytes:
        'fault' in made
          ? made.fault
          : await (signed.format === 'vsix' ? partsDiffer : differs)(made.value.content, signed.source),
    }),
    attach: await faultOf(() => attachFault(open)),
    remove: await faultOf(() => (twin ? removeFault(signed, twin) : againFault(open))),
  };
}

async function attempt<T>(make: () => Promise<T>): Promise<{ value: T } | { fault: string }> {
  try {
    return { value: await make() };
  } catch (error) {
    return { fault: messageOf(error) };
  }
}

async function faultOf(check: () => Promise<string | null>): Promise<string | null> {
  const result = await attempt(check);
  return 'fault' in result ? result.fault : result.value;
}

/** Where two files differ first; null if they are equal. */
async function differs(actual: ByteSource, expected: ByteSource): Promise<string | null> {
  const [start, end] = [0, Math.min(actual.size, expected.size)];
  const at = await firstDifference([{ source: actual, start, end }], [{ source: expected, start, end }]);
  const sizes = actual.size === expected.size ? '' : ` (${actual.size} bytes, expected ${expected.size})`;
  if (at === undefined) return sizes === '' ? null : `first difference at the end of the shorter one${sizes}`;
  const near = async (source: ByteSource): Promise<string> =>
    (await source.read(at, Math.min(12, source.size - at))).toString('hex');
  return `first difference at byte ${at}: ${await near(actual)}, expected ${await near(expected)}${sizes}`;
}

/** Answers with the timestamp that the signed file has, which holds for the same signature value. */
function timestamperOf({ signature }: OpenVector): Timestamper | null {
  const [token] = signature.timestamps;
  if (!token) return null;
  const timestamp = (): Promise<Timestamp> => {
    const parsed = parseToken(token, 'token');
    const { imprint, hash } = parsed.info;
    const expected = { imprint, hash: hash as 'sha256', weakDigests: true, uncriticalPurpose: true };
    return Promise.resolve({ token: token.raw, info: checkToken(parsed, expected), url: '' });
  };
  return { timestamp };
}

async function sign(
  twin: SignableFile,
  open: OpenVector,
  key: SigningKey,
): Promise<Awaited<ReturnType<typeof signProgram>>> {
  const options: SignOptions = {
    ...(await signingRunOf(open.signed)),
    key,
    roots: open.signature.certificates.filter((each) => each.isSelfIssued),
    hash: open.stated.hash as 'sha256',
    timestamper: timestamperOf(open),
    existing: 'replace',
  };
  return signProgram(twin, options);
}

/** The digest of both files, as the signature states it. A format that completes the file first is digested by signing it. */
async function digestFault({ signed, twin, stated }: OpenVector, made: Made | null): Promise<string | null> {
  const actual = await signed.digest(stated.hash);
  const expected = stated.digest.toString('hex');
  if (!actual.equals(stated.digest))
    return `the signed file has ${actual.toString('hex')}, expected ${expected}`;
  if (!twin || (twin.prepare && (!made || 'fault' in made))) return null;
  const before = twin.prepare && made && 'value' in made ? made.value.digest : await twin.digest(stated.hash);
  return before.equals(stated.digest)
    ? null
    : `the unsigned file has ${before.toString('hex')}, expected ${expected}`;
}

/** A time at which no signer's certificate had expired: files without a timestamp are valid no longer than that. */
const timeFor = (signed: SignableFile): Date =>
  signaturesOf(signed)
    .flatMap(({ der }) => schemeOf(signed).read(der, signed.source.name).certificate ?? [])
    .map(({ notAfter }) => notAfter)
    .reduce((earliest, each) => (each < earliest ? each : earliest), new Date());

async function verifyFault(signed: SignableFile): Promise<string | null> {
  const { status, problems } = await verifySignableFile(signed, { at: timeFor(signed) });
  return status === 'intact' ? null : problems.map(({ code, message }) => `${code}: ${message}`).join('; ');
}

const attachTo = async (file: SignableFile, { signed, der }: OpenVector): Promise<ByteSource> => {
  const detached = (await signed.detached?.(der)) ?? der;
  return (await file.attach?.(detached)) ?? file.embed(detached);
};

/** Extracts the signature and attaches it to the unsigned file, or to what is left after removal. */
async function attachFault(open: OpenVector): Promise<string | null> {
  const { signed, twin } = open;
  const unsigned = twin ?? (await withoutSignature(signed));
  const fault = await differs(await attachTo(unsigned, open), signed.source);
  // Several signatures were added one after another: the proof is about one.
  if (fault === null && signaturesOf(signed).length === 1) await proveOnlySignatureAdded(unsigned, signed);
  return fault;
}

/** Removes the signature; the unsigned file must come out, or one of the forms that it may have had. */
async function removeFault(signed: SignableFile, twin: SignableFile): Promise<string | null> {
  const { source } = twin;
  const fault = await differs(await signed.remove(), source);
  if (fault === null) return null;
  for (const form of (await signed.unsignedForms?.(source.size)) ?? [])
    if ((await differs(form, source)) === null) return null;
  return fault;
}

/** Without a twin: what is left after removal carries no signature. */
async function againFault({ signed }: OpenVector): Promise<string | null> {
  const { signatures } = await withoutSignature(signed);
  return signatures.length === 0 ? null : `${signatures.length} signatures are left`;
}
