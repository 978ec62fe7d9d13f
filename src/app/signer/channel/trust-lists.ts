import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TrustConfig } from '../../config/channel-sections.ts';
import { messageOf, usage } from '../../../lib/errors.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';

/** A changed file is read once it has not changed for this long, in ms: an editor may still be writing it. */
const QUIET_MS = 1000;

/** How many such pauses a request waits before the signer gives up until the next poll. */
const MOST_WAITS = 10;

/** Identifies one version of the lists: any write or replacement changes a file's ctime. */
async function versionOf(trust: TrustConfig): Promise<string> {
  const files = [trust.allowedSigners, trust.revokedKeys].filter((path) => path !== undefined);
  const parts = await Promise.all(files.map(fileVersion));
  return parts.join('\n');
}

async function fileVersion(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [path, dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (cause) {
    throw usage('trust-list-unreadable', `${path}: the list cannot be read: ${messageOf(cause)}`, {
      hint: 'make it readable again; until then no request is judged',
      cause,
    });
  }
}

/** The version once it has stopped changing; throws `trust-list-changing` (usage) if it does not. */
async function settledVersion(trust: TrustConfig): Promise<string> {
  let version = await versionOf(trust);
  for (let waits = 0; waits < MOST_WAITS; waits += 1) {
    await sleep(QUIET_MS);
    const next = await versionOf(trust);
    if (next === version) return version;
    version = next;
  }
  throw usage(
    'trust-list-changing',
    `${trust.allowedSigners ?? trust.revokedKeys}: is written again and again`,
    {
      hint: 'write it once, or replace it with mv; no request is judged meanwhile',
    },
  );
}

/** What a channel takes from the files `trust.allowedSigners` and `trust.revokedKeys`. */
export interface ChannelLists {
  /** Null without `trust.allowedSigners`. */
  readonly allowed: AllowedSigners | null;
  /** Which version of the files `allowed` was read from. */
  readonly listsVersion: string;
}

interface ListedChannel extends ChannelLists {
  readonly config: { readonly trust: TrustConfig };
}

const listsOf = async (
  { allowedSigners, revokedKeys: revoked }: TrustConfig,
  listsVersion: string,
): Promise<ChannelLists> => ({
  allowed:
    allowedSigners === undefined
      ? null
      : await AllowedSigners.load(allowedSigners, revoked === undefined ? {} : { revoked }),
  listsVersion,
});

/** Reads a channel's lists for the first time. */
export const readTrustLists = async (trust: TrustConfig): Promise<ChannelLists> =>
  // A file that is missing is reported by the load. The version is taken first: a later change is then noticed.
  listsOf(trust, await versionOf(trust).catch(() => 'unknown'));

/**
 * Keeps the allowed signers and revoked keys of each channel in step with their files. A request is judged by the
 * lists of that moment, so a key that was added before the request was pushed counts without a restart.
 */
export class TrustLists<C extends ListedChannel> {
  constructor(private readonly channels: Map<string, C>) {}

  /**
   * Reads the lists that changed since the last call and returns the names of their channels. Throws usage errors if
   * a list cannot be read: no request is judged by an outdated list.
   */
  async refresh(): Promise<string[]> {
    const changed: string[] = [];
    for (const [name, channel] of this.channels) {
      const { trust } = channel.config;
      if ((await versionOf(trust)) === channel.listsVersion) continue;
      this.channels.set(name, { ...channel, ...(await listsOf(trust, await settledVersion(trust))) });
      changed.push(name);
    }
    return changed;
  }
}
