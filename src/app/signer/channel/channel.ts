import type { ChannelConfig } from '../../config/channel-config.ts';
import { readRoots } from '../../../engine/keys/trusted-roots.ts';
import type { KeySettings } from '../../../engine/keys/open.ts';
import { requireUsable } from '../../../engine/keys/signing-key.ts';
import { compileNamePatterns, compilePatterns, type PathFilter } from '../../../engine/artifact/globs.ts';
import type { ChecksumKey } from '../../../engine/checksums/checksum-key.ts';
import type { SignpipeError } from '../../../lib/errors.ts';
import type { CertificateFinding } from '../../../lib/x509/certificate-findings.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { openChannelKey, type ChannelKey, type ChannelKeyOptions } from './channel-key.ts';
import { Renewal, whenStarting } from './renewal.ts';
import type { ChecksumKeysOf } from './shared-checksum-keys.ts';
import { readTrustLists, type ChannelLists } from './trust-lists.ts';

/** One channel, ready to sign: its key is open, its policy compiled. */
export interface Channel extends ChannelLists, ChannelKey {
  readonly config: ChannelConfig;
  /** The keys that sign checksum files; null if the channel makes none. */
  readonly checksumKeys: readonly ChecksumKey[] | null;
  /** Changes `key`, and what depends on it, to the successor's; null without `signing.successor`. */
  readonly renewal: Renewal | null;
  /** Why its key must not sign now; requests wait. */
  readonly keyProblem: SignpipeError | null;
  readonly roots: readonly Certificate[] | undefined;
  /** Which entries of a zip are ours. */
  readonly isOurs: PathFilter;
  /** Which files may be named. */
  readonly mayName: PathFilter;
  /** Which principals may request. */
  readonly mayRequest: PathFilter;
}

interface ChannelOptions extends ChannelKeyOptions {
  readonly now: Date;
  /** Reports what its operator should know about `signing.successor`. */
  readonly onFinding: (finding: CertificateFinding) => void;
  readonly checksumKeys: ChecksumKeysOf;
}

type KeyPart = ChannelKey & Pick<Channel, 'renewal' | 'keyProblem'>;

/** Opens the key of a channel, and its successor. Throws unless one of them can sign now. */
async function openKeys(config: ChannelConfig, options: ChannelOptions): Promise<KeyPart> {
  const { signing } = config;
  const { now, onFinding } = options;
  const { successor } = signing;
  const open = (settings: KeySettings): Promise<ChannelKey> => openChannelKey(config, settings, options);
  const renewal =
    successor &&
    (await Renewal.open(
      { channel: config.name, signing: { ...signing, successor }, open, report: onFinding },
      now,
    ));
  const part: KeyPart = renewal
    ? { ...(await renewal.keyAt(now)), renewal }
    : { ...(await open(signing)), renewal: null, keyProblem: null };
  try {
    if (part.keyProblem) throw whenStarting(part.keyProblem);
    requireUsable(part.key, now);
    return part;
  } catch (error) {
    await closeKeys(part);
    throw error;
  }
}

/** Closes the keys of a channel. */
export const closeKeys = ({ key, renewal }: Pick<Channel, 'key' | 'renewal'>): Promise<void> =>
  renewal ? renewal.close() : key.close();

/**
 * Opens one channel: loads its key and refuses, before any work, one that cannot sign programs now.
 * Throws usage errors.
 */
export async function openChannel(config: ChannelConfig, options: ChannelOptions): Promise<Channel> {
  const { signing, trust } = config;
  const keys = await openKeys(config, options);
  try {
    return {
      config,
      ...keys,
      checksumKeys: config.checksums ? await options.checksumKeys(config.checksums) : null,
      ...(await readTrustLists(trust)),
      roots: await readRoots(signing.roots),
      isOurs: compilePatterns(signing.files),
      mayName: compilePatterns(trust.names),
      mayRequest: compileNamePatterns(trust.requesters),
    };
  } catch (error) {
    await closeKeys(keys);
    throw error;
  }
}
