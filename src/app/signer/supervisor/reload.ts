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
 * time. A judgement opens keys, so what is asked for while another waits is answered by that one, and nothing is judged once
 * a configuration will be used: it is then read from the file. Returns the function that stops this.
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
  let isOver = false;
  let waiting: Reason | null = null;
  const answer = async (): Promise<void> => {
    const reason = waiting;
    waiting = null;
    if (isOver || reason === null) return;
    clearTimeout(again);
    manager.reloading();
    const judgement = await judge(reason);
    manager.ready();
    if (isOver) return;
    if (judgement === 'usable') {
      isOver = true;
      use();
    }
    if (judgement === 'later') again = setTimeout(() => ask(reason), JUDGED_AGAIN_AFTER).unref();
  };
  const ask = (reason: Reason): void => {
    if (waiting === null) judging = judging.then(answer);
    if (waiting !== 'SIGHUP') waiting = reason;
  };
  const onHangup = (): void => ask('SIGHUP');
  if (hangup) process.on('SIGHUP', onHangup);
  const stopLooking = onFileChange(file, () => ask('changed'), { known: version });
  return () => {
    isOver = true;
    stopLooking();
    clearTimeout(again);
    process.off('SIGHUP', onHangup);
  };
}
