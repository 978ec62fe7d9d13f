import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { ActivityListener } from '../context/activity.ts';
import { Histogram, type Sample } from './metrics-text.ts';

/** Of requests, in seconds: most take less than one, a large release minutes, one with a time lock hours or days. */
const BOUNDS = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400];

/** The stages of a signed request, by the times in its receipt that begin and end them. */
const STAGES = [
  ['fetch', 'seen', 'fetched'],
  ['sign', 'fetched', 'signed'],
  ['deliver', 'signed', 'delivered'],
  ['answer', 'delivered', 'answered'],
] as const;

const secondsBetween = (from: string, to: string): number => (Date.parse(to) - Date.parse(from)) / 1000;

/** Counts answers and how long they took, since the start of the process. */
export class AnswerCounters implements ActivityListener {
  private readonly outcomes = new Map<string, number>([
    ['signed', 0],
    ['rejected', 0],
    ['failed', 0],
  ]);
  private readonly stages = new Map<string, { sum: number; count: number }>(
    STAGES.map(([stage]) => [stage, { sum: 0, count: 0 }]),
  );
  private readonly durations = new Histogram(BOUNDS);

  answered({ outcome, times }: Receipt): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    this.durations.add(secondsBetween(times.seen, times.answered));
    for (const [stage, begin, end] of STAGES) {
      const [from, to] = [times[begin], times[end]];
      const total = this.stages.get(stage);
      if (!total || from === undefined || to === undefined) continue;
      total.sum += Math.max(0, secondsBetween(from, to));
      total.count += 1;
    }
  }

  get requests(): Sample[] {
    return [...this.outcomes].map(([outcome, value]) => ({ labels: { outcome }, value }));
  }

  get requestSeconds(): Sample[] {
    return this.durations.samples();
  }

  get stageSeconds(): Sample[] {
    return [...this.stages].flatMap(([stage, { sum, count }]) => [
      { suffix: '_sum', labels: { stage }, value: sum },
      { suffix: '_count', labels: { stage }, value: count },
    ]);
  }
}
