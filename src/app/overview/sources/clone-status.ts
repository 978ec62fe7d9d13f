import { homedir } from 'node:os';
import { join } from 'node:path';
import { sha256Hex } from '../../../lib/bytes/hash.ts';
import { usage } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { HEALTH_REFS } from '../../../protocol/control/heartbeat.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { readOverview } from '../read-overview.ts';
import { listedKeys } from './fetching-status.ts';
import type { StatusReport } from './status-source.ts';

export interface CloneStatusOptions {
  /** Files of allowed signers; the second for receipts alone. */
  readonly allowedSigners?: string | undefined;
  readonly receiptSigners?: string | undefined;
  /** Requests up to this commit need no answer. */
  readonly after?: string | undefined;
}

/** The folder for what can be made again at any time: `XDG_CACHE_HOME` if it is an absolute path, as its specification says. */
function cacheFolder(): string {
  const folder = process.env['XDG_CACHE_HOME'] ?? '';
  return join(folder.startsWith('/') ? folder : join(homedir(), '.cache'), 'signpipe');
}

/** The file for what was read of a repository that must not be written to. */
function checkpointOf({ path, branches }: ControlRepository): string {
  const { requests, receipts } = branches;
  return join(cacheFolder(), `overview-${sha256Hex([path, requests, receipts].join('\0')).slice(0, 32)}`);
}

/** A clone by `git clone` has no heartbeats, and its own configuration could run anything if it were fetched into. */
const withoutHeartbeats = ({ path }: ControlRepository): string =>
  `no signer is heard from in this clone; if it has a remote: git -C ${printable(path, 500)} fetch origin '+${HEALTH_REFS}*:${HEALTH_REFS}*'`;

/** The status for a reader with nothing but a repository and a list of keys. `kept`: the repository is there the next time too. */
export async function cloneStatus(
  repository: ControlRepository,
  { allowedSigners, receiptSigners, after }: CloneStatusOptions,
  { now, kept }: { readonly now: Date; readonly kept: boolean },
): Promise<StatusReport> {
  if (allowedSigners === undefined)
    throw usage(
      'status-signers-missing',
      'whose signatures count? The repository itself cannot decide that',
      {
        hint: 'give --allowed-signers FILE, OpenSSH’s format: builders, vouchers and the signer’s receipt key; or -c with a configuration',
      },
    );
  const overview = await readOverview(repository, {
    ...(await listedKeys({ allowedSigners, receiptSigners })),
    ...(after === undefined ? {} : { after: await repository.resolveCommit(after) }),
    now,
    checkpoint: kept ? checkpointOf(repository) : null,
  });
  const heard = await repository.refsBelow(HEALTH_REFS, 1);
  return { overview, notes: kept && heard.size === 0 ? [withoutHeartbeats(repository)] : [] };
}
