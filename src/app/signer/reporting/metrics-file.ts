import { statfs } from 'node:fs/promises';
import { writeAtomically } from '../../../lib/bytes/atomic-file.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { AnswerCounters } from './answer-counters.ts';
import { metricsOf } from './metrics.ts';
import { metricsText } from './metrics-text.ts';
import type { Observation, Reporter } from './observation.ts';

/** How often the file is written, in ms. */
const EVERY = 15_000;

/** Keeps `metrics.file` for node_exporter's textfile collector. */
export class MetricsFile implements Reporter {
  private readonly counters = new AnswerCounters();
  private readonly started: Date;
  private due = Number.NEGATIVE_INFINITY;
  private writing: Promise<void> = Promise.resolve();
  private logged = '';

  constructor(
    private readonly context: SignerContext,
    private readonly file: string,
  ) {
    this.started = context.now();
    context.activity.listen(this.counters);
  }

  report(observation: Observation): void {
    if (performance.now() < this.due) return;
    this.due = performance.now() + EVERY;
    this.write(observation, true);
  }

  /** Resolves when the file is written. */
  get settled(): Promise<void> {
    return this.writing;
  }

  close(observation: Observation): Promise<void> {
    this.write(observation, false);
    return this.writing;
  }

  private write(observation: Observation, up: boolean): void {
    this.writing = this.writing
      .then(() => this.writeNow(observation, up))
      .catch((error: unknown) => this.warn(error));
  }

  private async writeNow(observation: Observation, up: boolean): Promise<void> {
    const { counters, started } = this;
    const { bavail, bsize } = await statfs(this.context.config.state);
    const text = metricsText(metricsOf(observation, { counters, up, started, diskFree: bavail * bsize }));
    await writeAtomically(this.file, async (file) => {
      await file.writeFile(text);
      // Whatever the umask: node_exporter has an account of its own.
      await file.chmod(0o644);
    });
    this.logged = '';
  }

  private warn(error: unknown): void {
    // The message has the temporary name, which differs each time.
    const reason = error instanceof Error && 'code' in error ? String(error.code) : messageOf(error);
    if (reason === this.logged) return;
    this.logged = reason;
    const hint =
      'the folder must exist and be writable for the signer; with the systemd unit, name it in ReadWritePaths=';
    this.context.log.warn(
      { code: 'metrics-not-written', hint },
      `${this.file}: cannot be written: ${reason}`,
    );
  }
}
