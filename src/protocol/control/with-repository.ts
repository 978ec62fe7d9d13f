import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { usage } from '../../lib/errors.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { ControlRepository, type Branches } from './repository.ts';

const isUrl = (repo: string): boolean =>
  /^[a-z][a-z0-9+.-]*:\/\//.test(repo) || (/^[^/]+:/.test(repo) && !existsSync(repo));

/**
 * Opens a control repository that a command line names, to read it: a folder is read as it is; from a URL everything
 * is fetched into a temporary clone.
 */
export async function withRepository<T>(
  repo: string,
  { requests, receipts }: Pick<Branches, 'requests' | 'receipts'>,
  use: (repository: ControlRepository) => Promise<T>,
): Promise<T> {
  const branches = { requests, receipts };
  if (!isUrl(repo)) return useAndClose(await ControlRepository.openExisting(repo, branches), use);
  return withTempFolder(async (folder) => {
    const path = join(folder, 'control.git');
    const repository = await ControlRepository.open({ url: repo, path, branches });
    return useAndClose(repository, async () => {
      await fetchBranches(repository);
      return use(repository);
    });
  });
}

async function useAndClose<T>(
  repository: ControlRepository,
  use: (repository: ControlRepository) => Promise<T>,
): Promise<T> {
  try {
    return await use(repository);
  } finally {
    repository.close();
  }
}

async function fetchBranches(repository: ControlRepository): Promise<void> {
  const { requests, receipts } = await repository.fetch();
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
