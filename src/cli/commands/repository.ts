import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ControlRepository, type Branches } from '../../protocol/control/repository.ts';
import { usage } from '../../lib/errors.ts';
import { withScratch } from '../../lib/bytes/temp-folder.ts';

const isUrl = (repo: string): boolean =>
  /^[a-z][a-z0-9+.-]*:\/\//.test(repo) || (/^[^/]+:/.test(repo) && !existsSync(repo));

/** A control repository named on the command line: a folder is read where it lies; from a URL everything is fetched, and forgotten afterwards. */
export async function withRepository<T>(
  repo: string,
  { requests, receipts }: Pick<Branches, 'requests' | 'receipts'>,
  use: (repository: ControlRepository) => Promise<T>,
): Promise<T> {
  const branches = { requests, receipts };
  const using = async (repository: ControlRepository): Promise<T> => {
    try {
      return await use(repository);
    } finally {
      repository.close();
    }
  };
  if (!isUrl(repo)) return using(await ControlRepository.openExisting(repo, branches));
  return withScratch(async (folder) => {
    const repository = await ControlRepository.open({
      url: repo,
      path: join(folder, 'control.git'),
      branches,
    });
    return using(await fetched(repository));
  });
}

async function fetched(repository: ControlRepository): Promise<ControlRepository> {
  try {
    const { requests, receipts } = await repository.fetch();
    if (requests !== null || receipts !== null) return repository;
  } catch (error) {
    repository.close();
    throw error;
  }
  repository.close();
  const { branches } = repository;
  throw usage(
    'control-no-branches',
    `${repository.url}: it has neither a branch ${branches.requests} nor a branch ${branches.receipts}`,
    { hint: 'is this the control repository? Branches of other names have to be named' },
  );
}
