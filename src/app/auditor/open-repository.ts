import { join } from 'node:path';
import { fetchHeartbeats } from '../../protocol/control/read-heartbeats.ts';
import type { OpenRepository } from '../../protocol/control/with-repository.ts';
import type { AuditorConfig } from '../config/auditor.ts';
import { openControl, sshOptionsOf } from '../config/open.ts';

/** Opens an auditor's clone for some work. Nothing is fetched before `refresh`. */
export async function withAuditedRepository<T>(
  config: AuditorConfig,
  warn: (message: string) => void,
  use: (open: OpenRepository) => Promise<T>,
): Promise<T> {
  const ssh = await sshOptionsOf(config, warn);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  const refresh = async (signal?: AbortSignal): Promise<void> => void (await repository.fetch(signal));
  try {
    return await use({ repository, refresh, refreshHeartbeats: () => fetchHeartbeats(repository) });
  } finally {
    repository.close();
  }
}
