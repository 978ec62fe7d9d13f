import type { ChannelConfig } from '../config/signer.ts';
import { usage } from '../../lib/errors.ts';
import { describeKey, openSigningKey } from '../../engine/keys/open.ts';
import { readRoots } from '../../engine/keys/trusted-roots.ts';
import { isTestChain, type SigningKey } from '../../engine/keys/signing-key.ts';
import { compileNamePatterns, compilePatterns, type PathFilter } from '../../engine/artifact/globs.ts';
import type { ChecksumKey } from '../../engine/checksums/checksum-key.ts';
import { openChecksumKeys } from '../../engine/checksums/open-checksum-keys.ts';
import type { Timestamper } from '../../engine/timestamp/client.ts';
import { openTimestamper } from '../../engine/timestamp/open.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { readTrustLists, type ChannelLists } from './trust-lists.ts';

/** One channel, ready to sign: its key is open, its policy compiled. */
export interface Channel extends ChannelLists {
  readonly config: ChannelConfig;
  readonly key: SigningKey;
  /** The keys that sign checksum files; null if the channel makes none. */
  readonly checksumKeys: readonly ChecksumKey[] | null;
  /** Null only with a test certificate. */
  readonly timestamper: Timestamper | null;
  /** Whether its certificate is a test certificate. */
  readonly test: boolean;
  readonly roots: readonly Certificate[] | undefined;
  readonly timestampRoots: readonly Certificate[] | undefined;
  /** Which entries of a zip are ours. */
  readonly isOurs: PathFilter;
  /** Which files may be named. */
  readonly mayName: PathFilter;
  /** Which principals may request. */
  readonly mayRequest: PathFilter;
}

interface ChannelOptions {
  readonly now: Date;
  /** Reports a key or passphrase file that others may read. */
  readonly warn: (message: string) => void;
  /** Reports a timestamp authority that did not answer; `warn` unless given. */
  readonly onOutage?: ((message: string) => void) | undefined;
  /** How often a timestamp authority is asked, and the first pause in ms; its own defaults unless given. */
  readonly retry?: { readonly attempts: number; readonly wait: number };
}

/** Requires timestamps unless the certificate is for tests: without one, a signature becomes invalid with its certificate. */
function requireTimestamps(name: string, test: boolean, authorities: readonly unknown[]): void {
  if (authorities.length === 0 && !test)
    throw usage(
      'untimestamped',
      `channel ${name}: signing.timestamp is empty, and its certificate is no test certificate`,
      {
        hint: 'name at least one RFC 3161 authority',
      },
    );
}

/**
 * Opens one channel: loads its key and refuses, before any work, one that cannot sign programs now.
 * Throws usage errors.
 */
export async function openChannel(config: ChannelConfig, options: ChannelOptions): Promise<Channel> {
  const { signing, trust } = config;
  const { warn, onOutage = warn, retry } = options;
  const key = await openSigningKey(describeKey(signing), { warn, usableAt: options.now });
  const test = isTestChain(key.certificates);
  requireTimestamps(config.name, test, signing.timestamp);
  const authorities = signing.timestamp.map(({ url }) => url);
  return {
    config,
    key,
    test,
    ...(await openTimestamper(authorities, signing.timestampRoots, key.certificates, {
      timeoutMs: signing.timestampTimeout,
      attempts: retry?.attempts,
      backOffMs: retry?.wait,
      onFailure: (url, error) => onOutage(`timestamp authority ${url}: ${error.message}`),
    })),
    checksumKeys: config.checksums ? await openChecksumKeys(config.checksums, warn) : null,
    ...(await readTrustLists(trust)),
    roots: await readRoots(signing.roots),
    isOurs: compilePatterns(signing.files),
    mayName: compilePatterns(trust.names),
    mayRequest: compileNamePatterns(trust.requesters),
  };
}
