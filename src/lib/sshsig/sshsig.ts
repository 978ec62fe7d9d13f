import { createHash } from 'node:crypto';
import { invalid } from '../errors.ts';
import type { SshPublicKey } from './public-key.ts';
import { decodeBase64, parsePublicKey } from './ssh-key.ts';
import { verifyRawSignature, type SshProof } from './ssh-signature.ts';
import { SshReader, sshString, uint32 } from './ssh-wire.ts';

/** The digests of the message that PROTOCOL.sshsig allows. */
type SshSigHash = 'sha256' | 'sha512';

export interface SshSig {
  readonly publicKey: SshPublicKey;
  /** The purpose of the signature: `git` for commits, `file` for `ssh-keygen -Y sign -n file`. */
  readonly namespace: string;
  readonly hash: SshSigHash;
  /** `string algorithm, string signature` and the fields of security keys. */
  readonly signature: Buffer;
}

const MAGIC = Buffer.from('SSHSIG', 'latin1');
const VERSION = 1;
const BEGIN = '-----BEGIN SSH SIGNATURE-----';
const END = '-----END SSH SIGNATURE-----';
/** Splits base64 into lines as long as ssh-keygen's. */
const LINES = /.{1,70}/g;
const MAX_ARMOR = 64 * 1024;
const CODE = 'ssh-signature-malformed';

/** The text form of a signature blob, with a final newline, as `ssh-keygen -Y sign` writes it. */
export function armor(blob: Buffer): string {
  const lines = blob.toString('base64').match(LINES) ?? [];
  return [BEGIN, ...lines, END, ''].join('\n');
}

/**
 * The blob inside an armored signature.
 *
 * Stricter than ssh-keygen: nothing may precede the header, only one line end may follow the footer, lines end in LF
 * (git strips CR when it signs), and the base64 is canonical. So a signed commit cannot hide bytes that the
 * signature does not cover.
 */
export function dearmor(text: string, what: string): Buffer {
  if (text.length > MAX_ARMOR) throw invalid(CODE, `${what} has ${text.length} characters of armor`);
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  if (lines.shift() !== BEGIN) throw invalid(CODE, `${what} does not begin with ${BEGIN}`);
  if (lines.pop() !== END) throw invalid(CODE, `${what} does not end with ${END}`);
  const blob = lines.includes('') ? undefined : decodeBase64(lines.join(''));
  if (!blob) throw invalid(CODE, `${what} is not valid base64 between its header and footer`);
  return blob;
}

const isHash = (name: string): name is SshSigHash => name === 'sha256' || name === 'sha512';

/**
 * Reads a signature blob (OpenSSH PROTOCOL.sshsig section 2):
 *
 *     byte[6] "SSHSIG"; uint32 version = 1; string publickey; string namespace; string reserved;
 *     string hash_algorithm; string signature
 *
 * Stricter than the specification in one respect: `reserved` must be empty. OpenSSH verifies as if it were, so the
 * signature would not cover its content.
 */
export function parseSshSig(blob: Buffer, what: string): SshSig {
  const reader = new SshReader(blob, what, CODE);
  if (!reader.take(MAGIC.length).equals(MAGIC)) throw reader.error('is not an SSH signature');
  const version = reader.uint32();
  if (version !== VERSION) throw reader.error(`is of version ${version}, and only ${VERSION} is supported`);
  const publicKey = parsePublicKey(reader.string(), `the key in ${what}`);
  const namespace = reader.text();
  if (namespace === '') throw reader.error('has no namespace');
  if (reader.string().length > 0) throw reader.error('has a reserved field that is not empty');
  const hash = reader.text();
  if (!isHash(hash)) throw reader.error('uses a digest that is neither sha256 nor sha512');
  const signature = reader.string();
  reader.end();
  return { publicKey, namespace, hash, signature };
}

interface SshSigParts {
  /** A public key or certificate in wire form. */
  publicKey: Buffer;
  namespace: string;
  hash: SshSigHash;
  signature: Buffer;
}

/** The inverse of parseSshSig. */
export function buildSshSig({ publicKey, namespace, hash, signature }: SshSigParts): Buffer {
  const strings = [publicKey, namespace, '', hash, signature].map(sshString);
  return Buffer.concat([MAGIC, uint32(VERSION), ...strings]);
}

/** The bytes that the key signs (PROTOCOL.sshsig section 3): the namespace and the message's digest. */
export function signedData(namespace: string, hash: SshSigHash, message: Buffer): Buffer {
  const digest = createHash(hash).update(message).digest();
  return Buffer.concat([MAGIC, ...[namespace, '', hash, digest].map(sshString)]);
}

/**
 * Verifies that the key in the signature signed `message`; null if it did not. Neither the key's owner nor the
 * namespace is checked: that is the job of `AllowedSigners`.
 */
export function verifySshSig(signature: SshSig, message: Buffer, what: string): SshProof | null {
  const data = signedData(signature.namespace, signature.hash, message);
  return verifyRawSignature(signature.publicKey, signature.signature, data, what);
}
