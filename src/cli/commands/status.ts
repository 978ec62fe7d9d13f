import { loadSignerConfig } from '../../app/config/signer.ts';
import { isRunning, readHealth } from '../../app/signer/state/health.ts';
import { statusText } from '../output/status-text.ts';
import { print, printJson, type CommonOptions } from '../output/terminal.ts';

interface StatusCommandOptions extends CommonOptions {
  readonly config: string;
  readonly json?: boolean;
}

/**
 * `signpipe status`: what the signer reported last, from its state folder alone; no lock is taken, and no host is asked.
 * The exit status is 0 if the signer runs, and 1 if it does not, or has never run.
 */
export async function statusCommand({ config, json }: StatusCommandOptions): Promise<number> {
  const health = await readHealth((await loadSignerConfig(config)).state);
  const running = isRunning(health);
  if (json) printJson({ signers: [{ running, ...health }] });
  else print(statusText(health, new Date()));
  return running ? 0 : 1;
}
