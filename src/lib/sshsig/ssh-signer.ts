import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto';
import { open } from 'node:fs/promises';
import ssh2 from 'ssh2';
import { hasCode, messageOf, SignpipeError, usage } from '../errors.ts';
import { keyFormatOf, pemText } from '../recognize-key-file.ts';
import { SshAgent } from './ssh-agent.ts';
import type { SshPublicKey } from './public-key.ts';
import { isKeyName, parsePublicKey, parsePublicKeyLine } from './ssh-key.ts';
import { CURVES } from './ssh-signature.ts';
import { requireStandardForm, standardSignature, verifyStandardSignature } from './standard-signature.ts';
import { armor, buildSshSig, parseSshSig, signedData, verifySshSig } from './sshsig.ts';
import { sshMpint, sshString } from './ssh-wire.ts';

/** Makes SSH signatures with one key. */
export interface SshSigner {
  /** The public key, or the certificate, in wire form. */
  readonly publicKey: Buffer;
  /** `SHA256:...` */
  readonly fingerprint: string;
  /** An armored SSHSIG over the message; `git` is the namespace for commits. */
  sign(namespace: string, message: Buffer): Promise<string>;
  /**
   * A signature over the data in standard form, without SSH's encoding (`standard-signature.ts`): what DSSE envelopes
   * carry. The caller must begin the data with a text that distinguishes it from what SSH signs. Throws `ssh-key-type`
   * for a security key.
   */
  signStandard(data: Buffer): Promise<Buffer>;
  /**
   * Throws, without a signature, if the agent that holds the key is gone or does not hold it any more; absent for a key in
   * memory.
   */
  readonly available?: () => Promise<void>;
}

interface SshSignerOptions {
  /** The passphrase of an encrypted private key. */
  passphrase?: string;
  /** The socket of an ssh-agent. */
  agent?: string;
}

const MAX_FILE = 64 * 1024;
const HASH = 'sha512'; // as ssh-keygen -Y sign

/** Signs data; returns the signature in wire form. */
type RawSign = (data: Buffer) => Promise<Buffer>;

/** A signer that verifies each signature before it returns it, since an agent may send anything. */
function signerOf(key: SshPublicKey, rawSign: RawSign, path: string): SshSigner {
  const what = `the signature made with ${path}`;
  return {
    publicKey: key.blob,
    fingerprint: key.fingerprint,
    async sign(namespace, message) {
      const signature = await rawSign(signedData(namespace, HASH, message));
      const blob = buildSshSig({ publicKey: key.blob, namespace, hash: HASH, signature });
      if (!verifies(blob, message, what)) throw unsound(what, key);
      return armor(blob);
    },
    async signStandard(data) {
      requireStandardForm(key, path); // Before anything asks for a touch.
      const wire = await rawSign(data);
      const signature = asUsage(() => standardSignature(key, wire, what));
      if (!verifyStandardSignature(key, signature, data)) throw unsound(what, key);
      return signature;
    },
  };
}

const unsound = (what: string, { fingerprint }: SshPublicKey): SignpipeError =>
  usage('ssh-signature-unsound', `${what} does not verify with ${fingerprint}`, {
    hint: 'the agent signs with another key, or the key file is damaged',
  });

function verifies(blob: Buffer, message: Buffer, what: string): boolean {
  try {
    return verifySshSig(parseSshSig(blob, what), message, what) !== null;
  } catch (error) {
    if (error instanceof SignpipeError) return false;
    throw error;
  }
}

