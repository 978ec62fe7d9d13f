import { createHash, sign, verify } from 'node:crypto';
import { textOf } from '../../lib/recognize-key-file.ts';
import { SignpipeError } from '../../lib/errors.ts';
import { readKeyFile, warnIfOthersCanRead } from '../keys/key-file.ts';
import type { ChecksumKey } from './checksum-key.ts';
import { openMinisignKey, type MinisignKey } from './minisign-secret-key.ts';

/** Ed25519 over the BLAKE2b-512 digest; `Ed` would be over the file itself, which minisign -H still accepts. */
const PREHASHED = Buffer.from('ED');

/**
 * The text of a `.minisig` file: the signature, and a second one over it and the trusted comment, which `minisign -V`
 * shows. `at` is the time in that comment.
 */
export function minisignSignature(key: MinisignKey, content: Buffer, name: string, at: Date): string {
  const digest = createHash('blake2b512').update(content).digest();
  const signature = signVerified(key, digest);
  const trusted = `timestamp:${Math.floor(at.getTime() / 1000)}\tfile:${name}\thashed`;
  const global = signVerified(key, Buffer.concat([signature, Buffer.from(trusted)]));
  return [
    `untrusted comment: signature from minisign secret key ${keyIdText(key)}`,
    Buffer.concat([PREHASHED, key.id, signature]).toString('base64'),
    `trusted comment: ${trusted}`,
    global.toString('base64'),
    '',
  ].join('\n');
}

function signVerified({ privateKey, publicKey }: MinisignKey, data: Buffer): Buffer {
  const signature = sign(null, data, privateKey);
  if (verify(null, data, publicKey, signature)) return signature;
  throw new SignpipeError('local', 'checksum-signature-unsound', 'a minisign signature does not verify', {
    hint: 'this machine computes wrongly: check its memory',
  });
}

/** The key id as minisign prints it. */
const keyIdText = ({ id }: MinisignKey): string =>
  Buffer.from(id).readBigUInt64LE().toString(16).toUpperCase();

interface MinisignKeySource {
  readonly path: string;
  readonly passphrase?: string | undefined;
  /** Called with a sentence if others can read the file. */
  readonly warn: (message: string) => void;
}

/** Opens a secret key file of minisign for checksum files; throws `minisign-too-large` (usage) and
 * what `openMinisignKey` does. */
export async function openMinisignChecksumKey({
  path,
  passphrase,
  warn,
}: MinisignKeySource): Promise<ChecksumKey> {
  const text = textOf(await readKeyFile(path, 'minisign')) ?? '';
  const key = await openMinisignKey(text, passphrase, path);
  await warnIfOthersCanRead(path, 'the secret key', warn);
  return {
    kind: 'minisign',
    id: keyIdText(key),
    expires: null,
    // eslint-disable-next-line require-await -- a failure is a rejection, not a throw
    sign: async (content, name) => Buffer.from(minisignSignature(key, content, name, new Date())),
  };
}
