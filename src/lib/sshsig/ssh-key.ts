import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { invalid, SignpipeError } from '../errors.ts';
import type { SshKeyType, SshPublicKey } from './public-key.ts';
import { parseCertificate } from './ssh-certificate.ts';
import { SshReader, sshString } from './ssh-wire.ts';

/**
 * The smallest RSA modulus that is accepted, in bits. OpenSSH accepts 1024; the CA/Browser rules and NIST
 * SP 800-131A have required 2048 since 2014.
 */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 16_384;
const MAX_EXPONENT_BYTES = 8;
const MAX_BLOB = 32 * 1024;

/** SubjectPublicKeyInfo up to the key bits: RFC 8410 section 4, and RFC 5480 section 2. */
const SPKI = {
  ed25519: '302a300506032b6570032100',
  nistp256: '3059301306072a8648ce3d020106082a8648ce3d030107034200',
  nistp384: '3076301006072a8648ce3d020106052b81040022036200',
  nistp521: '30819b301006072a8648ce3d020106052b8104002303818600',
} as const;

const POINT_BYTES = { nistp256: 65, nistp384: 97, nistp521: 133 } as const;
type Curve = keyof typeof POINT_BYTES;

const spki = (prefix: string, bits: Buffer): KeyObject =>
  createPublicKey({ key: Buffer.concat([Buffer.from(prefix, 'hex'), bits]), format: 'der', type: 'spki' });

function readEd25519(reader: SshReader): KeyObject {
  const bits = reader.string();
  if (bits.length !== 32) throw reader.error('is an Ed25519 key of the wrong length');
  return spki(SPKI.ed25519, bits);
}

/** RFC 5656 section 3.1; like OpenSSH, only uncompressed points. */
function readEcdsa(reader: SshReader, curve: Curve): KeyObject {
  if (reader.text() !== curve) throw reader.error(`is not on the curve ${curve} that its type names`);
  const point = reader.string();
  if (point.length !== POINT_BYTES[curve] || point.readUInt8() !== 4)
    throw reader.error('does not hold an uncompressed point');
  return spki(SPKI[curve], point);
}

/** RFC 4253 section 6.6: e, then n. */
function readRsa(reader: SshReader): KeyObject {
  const e = reader.mpint();
  const n = reader.mpint();
  const bits = n.length === 0 ? 0 : n.length * 8 - Math.clz32(n.readUInt8()) + 24;
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
    throw reader.error(`is an RSA key of ${bits} bits, and ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are accepted`);
  const odd = e.length > 0 && (e.readUInt8(e.length - 1) & 1) === 1;
  if (!odd || e.length > MAX_EXPONENT_BYTES || (e.length === 1 && e.readUInt8() === 1))
    throw reader.error('is an RSA key with an invalid exponent');
  const jwk = { kty: 'RSA', n: n.toString('base64url'), e: e.toString('base64url') };
  return createPublicKey({ key: jwk, format: 'jwk' });
}

/** Reads the fields after the type name of a bare key, by type. */
const FIELDS: Record<SshKeyType, (reader: SshReader) => { key: KeyObject; application: string | null }> = {
  'ssh-ed25519': (reader) => ({ key: readEd25519(reader), application: null }),
  'ecdsa-sha2-nistp256': (reader) => ({ key: readEcdsa(reader, 'nistp256'), application: null }),
  'ecdsa-sha2-nistp384': (reader) => ({ key: readEcdsa(reader, 'nistp384'), application: null }),
  'ecdsa-sha2-nistp521': (reader) => ({ key: readEcdsa(reader, 'nistp521'), application: null }),
  'ssh-rsa': (reader) => ({ key: readRsa(reader), application: null }),
  'sk-ssh-ed25519@openssh.com': (reader) => ({ key: readEd25519(reader), application: reader.text() }),
  'sk-ecdsa-sha2-nistp256@openssh.com': (reader) => ({
    key: readEcdsa(reader, 'nistp256'),
    application: reader.text(),
  }),
};

/** `ssh-ed25519` -> `ssh-ed25519-cert-v01@openssh.com`; the vendor suffix is not repeated. */
const certificateName = (type: string): string => `${type.replace('@openssh.com', '')}-cert-v01@openssh.com`;

const TYPES = new Map<string, { type: SshKeyType; certified: boolean }>(
  (Object.keys(FIELDS) as SshKeyType[]).flatMap((type) => [
    [type, { type, certified: false }],
    [certificateName(type), { type, certified: true }],
  ]),
);

