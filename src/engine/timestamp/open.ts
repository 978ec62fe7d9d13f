import type { Certificate } from '../../lib/x509/certificate.ts';
import { readTimestampRoots, timestampRootsFor } from '../keys/trusted-roots.ts';
import type { Timestamper, TimestampOptions } from './client.ts';
import type { TimestampEndpoint } from './transport/endpoint.ts';

interface OpenedTimestamper {
  /** Null if no authority is named. */
  readonly timestamper: Timestamper | null;
  /** The roots to which the chains of timestamps must lead; see `timestampRootsFor`. */
  readonly timestampRoots: readonly Certificate[] | undefined;
}

/**
 * Opens a client for timestamps from `authorities` (a URL is asked directly) over the signatures of `signer`, a
 * certificate chain. `rootNames` are the configured roots. Without an authority no default root is read and, only for
 * speed, no client is loaded. Throws `timestamp-url`, `timestamp-proxy` and `roots-unreadable` (usage).
 */
export async function openTimestamper(
  authorities: readonly (string | TimestampEndpoint)[],
  rootNames: readonly string[] | undefined,
  signer: readonly Certificate[],
  options: Omit<TimestampOptions, 'roots'> = {},
): Promise<OpenedTimestamper> {
  if (authorities.length === 0)
    return { timestamper: null, timestampRoots: await readTimestampRoots(rootNames) };
  const timestampRoots = await readTimestampRoots(timestampRootsFor(rootNames, signer));
  const { TimestampClient } = await import('./client.ts');
  return {
    timestamper: new TimestampClient(authorities, { ...options, roots: timestampRoots }),
    timestampRoots,
  };
}
