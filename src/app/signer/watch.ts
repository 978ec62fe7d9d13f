import { isAlarm, logError, RequestPoller } from './request-poller.ts';
import { onEachTick, PollSchedule, readClocks, type ClockEvent } from './schedule.ts';
import type { SignerContext } from './signer-context.ts';

function reportClock({ log }: SignerContext, by: number): void {
  const seconds = Math.round(Math.abs(by) / 1000);
  const how = by < 0 ? 'back' : 'forward';
  log.warn({ seconds: Math.round(by / 1000) }, `the clock was set ${how} by ${seconds} s: polling at once`);
}

/**
 * Polls on the configured schedule until `signal` says stop, one poll at a time; then finishes the
 * request in hand. Errors are logged and the next poll tries again: an alarm repeats until a person
 * looked, and nothing is signed meanwhile. Returns whether the last poll raised an alarm.
 */
export async function watch(context: SignerContext, signal: AbortSignal): Promise<boolean> {
  const poller = new RequestPoller(context);
  let alarmed = false;
  const look = async (): Promise<void> => {
    try {
      // What came while a request was answered need not wait for the schedule.
      while ((await poller.poll()).answered > 0 && !signal.aborted);
      alarmed = false;
    } catch (error) {
      alarmed = isAlarm(error);
      logError(context, error);
    }
  };
  const stopped = new Promise<void>((resolve) => {
    const stop = (): void => resolve(poller.stop());
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  let polling = false;
  let underway = Promise.resolve();
  const begin = (): void => {
    // A tick that finds a poll at work needs no poll of its own.
    if (polling) return;
    polling = true;
    underway = look().finally(() => (polling = false));
  };
  const schedule = new PollSchedule(
    context.config.control.poll,
    context.config.control.timezone,
    readClocks(),
  );
  const onTick = (tick: ClockEvent): void => {
    if (tick.kind === 'clock-set') reportClock(context, tick.by);
    begin();
  };
  begin();
  const stopTicking = onEachTick(schedule, onTick);
  await stopped;
  stopTicking();
  await underway;
  await schedule.close();
  return alarmed;
}
