import { median, type Result, type Sample } from './measure.ts';

/** A target and what was measured. */
export interface Target {
  readonly what: string;
  readonly target: string;
  readonly measured: string;
}

/** Results that are compared with each other. */
export interface Group {
  readonly title: string;
  readonly results: readonly Result[];
  /** What a reader must know about them. */
  readonly notes: readonly string[];
  readonly targets?: readonly Target[];
}

export const seconds = (value: number): string =>
  value < 0.1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(value < 10 ? 2 : 1)} s`;
export const megabytes = (value: number): string => `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} MB`;

export type Metric = 'wall' | 'cpu' | 'rss' | 'scratch' | 'sent' | 'received' | 'authority';
const METRICS: readonly [metric: Metric, title: string, show: (value: number) => string][] = [
  ['cpu', 'CPU', seconds],
  ['rss', 'RSS', megabytes],
  ['scratch', 'scratch', megabytes],
  ['received', 'SSH in', megabytes],
  ['sent', 'SSH out', megabytes],
  ['authority', 'authority CPU', seconds],
];

const values = (samples: readonly Sample[], metric: Metric): number[] =>
  samples.flatMap((sample) => sample[metric] ?? []);

/** The median of a metric of one way; NaN if it was not measured. */
export function medianOf(results: readonly Result[], name: string, metric: Metric): number {
  const result = results.find((each) => each.name === name);
  return median(values(result?.samples ?? [], metric));
}

/** The target that ours is at least `least` times as fast as another way. */
export function timesAsFast(results: readonly Result[], ours: string, theirs: string, least: number): Target {
  const measured = medianOf(results, theirs, 'wall') / medianOf(results, ours, 'wall');
  return {
    what: `${ours}, to "${theirs}"`,
    target: `>= ${least}x as fast`,
    measured: `${measured.toFixed(2)}x`,
  };
}

/** The target that ours takes at most a fixed amount of something, or a multiple of what another way takes. */
export function atMost(
  results: readonly Result[],
  ours: string,
  metric: Metric,
  most: number | { readonly times: number; readonly theirs: string },
): Target {
  const [, title = 'wall', show = seconds] = METRICS.find(([each]) => each === metric) ?? [];
  const measured = medianOf(results, ours, metric);
  if (typeof most === 'number')
    return { what: `${ours}, ${title}`, target: `<= ${show(most)}`, measured: show(measured) };
  const ratio = measured / medianOf(results, most.theirs, metric);
  return {
    what: `${ours}, ${title} to that of "${most.theirs}"`,
    target: `<= ${most.times}x`,
    measured: `${ratio.toFixed(2)}x (${show(measured)})`,
  };
}

/** The ratio of a metric to that of the first of ours. */
function ratio(group: Group, result: Result, metric: 'wall' | 'cpu'): number | null {
  const ours = group.results.find((each) => each.ours);
  if (!ours || ours === result) return null;
  return median(values(result.samples, metric)) / median(values(ours.samples, metric));
}

function rowOf(group: Group, result: Result, metrics: typeof METRICS): string[] {
  const walls = values(result.samples, 'wall');
  const times = ratio(group, result, 'wall');
  const wall = `${seconds(median(walls))} (${seconds(Math.min(...walls))} to ${seconds(Math.max(...walls))})`;
  return [
    result.name,
    String(walls.length),
    wall,
    times === null || Number.isNaN(times) ? '' : `${times.toFixed(2)}x`,
    ...metrics.map(([metric, , show]) => {
      const measured = values(result.samples, metric);
      return measured.length === 0 ? '' : show(median(measured));
    }),
  ];
}

function stageLines(group: Group): string[] {
  return group.results.flatMap(({ name, samples }) => {
    const stages = [...new Set(samples.flatMap((sample) => Object.keys(sample.stages ?? {})))];
    if (stages.length === 0) return [];
    const texts = stages.map(
      (stage) => `${stage} ${seconds(median(samples.flatMap((sample) => sample.stages?.[stage] ?? [])))}`,
    );
    return [`stages of ${name}: ${texts.join(', ')}`];
  });
}

/** A group as a Markdown table. */
export function table(group: Group): string {
  const metrics = METRICS.filter(([metric]) =>
    group.results.some(({ samples }) => values(samples, metric).length > 0),
  );
  const rows = [
    ['', 'n', 'wall (min to max)', 'to ours', ...metrics.map(([, title]) => title)],
    ...group.results.map((result) => rowOf(group, result, metrics)),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const rowText = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  const targets = (group.targets ?? []).map(
    ({ what, target, measured }) => `${what}: target: ${target}; measured: ${measured}`,
  );
  const notes = [...stageLines(group), ...group.notes, ...targets].map((note) => `- ${note}`);
  return [
    `### ${group.title}`,
    '',
    rowText(head),
    rule,
    ...body.map(rowText),
    ...(notes.length ? ['', ...notes] : []),
    '',
  ].join('\n');
}

/** Groups as data for programs: every sample, and medians with ratios. */
export function machineReadable(groups: readonly Group[]): unknown {
  return groups.map((group) => ({
    ...group,
    results: group.results.map((result) => ({
      ...result,
      median: Object.fromEntries(
        (['wall', 'cpu', 'rss', 'scratch', 'sent', 'received', 'authority'] as const)
          .map((metric) => [metric, median(values(result.samples, metric))] as const)
          .filter(([, value]) => !Number.isNaN(value)),
      ),
      toOurs: { wall: ratio(group, result, 'wall'), cpu: ratio(group, result, 'cpu') },
    })),
  }));
}
