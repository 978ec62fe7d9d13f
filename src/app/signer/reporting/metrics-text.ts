/** One series of a metric: its labels and its value. */
export interface Sample {
  /** For parts of a histogram or a summary, such as `_bucket`. */
  readonly suffix?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric with all its series, which must have different labels. */
export interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  readonly help: string;
  readonly samples: readonly Sample[];
}

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

function sampleLine(name: string, { suffix = '', labels = {}, value }: Sample): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}${suffix}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`;
}

/** Metrics in Prometheus' text format, without timestamps, as node_exporter's textfile collector reads them. */
export function metricsText(metrics: readonly Metric[]): string {
  return metrics
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, type, help, samples }) => {
      const lines = new Set(samples.map((sample) => sampleLine(name, sample)));
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${[...lines].join('')}`;
    })
    .join('');
}

/** Durations in seconds, counted in buckets. Monotonic from the start of the process on. */
export class Histogram {
  private readonly counts: number[];
  private sum = 0;
  private count = 0;

  constructor(private readonly bounds: readonly number[]) {
    this.counts = bounds.map(() => 0);
  }

  add(seconds: number): void {
    const value = Math.max(0, seconds);
    this.sum += value;
    this.count += 1;
    for (const [index, bound] of this.bounds.entries())
      if (value <= bound) this.counts[index] = (this.counts[index] ?? 0) + 1;
  }

  samples(): Sample[] {
    const buckets = this.bounds.map((bound, index) => ({
      suffix: '_bucket',
      labels: { le: String(bound) },
      value: this.counts[index] ?? 0,
    }));
    return [
      ...buckets,
      { suffix: '_bucket', labels: { le: '+Inf' }, value: this.count },
      { suffix: '_sum', value: this.sum },
      { suffix: '_count', value: this.count },
    ];
  }
}