async function readKeyFile(path: string): Promise<{ bytes: Buffer; openToOthers: boolean }> {
  try {
    const file = await open(path, 'r');
    try {
      const { size, mode, uid } = await file.stat();
      if (size > MAX_FILE) throw usage('ssh-key-unreadable', `${path} has ${size} bytes, too many for a key`);
      // Like OpenSSH, checks only files of this account, not those that a container mounts.
      const openToOthers = uid === process.getuid?.() && (mode & 0o077) !== 0;
      return { bytes: await file.readFile(), openToOthers };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof SignpipeError) throw error;
    const missing = hasCode(error, 'ENOENT');
    throw usage(
      missing ? 'ssh-key-missing' : 'ssh-key-unreadable',
      missing ? `there is no key file ${path}` : `${path} cannot be read: ${messageOf(error)}`,
      { hint: 'make a key with ssh-keygen -t ed25519, or correct the path', cause: error },
    );
  }
}

const MAKE_A_KEY = 'make a key with ssh-keygen -t ed25519';

/** ssh2's errors, which have texts but no codes. */
const KEY_FILE_PROBLEMS: readonly { message: RegExp; code: string; text: string; hint: string }[] = [
  {
    message: /no passphrase given/,
    code: 'ssh-key-passphrase-missing',
    text: 'is encrypted, and no passphrase was given',
    hint: 'give its passphrase, or put the key into an ssh-agent and name its .pub file',
  },
  {
    message: /integrity check failed|bad passphrase|unable to authenticate|bad decrypt/i,
    code: 'ssh-key-passphrase-wrong',
    text: 'cannot be opened with the passphrase given',
    hint: 'give its passphrase, or put the key into an ssh-agent and name its .pub file',
  },
  {
    message: /Unsupported cipher/,
    code: 'ssh-key-unreadable',
    text: 'is encrypted with a cipher that is not supported',
    hint: 'encrypt it again: ssh-keygen -p -Z aes256-ctr -f KEY',
  },
  {
    message: /key type: sk-/,
    code: 'ssh-key-unreadable',
    text: 'belongs to a security key, which only an ssh-agent can use',
    hint: 'add it to an agent with ssh-add, and name its .pub file',
  },
  {
    message: /(?:)/,
    code: 'ssh-key-unreadable',
    text: 'does not hold a usable OpenSSH private key',
    hint: MAKE_A_KEY,
  },
];

function keyFileError(path: string, bytes: Buffer, error: Error): SignpipeError {
  const format = keyFormatOf(bytes);
  if (format && /unsupported key format/i.test(error.message))
    return usage('ssh-key-unreadable', `${path} is ${format.what}, not a usable SSH key`, {
      hint: format.sshHint ?? MAKE_A_KEY,
      cause: error,
    });
  const problem = KEY_FILE_PROBLEMS.find(({ message }) => message.test(error.message));
  const { code = 'ssh-key-unreadable', text = 'cannot be used', hint = '' } = problem ?? {};
  return usage(code, `${path} ${text}`, { hint, cause: error });
}

interface PrivateKey {
  publicKey: SshPublicKey;
  key: KeyObject;
}

async function readPrivateKey(path: string, passphrase: string | undefined): Promise<PrivateKey> {
  const { bytes, openToOthers } = await readKeyFile(path);
  if (openToOthers)
    throw usage('ssh-key-permissions', `${path} can be read by other accounts`, {
      hint: `chmod 600 ${path}`,
    });
  const parsed = ssh2.utils.parseKey(pemText(bytes), passphrase);
  if (parsed instanceof Error) throw keyFileError(path, bytes, parsed);
  if (!parsed.isPrivateKey()) throw usage('ssh-key-unreadable', `${path} does not hold a private key`);
  const publicKey = asUsage(() => parsePublicKey(parsed.getPublicSSH(), `the key in ${path}`));
  const key = openPrivateKey(parsed.getPrivatePEM(), path);
  if (createPublicKey(key).equals(publicKey.key)) return { publicKey, key };
  throw usage('ssh-key-unreadable', `${path} holds a private key that does not belong to its public key`);
}

function openPrivateKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw usage('ssh-key-unreadable', `${path} holds a damaged private key`); // No cause: it may quote the key.
  }
}

