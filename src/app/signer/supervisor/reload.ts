import { onFileChange } from './config-changes.ts';
import type { ServiceManager } from './service-manager.ts';

/** Why a configuration is read again. After SIGHUP, keys are opened again too, even if it is the same. */
export type Reason = 'SIGHUP' | 'changed';

/** What a program makes of a configuration that it has read again; `later`: it cannot be judged yet. */
export type Judgement = 'usable' | 'unusable' | 'unchanged' | 'later';

interface ReloadOptions {
  readonly file: string;
  /** The version of the file that is in use; see `fileVersion`. */
  readonly version: string | null;
  /** Whether SIGHUP asks for the configuration to be read again. On a terminal it ends the process like any other. */
  readonly hangup: boolean;
  readonly manager: ServiceManager;
  /** Judges the configuration as it is in the file now. */
  readonly judge: (reason: Reason) => Promise<Judgement>;
  /** Begins to use it. */
  readonly use: () => void;
}

/** The pause before a configuration is judged again that could not be, in ms. */
const JUDGED_AGAIN_AFTER = 60_000;

/**
 * Has a configuration judged, and used if it can be, at each SIGHUP and whenever its file has changed, one judgement at a
 * time. Returns the function that stops this.
 */
export function onNewConfiguration({
  file,
  version,
  hangup,
  manager,
  judge,
  use,
}: ReloadOptions): () => void {
  let judging: Promise<void> = Promise.resolve();
  let again: NodeJS.Timeout | undefined;
  let stopped = false;
  const answer = async (reason: Reason): Promise<void> => {
    if (stopped) return;
    clearTimeout(again);
    manager.reloading();
    const judgement = await judge(reason);
    manager.ready();
    if (stopped) return;
    if (judgement === 'usable') use();
    if (judgement === 'later') again = setTimeout(() => ask(reason), JUDGED_AGAIN_AFTER).unref();
  };
  const ask = (reason: Reason): void => void (judging = judging.then(() => answer(reason)));
  const onHangup = (): void => ask('SIGHUP');
  if (hangup) process.on('SIGHUP', onHangup);
  const stopLooking = onFileChange(file, () => ask('changed'), { known: version });
  return () => {
    stopped = true;
    stopLooking();
    clearTimeout(again);
    process.off('SIGHUP', onHangup);
  };
}
