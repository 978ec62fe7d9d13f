import { tmpdir } from 'node:os';
import type { SignArtifactOptions } from '../../engine/artifact/signed-artifact.ts';
import { describeKey, openSigningKey } from '../../engine/keys/open.ts';
import { askPassphrase } from '../../engine/keys/passphrase.ts';
import type { SigningKey } from '../../engine/keys/signing-key.ts';
import { openTimestamper } from '../../engine/timestamp/open.ts';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';
import { sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

/** Flags of the commands that sign: with which key, and what the signature says. */
export interface SigningFlags extends CommonOptions {
  readonly pfx?: string;
  readonly keyName?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly passphraseFile?: string;
  readonly concurrency?: number;
  readonly timestamp: string[];
  readonly timestampCa?: string[];
  readonly digest: 'sha256' | 'sha384' | 'sha512';
  readonly name?: string;
  readonly url?: string;
}

/** The engine's options that these flags decide. */
export type SigningOptions = Omit<SignArtifactOptions, 'alreadySigned' | 'inside' | 'isOurs'>;

/** Opens the key that the flags name, passes the engine's options to `use`, and closes the key. */
export async function withSigning<T>(
  flags: SigningFlags,
  use: (options: SigningOptions) => Promise<T>,
): Promise<T> {
  const key = await openSigningKey(describeKey(flags), {
    warn: sayUnlessQuiet(flags),
    ask: askPassphrase,
    usableAt: new Date(),
    digest: flags.digest,
  });
  try {
    return await use(await signingOptions(key, flags));
  } finally {
    await key.close();
  }
}

/** Warns of what makes signatures less useful. */
async function signingOptions(key: SigningKey, flags: SigningFlags): Promise<SigningOptions> {
  const say = sayUnlessQuiet(flags);
  if (key.missingIssuer !== undefined)
    say(
      `the certificate of its issuer, ${key.missingIssuer}, is missing: unless that is a root, add it to the file with the certificate (--pfx or --certificate), or many machines will not trust the signatures`,
    );
  const timestamps = await openTimestamper(flags.timestamp, flags.timestampCa, key.certificates);
  if (!timestamps.timestamper)
    say('no --timestamp: the signatures are valid only as long as the certificate is');
  return {
    key,
    hash: flags.digest,
    ...timestamps,
    name: flags.name,
    url: flags.url,
    limits: DEFAULT_LIMITS,
    scratch: tmpdir(),
  };
}