/** Reports errors as `usage`: malformed bytes in a configured key file are not a request's fault. */
function asUsage<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SignpipeError) || error.kind === 'usage') throw error;
    throw usage(error.code, error.message, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}

/** RFC 8709, RFC 8332 (always SHA-512), and RFC 5656 section 3.1.2. */
function rawSignature({ publicKey: { type }, key }: PrivateKey, data: Buffer): Buffer {
  if (type === 'ssh-ed25519') return Buffer.concat([type, sign(null, data, key)].map(sshString));
  if (type === 'ssh-rsa') return Buffer.concat(['rsa-sha2-512', sign('sha512', data, key)].map(sshString));
  const both = sign(CURVES.get(type)?.hash, data, { key, dsaEncoding: 'ieee-p1363' });
  const half = both.length / 2;
  const numbers = Buffer.concat([sshMpint(both.subarray(0, half)), sshMpint(both.subarray(half))]);
  return Buffer.concat([type, numbers].map(sshString));
}

async function privateSigner(
  path: string,
  passphrase: string | undefined,
  as?: SshPublicKey,
): Promise<SshSigner> {
  const privateKey = await readPrivateKey(path, passphrase);
  if (as && !as.plain.equals(privateKey.publicKey.plain))
    throw usage('ssh-key-mismatch', `${path} is not the private key of ${as.fingerprint}`);
  return signerOf(as ?? privateKey.publicKey, async (data) => rawSignature(privateKey, data), path);
}

/** `x` for `x.pub` and `x-cert.pub`. */
const privatePathOf = (path: string): string => path.replace(/(-cert)?\.pub$/, '');

async function publicSigner(path: string, line: string, options: SshSignerOptions): Promise<SshSigner> {
  const key = asUsage(() => parsePublicKeyLine(line, `the key in ${path}`));
  const agent = options.agent === undefined ? null : new SshAgent(options.agent);
  if (agent && (await agent.holds(key.blob)))
    return {
      ...signerOf(key, (data) => agent.sign(key.blob, data), path),
      available: async () => {
        if (!(await agent.holds(key.blob))) throw notInAgent(path, 'the ssh-agent does not hold it');
      },
    };
  const privatePath = privatePathOf(path);
  if (privatePath !== path && !key.application) {
    try {
      return await privateSigner(privatePath, options.passphrase, key);
    } catch (error) {
      if (!(error instanceof SignpipeError) || error.code !== 'ssh-key-missing') throw error;
    }
  }
  const reason = agent ? 'the ssh-agent does not hold it' : 'no ssh-agent was given to sign with it';
  throw notInAgent(path, reason);
}

const notInAgent = (path: string, reason: string): SignpipeError =>
  usage('ssh-key-not-in-agent', `${path} is a public key, and ${reason}`, {
    hint: 'add the private key with ssh-add, or name the private key file',
  });

/**
 * Opens the key at `path`, as in `git config user.signingkey`: an OpenSSH private key (Ed25519, ECDSA, RSA; encrypted
 * too), or the `.pub` file of a key that an ssh-agent holds or that lies beside it. `x-cert.pub` signs with the
 * certificate. Security keys (`sk-...`) work through the agent only, which asks for the touch.
 *
 * Errors are `usage`: `ssh-key-missing`, `ssh-key-unreadable`, `ssh-key-permissions`,
 * `ssh-key-passphrase-missing`, `ssh-key-passphrase-wrong`, `ssh-key-mismatch`, `ssh-key-type`,
 * `ssh-key-not-in-agent`, `ssh-agent-unreachable`, `ssh-agent-refused`, `ssh-agent-unsound`.
 */
export async function loadSshSigner(path: string, options: SshSignerOptions = {}): Promise<SshSigner> {
  const text = pemText((await readKeyFile(path)).bytes);
  const [word = ''] = text.trimStart().split(/[ \t]/, 1);
  if (isKeyName(word)) return publicSigner(path, text, options);
  return privateSigner(path, options.passphrase);
}
