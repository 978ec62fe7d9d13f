import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { usage } from '../../lib/errors.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { fetchHeartbeats } from './read-heartbeats.ts';
import { ControlRepository, type Branches } from './repository.ts';

/** Whether this names a repository elsewhere, not a folder. */
export const isUrl = (repo: string): boolean =>
  /^[a-z][a-z0-9+.-]*:\/\//.test(repo) || (/^[^/]+:/.test(repo) && !existsSync(repo));

/** A control repository that is kept open. */
export interface OpenRepository {
  readonly repository: ControlRepository;
  /** Brings it up to date: fetches from the URL. A folder is read as it is. */
  readonly refresh: (signal?: AbortSignal) => Promise<void>;
  /** Brings the signers' heartbeats up to date, in the same way. */
  readonly refreshHeartbeats: () => Promise<void>;
}

const ready = (): Promise<void> => Promise.resolve();

/** Opens a control repository that a command line names, for `use`; fetches nothing before `refresh`. */
export async function withOpenRepository<T>(
  repo: string,
  { requests, receipts }: Pick<Branches, 'requests' | 'receipts'>,
  use: (open: OpenRepository) => Promise<T>,
): Promise<T> {
  const branches = { requests, receipts };
  if (!isUrl(repo)) {
    const repository = await ControlRepository.openExisting(repo, branches);
    return useAndClose({ repository, refresh: ready, refreshHeartbeats: ready }, use);
  }
  return withTempFolder(async (folder) => {
    const path = join(folder, 'control.git');
    const repository = await ControlRepository.open({ url: repo, path, branches });
    const refresh = (signal?: AbortSignal): Promise<void> => fetchBranches(repository, signal);
    const refreshHeartbeats = (): Promise<void> => fetchHeartbeats(repository);
    return useAndClose({ repository, refresh, refreshHeartbeats }, use);
  });
}

/**
 * Opens a control repository that a command line names, to read it: a folder is read as it is; from a URL everything
 * is fetched into a temporary clone.
 */
export function withRepository<T>(
  repo: string,
  options: Pick<Branches, 'requests' | 'receipts'>,
  use: (repository: ControlRepository) => Promise<T>,
): Promise<T> {
  return withOpenRepository(repo, options, async ({ repository, refresh }) => {
    await refresh();
    return use(repository);
  });
}

async function useAndClose<T>(open: OpenRepository, use: (open: OpenRepository) => Promise<T>): Promise<T> {
  try {
    return await use(open);
  } finally {
    open.repository.close();
  }
}

async function fetchBranches(repository: ControlRepository, signal?: AbortSignal): Promise<void> {
  const { requests, receipts } = await repository.fetch(signal);
  if (requests !== null || receipts !== null) return;
  const { branches } = repository;
  throw usage(
    'control-no-branches',
    `${repository.url}: it has neither a branch ${branches.requests} nor a branch ${branches.receipts}`,
    {
      hint: 'is this the control repository? If its branches have other names, give --requests and --receipts',
    },
  );
}
