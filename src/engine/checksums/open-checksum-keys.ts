import { findPassphrase } from '../keys/passphrase.ts';
import type { ChecksumKey } from './checksum-key.ts';
import { openMinisignChecksumKey } from './minisign-checksum-key.ts';
import { openOpenPgpCommandKey } from './openpgp-command-key.ts';
import { openOpenPgpChecksumKey } from './openpgp-checksum-key.ts';
import { openSshChecksumKey } from './ssh-checksum-key.ts';

/** A key in a file, and the file whose first line is its passphrase. */
interface KeyFile {
  readonly key: string;
  readonly passphraseFile?: string | undefined;
}

/** An OpenPGP key in a file, or a program that has it and the public key that its signatures are verified with. */
interface OpenPgpSettings {
  readonly key?: string | undefined;
  readonly passphraseFile?: string | undefined;
  readonly command?: readonly string[] | undefined;
  readonly publicKey?: string | undefined;
}

/** Which keys sign checksum files; each is optional. */
export interface ChecksumKeySettings {
  readonly openpgp?: OpenPgpSettings | undefined;
  readonly ssh?: KeyFile | undefined;
  readonly minisign?: KeyFile | undefined;
}

export interface OpenChecksumKeyOptions {
  /** Called with a sentence, without secrets, about a file that other users can read. */
  readonly warn: (message: string) => void;
  readonly now: Date;
}

/** Opens a key; a passphrase comes from its file only, since SIGNPIPE_PASSPHRASE belongs to the signing key. */
async function openKey(
  { key: path, passphraseFile: file }: KeyFile,
  open: (
    source: OpenChecksumKeyOptions & { path: string; passphrase: string | undefined },
  ) => Promise<ChecksumKey>,
  options: OpenChecksumKeyOptions,
): Promise<ChecksumKey> {
  const passphrase = await findPassphrase({ file, warn: options.warn, environment: {} });
  return open({ ...options, path, passphrase });
}

function openOpenPgp(
  { key = '', passphraseFile, command, publicKey = '' }: OpenPgpSettings,
  options: OpenChecksumKeyOptions,
): Promise<ChecksumKey> {
  if (command) return openOpenPgpCommandKey({ ...options, command, publicKey });
  return openKey({ key, passphraseFile }, openOpenPgpChecksumKey, options);
}

/** A function for each key that opens it, and throws the usage errors of its kind. */
export function checksumKeyOpeners(
  { openpgp, ssh, minisign }: ChecksumKeySettings,
  options: OpenChecksumKeyOptions,
): (() => Promise<ChecksumKey>)[] {
  return [
    ...(openpgp ? [() => openOpenPgp(openpgp, options)] : []),
    ...(ssh ? [() => openKey(ssh, openSsh, options)] : []),
    ...(minisign ? [() => openKey(minisign, openMinisignChecksumKey, options)] : []),
  ];
}

const openSsh = (source: { path: string; passphrase: string | undefined }): Promise<ChecksumKey> =>
  openSshChecksumKey({ ...source, agent: process.env['SSH_AUTH_SOCK'] });

/** Opens all keys; throws the first error. */
export async function openChecksumKeys(
  settings: ChecksumKeySettings,
  options: OpenChecksumKeyOptions,
): Promise<ChecksumKey[]> {
  const keys: ChecksumKey[] = [];
  // One after the other: a key of minisign may take a gigabyte of memory.
  for (const open of checksumKeyOpeners(settings, options)) keys.push(await open());
  return keys;
}
