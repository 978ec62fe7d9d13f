import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TrustConfig } from '../config/signer.ts';
import { messageOf, usage } from '../../lib/errors.ts';
import { loadAllowedSigners, type Channel } from './channel.ts';

/** A file that changed is read once it has been left alone for this long, in ms: an editor may be writing it. */
const QUIET_MS = 1000;

/** How often that is waited for before everything is held instead. */
const MOST_WAITS = 10;

/** What identifies one version of the lists: any write or replacement changes a file's ctime. */
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

/** The version once it stays the same; throws `trust-list-changing` (usage) if it never does. */
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
      hint: 'write it once, or replace it by mv; no request is judged meanwhile',
    },
  );
}

/**
 * Keeps each channel's list of allowed signers and revoked keys as its files are. A request is judged by
 * the lists of that moment, so a key that was added before the request was pushed counts without a restart.
 */
export class TrustLists {
  private readonly versions = new Map<string, string>();

  constructor(private readonly channels: Map<string, Channel>) {}

  /**
   * Reads again what changed since the last call, and returns the names of the channels concerned. Throws
   * usage errors if a list cannot be read: judging goes on with no list but the present one.
   */
  async refresh(): Promise<string[]> {
    const changed: string[] = [];
    for (const [name, channel] of this.channels) {
      const { trust } = channel.config;
      const known = this.versions.get(name);
      const present = await versionOf(trust);
      if (present === known) continue;
      const version = known === undefined ? present : await settledVersion(trust);
      this.channels.set(name, { ...channel, allowed: await loadAllowedSigners(trust) });
      this.versions.set(name, version);
      if (known !== undefined) changed.push(name);
    }
    return changed;
  }
}
