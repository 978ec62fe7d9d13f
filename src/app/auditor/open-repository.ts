import { join } from 'node:path';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import type { AuditorConfig } from '../config/auditor.ts';
import { openControl, sshOptionsOf } from '../config/open.ts';

/** Fetches into an auditor's clone, and opens it for some work. */
export async function withAuditedRepository<T>(
  config: AuditorConfig,
  warn: (message: string) => void,
  use: (repository: ControlRepository) => Promise<T>,
): Promise<T> {
  const ssh = await sshOptionsOf(config, warn);
  const repository = await openControl(config, ssh, join(config.state, 'control.git'));
  try {
    await repository.fetch();
    return await use(repository);
  } finally {
    repository.close();
  }
}
