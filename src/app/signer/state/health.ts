import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  channelHealth,
  signerActivity,
  type ChannelHealth,
} from '../../../protocol/control/signer-health.ts';
import type { AuthorityHealth } from '../../../engine/timestamp/authority-record.ts';
import { hasCode, messageOf, SignpipeError } from '../../../lib/errors.ts';
import { jsonOrNull } from '../../../lib/json.ts';

const time = z.iso.datetime();

const healthSchema = z.object({
  version: z.literal(1),
  /** The process that wrote this, when it began, and when it wrote it. */
  pid: z.int(),
  started: time,
  written: time,
  /** Whether the signer was stopped, and wrote this last. */
  ended: z.boolean(),
  channels: z.array(channelHealth),
  /** Requests that wait for what a channel is without, and when each was first tried. */
  requests: z.array(z.object({ id: z.string(), channel: z.string(), first: time })),
  // An earlier version did not report them.
  ...signerActivity.partial().shape,
});

/**
 * What a running signer reports about itself: `health.json` in its state folder. Readers ignore keys that they do not
 * know. It holds no secret and no path.
 */
export type SignerHealth = z.infer<typeof healthSchema>;

export const HEALTH = 'health.json';

/** An authority's health, with times as texts. */
export function authorityHealth(health: AuthorityHealth): ChannelHealth['authorities'][number] {
  const { lastSuccess, lastFailure } = health;
  return {
    ...health,
    lastSuccess: lastSuccess?.toISOString() ?? null,
    lastFailure: lastFailure && { ...lastFailure, at: lastFailure.at.toISOString() },
  };
}

const unknown = (file: string, why: string, hint: string, cause?: unknown): SignpipeError =>
  new SignpipeError('local', 'status-unknown', `${file}: ${why}`, { hint, cause });

/** Reads what the signer that uses a state folder reported last. Throws `status-unknown`. */
export async function readHealth(state: string): Promise<SignerHealth> {
  const file = join(state, HEALTH);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (hasCode(error, 'ENOENT'))
      throw unknown(file, 'no signer has written it yet', 'start the signer: signpipe watch', error);
    throw unknown(file, messageOf(error), 'use the account of the signer', error);
  });
  const health = healthSchema.safeParse(jsonOrNull(text));
  if (health.success) return health.data;
  throw unknown(file, 'is damaged', 'the running signer writes it again within a minute', health.error);
}

/** What `readHealth` reads; null if it cannot be read. */
export const readHealthOrNull = (state: string): Promise<SignerHealth | null> =>
  readHealth(state).catch((error: unknown) => {
    if (error instanceof SignpipeError) return null;
    throw error;
  });

/** A running signer writes every minute; after this, in ms, it hangs, or another process has its number. */
const SILENT = 180_000;

/** Whether the signer should have written this again. */
export const isSilent = ({ written }: SignerHealth, now: Date): boolean =>
  now.getTime() - Date.parse(written) > SILENT;

/** Whether the signer that wrote this still runs, as far as this machine's process table shows. */
export function isRunning({ pid, ended }: SignerHealth): boolean {
  if (ended) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another account.
    return hasCode(error, 'EPERM');
  }
}
