import { isAlarm } from '../../lib/errors.ts';
import { logError, RequestPoller } from './request/request-poller.ts';
import { onClockEvents, PollSchedule, readClocks, type ClockEvent } from './schedule.ts';
import type { SignerContext } from './context/signer-context.ts';

function reportClock({ log }: SignerContext, by: number): void {
  const seconds = Math.round(Math.abs(by) / 1000);
  const how = by < 0 ? 'back' : 'forward';
  log.warn({ seconds: Math.round(by / 1000) }, `the clock was set ${how} by ${seconds} s: polling at once`);
}

/**
 * Polls on the configured schedule until `signal` is aborted, one poll at a time; then finishes the current request.
 * Errors are logged, and the next poll tries again: an alarm repeats until a person has dealt with it, and nothing is
 * signed meanwhile. Returns whether the last poll raised an alarm.
 */
export async function watch(context: SignerContext, signal: AbortSignal): Promise<boolean> {
  const poller = new RequestPoller(context);
  let alarmed = false;
  const pollAll = async (): Promise<void> => {
    try {
      // Requests that came while another was answered do not wait for the schedule.
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
    // No second poll while one is under way.
    if (polling) return;
    polling = true;
    underway = pollAll().finally(() => (polling = false));
  };
  const schedule = new PollSchedule(
    context.config.control.poll,
    context.config.control.timezone,
    readClocks(),
  );
  const onEvent = (event: ClockEvent): void => {
    if (event.kind === 'clock-set') reportClock(context, event.by);
    begin();
  };
  begin();
  const stopClock = onClockEvents(schedule, onEvent);
  await stopped;
  stopClock();
  await underway;
  await schedule.close();
  return alarmed;
}
