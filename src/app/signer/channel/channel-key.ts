import { usage } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { describeKey, openSigningKey, type KeySettings } from '../../../engine/keys/open.ts';
import { isTestChain, type SigningKey } from '../../../engine/keys/signing-key.ts';
import type { Timestamper } from '../../../engine/timestamp/client.ts';
import type { TimestampEndpoint } from '../../../engine/timestamp/transport/endpoint.ts';
import { openTimestamper } from '../../../engine/timestamp/open.ts';
import type { ChannelConfig } from '../../config/channel-config.ts';
import type { TimestampAuthority } from '../../config/timestamp-authorities.ts';

/** A signing key that is open, with all that depends on its certificate. */
export interface ChannelKey {
  readonly key: SigningKey;
  /** Null only with a test certificate. */
  readonly timestamper: Timestamper | null;
  /** Whether its certificate is a test certificate. */
  readonly test: boolean;
  readonly timestampRoots: readonly Certificate[] | undefined;
}

export interface ChannelKeyOptions {
  /** The way to a timestamp authority. */
  readonly endpoint: (authority: TimestampAuthority) => TimestampEndpoint;
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
      `channel ${name}: signing.timestamp is empty, and its certificate is not a test certificate`,
      {
        hint: 'name at least one RFC 3161 authority',
      },
    );
}

/**
 * Opens the key that `settings` name, for a channel: its own, or its successor. Whether its certificate is valid now is
 * not judged. Throws the errors of `openSigningKey` and `openTimestamper`, and `untimestamped` (usage).
 */
export async function openChannelKey(
  { name, signing }: ChannelConfig,
  settings: KeySettings,
  { warn, onOutage = warn, endpoint, retry }: ChannelKeyOptions,
): Promise<ChannelKey> {
  const key = await openSigningKey(describeKey(settings), { warn, digest: signing.digest });
  try {
    const test = isTestChain(key.certificates);
    requireTimestamps(name, test, signing.timestamp);
    const authorities = signing.timestamp.map(endpoint);
    const timestamps = await openTimestamper(authorities, signing.timestampRoots, key.certificates, {
      timeoutMs: signing.timestampTimeout,
      attempts: retry?.attempts,
      backOffMs: retry?.wait,
      onFailure: (url, error) =>
        onOutage(`timestamp authority ${url}: ${error.message.replace(`${url}: `, '')}`),
    });
    return { key, test, ...timestamps };
  } catch (error) {
    await key.close();
    throw error;
  }
}