/** Whether this is the name of a key or certificate type that `parsePublicKey` reads. */
export const isKeyName = (name: string): boolean => TYPES.has(name);

function parse(blob: Buffer, what: string): SshPublicKey {
  const reader = new SshReader(blob, what, 'ssh-key-malformed');
  const name = reader.text();
  const keyType = TYPES.get(name);
  if (!keyType)
    throw invalid('ssh-key-type', `${what} is of the type ${JSON.stringify(name.slice(0, 64))}`, {
      hint: 'use an Ed25519, ECDSA, RSA or FIDO key, as ssh-keygen -t ed25519 makes it',
    });
  if (keyType.certified) reader.string(); // A nonce, so that an applicant cannot choose the bytes that the CA signs.
  const start = reader.offset;
  const { key, application } = FIELDS[keyType.type](reader);
  const plain = keyType.certified
    ? Buffer.concat([sshString(keyType.type), blob.subarray(start, reader.offset)])
    : blob;
  const certificate = keyType.certified ? parseCertificate(reader, what, parseBareKey) : null;
  reader.end();
  const fingerprint = fingerprintOf(plain);
  return { name, type: keyType.type, blob, plain, fingerprint, key, application, certificate };
}

/** `SHA256:` and the unpadded base64 of a bare key's digest, as `ssh-keygen -l` prints it. */
export function fingerprintOf(plain: Buffer): string {
  return `SHA256:${createHash('sha256').update(plain).digest('base64').replaceAll('=', '')}`;
}

/** Only for speed: the same keys recur from commit to commit. A hostile history can only evict them. */
const CACHE_KEYS = 256;
const CACHE_BLOB = 4096;
const cache = new Map<string, SshPublicKey>();

/**
 * Reads a public key or certificate in SSH's wire form (RFC 4253 section 6.6, RFC 5656, RFC 8709,
 * OpenSSH's PROTOCOL.u2f and PROTOCOL.certkeys). Every byte is consumed, the point is on its curve, and a
 * certificate's signature is checked against the CA key in it; the caller must check whether that CA is trusted.
 */
export function parsePublicKey(blob: Buffer, what: string): SshPublicKey {
  if (blob.length > MAX_BLOB) throw invalid('ssh-key-malformed', `${what} has ${blob.length} bytes`);
  const name = blob.length <= CACHE_BLOB ? blob.toString('latin1') : null;
  const cached = name === null ? undefined : cache.get(name);
  if (cached) return cached;
  const key = parseOrRefuse(blob, what);
  if (name !== null) {
    const [oldest] = cache.keys();
    if (cache.size >= CACHE_KEYS && oldest !== undefined) cache.delete(oldest);
    cache.set(name, key);
  }
  return key;
}

/** Parses a CA's key. It must not be a certificate, so there are no chains and no unbounded nesting. */
function parseBareKey(blob: Buffer, what: string): SshPublicKey {
  const name = new SshReader(blob, what, 'ssh-key-malformed').text();
  if (TYPES.get(name)?.certified) throw invalid('ssh-key-malformed', `${what} is a certificate, not a key`);
  return parsePublicKey(blob, what);
}

function parseOrRefuse(blob: Buffer, what: string): SshPublicKey {
  try {
    return parse(Buffer.from(blob), what);
  } catch (error) {
    if (error instanceof SignpipeError) throw error;
    throw invalid('ssh-key-malformed', `${what} is not a valid key`, { cause: error }); // node:crypto: the point is not on the curve.
  }
}

/** `TYPE BASE64`, as in a .pub file; the wire form begins with the type and its length (RFC 4253 section 6.6). */
export const publicKeyLine = (blob: Buffer): string =>
  `${blob.toString('latin1', 4, 4 + blob.readUInt32BE())} ${blob.toString('base64')}`;

/** Parses `TYPE BASE64 [COMMENT]`, as in a .pub file; the comment is dropped. */
export function parsePublicKeyLine(line: string, what: string): SshPublicKey {
  const [name = '', base64 = ''] = line.trim().split(/[ \t]+/);
  const blob = decodeBase64(base64);
  if (!blob) throw invalid('ssh-key-malformed', `${what} is not a line as in a .pub file`);
  const key = parsePublicKey(blob, what);
  if (key.name !== name)
    throw invalid('ssh-key-malformed', `${what} is labelled ${name} but is of another type`);
  return key;
}

/** Decodes strict base64 (RFC 4648 section 4: padded, no stray bits or characters); undefined for anything else. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : undefined;
}
