import { runStopTasks } from '../../lib/at-stop.ts';

/** Ends this process with a status after which a service manager starts it again. */
export function endToRestart(): void {
  runStopTasks();
  process.exit(1);
}
