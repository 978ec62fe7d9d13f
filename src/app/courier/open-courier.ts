import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { Mailbox } from '../../protocol/courier/mailbox.ts';
import type { CourierConfig } from '../config/courier.ts';
import { sshOptionsOf } from '../config/open.ts';
import { Authorities } from './authorities.ts';
import { lockState } from '../signer/state/lock.ts';
import { Courier } from './courier.ts';

/**
 * Opens a courier for some work, and closes it afterwards. Throws usage errors before anything is connected, and
 * `state-in-use` if another courier uses its state folder.
 */
export async function withCourier<T>(
  config: CourierConfig,
  log: Pick<Logger, 'info' | 'warn' | 'error'>,
  work: (courier: Courier) => Promise<T>,
): Promise<T> {
  const { allowedSigners } = config.trust;
  await AllowedSigners.load(allowedSigners);
  const authorities = new Authorities(config.authorities, config.timeout);
  const ssh = await sshOptionsOf(config, (message) => log.warn(message));
  await mkdir(config.state, { recursive: true, mode: 0o700 });
  const unlock = await lockState(config.state, 'courier');
  try {
    const path = join(config.state, 'courier.git');
    const mailbox = await Mailbox.open({ url: config.control.url, path, ssh });
    const { name, poll: pollMs } = config;
    try {
      return await work(new Courier({ mailbox, authorities, allowedSigners, name, pollMs, log }));
    } finally {
      mailbox.close();
    }
  } finally {
    await unlock();
  }
}
