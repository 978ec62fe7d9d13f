import { loadSignerConfig } from '../../app/config/signer.ts';
import { isRunning, isSilent, readHealth } from '../../app/signer/state/health.ts';
import { statusText } from '../output/status-text.ts';
import { print, printJson, type CommonOptions } from '../output/terminal.ts';

interface StatusCommandOptions extends CommonOptions {
  readonly config: string;
  readonly json?: boolean;
}

/**
 * `signpipe status`: what the signer reported last, from its state folder alone; no lock is taken, and no host is asked.
 * The exit status is 0 if the signer runs, and 1 if it does not, is silent, or has never run.
 */
export async function statusCommand({ config, json }: StatusCommandOptions): Promise<number> {
  const health = await readHealth((await loadSignerConfig(config)).state);
  const running = isRunning(health);
  const now = new Date();
  const silent = isSilent(health, now);
  if (json) printJson({ signers: [{ running, silent, ...health }] });
  else print(statusText(health, now));
  return running && !silent ? 0 : 1;
}
