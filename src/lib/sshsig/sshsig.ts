import { createHash } from 'node:crypto';
import { invalid } from '../errors.ts';
import type { SshPublicKey } from './public-key.ts';
import { decodeBase64, parsePublicKey } from './ssh-key.ts';
import { verifyRawSignature, type SshProof } from './ssh-signature.ts';
import { SshReader, sshString, uint32 } from './ssh-wire.ts';

/** The digests that PROTOCOL.sshsig knows for the message. */
export type SshSigHash = 'sha256' | 'sha512';

export interface SshSig {
  readonly publicKey: SshPublicKey;
  /** What the signature is for: `git` for commits, `file` for `ssh-keygen -Y sign -n file`. */
  readonly namespace: string;
  readonly hash: SshSigHash;
  /** `string algorithm, string signature` and what security keys add. */
  readonly signature: Buffer;
}

const MAGIC = Buffer.from('SSHSIG', 'latin1');
const VERSION = 1;
const BEGIN = '-----BEGIN SSH SIGNATURE-----';
const END = '-----END SSH SIGNATURE-----';
/** Lines as long as ssh-keygen writes them. */
const LINES = /.{1,70}/g;
const MAX_ARMOR = 64 * 1024;
const CODE = 'ssh-signature-malformed';

/** The text form of a signature blob, ended by a newline, as `ssh-keygen -Y sign` writes it. */
export function armor(blob: Buffer): string {
  const lines = blob.toString('base64').match(LINES) ?? [];
  return [BEGIN, ...lines, END, ''].join('\n');
}

/**
 * The blob inside an armored signature.
 *
 * Stricter than ssh-keygen: nothing may precede the header or follow the footer but one line end,
 * lines end in LF (git strips CR when it signs), and the base64 is canonical, so that nobody can
 * hide bytes in a signed commit that the signature does not cover.
 */
export function dearmor(text: string, what: string): Buffer {
  if (text.length > MAX_ARMOR) throw invalid(CODE, `${what} has ${text.length} characters of armor`);
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  if (lines.shift() !== BEGIN) throw invalid(CODE, `${what} does not begin with ${BEGIN}`);
  if (lines.pop() !== END) throw invalid(CODE, `${what} does not end with ${END}`);
  const blob = lines.includes('') ? undefined : decodeBase64(lines.join(''));
  if (!blob) throw invalid(CODE, `${what} is not sound base64 between its header and footer`);
  return blob;
}

const isHash = (name: string): name is SshSigHash => name === 'sha256' || name === 'sha512';

/**
 * Reads a signature blob (OpenSSH PROTOCOL.sshsig section 2):
 *
 *     byte[6] "SSHSIG"; uint32 version = 1; string publickey; string namespace; string reserved;
 *     string hash_algorithm; string signature
 *
 * Stricter than the text in one thing: `reserved` has to be empty. OpenSSH verifies as if it were
 * empty, so whatever stood there would not be covered by the signature.
 */
export function parseSshSig(blob: Buffer, what: string): SshSig {
  const reader = new SshReader(blob, what, CODE);
  if (!reader.take(MAGIC.length).equals(MAGIC)) throw reader.error('is no SSH signature');
  const version = reader.uint32();
  if (version !== VERSION) throw reader.error(`is of version ${version}, where ${VERSION} is understood`);
  const publicKey = parsePublicKey(reader.string(), `the key in ${what}`);
  const namespace = reader.text();
  if (namespace === '') throw reader.error('names no namespace');
  if (reader.string().length > 0) throw reader.error('has something in its reserved field');
  const hash = reader.text();
  if (!isHash(hash)) throw reader.error('uses a digest that is neither sha256 nor sha512');
  const signature = reader.string();
  reader.end();
  return { publicKey, namespace, hash, signature };
}

export interface SshSigParts {
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

/** What the key signs (PROTOCOL.sshsig section 3): the namespace and the message's digest. */
export function signedData(namespace: string, hash: SshSigHash, message: Buffer): Buffer {
  const digest = createHash(hash).update(message).digest();
  return Buffer.concat([MAGIC, ...[namespace, '', hash, digest].map(sshString)]);
}

/**
 * Whether `message` was signed by the key that the signature names; null if it was not. Says
 * nothing about whose key that is, nor about the namespace: ask the allowed signers.
 */
export function verifySshSig(signature: SshSig, message: Buffer, what: string): SshProof | null {
  const data = signedData(signature.namespace, signature.hash, message);
  return verifyRawSignature(signature.publicKey, signature.signature, data, what);
}
