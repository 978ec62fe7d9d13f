/** A strict parser of Prometheus' text format (exposition format 0.0.4), for what node_exporter's textfile collector accepts. */
import assert from 'node:assert/strict';

/** Values by series, as the file writes them: `name{label="value"}`. */
export type ParsedMetrics = ReadonlyMap<string, number>;

const SUFFIXES: Readonly<Record<string, RegExp>> = {
  counter: /^$/,
  gauge: /^$/,
  histogram: /^_(?:bucket|sum|count)$/,
  summary: /^_(?:sum|count)$/,
};

const SERIES =
  /^([a-z_][a-z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*")(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? (-?[0-9.e+-]+)$/;

/** Parses a file; fails on anything that is not allowed: no timestamps, one HELP and TYPE before each metric, no series twice. */
export function parseMetrics(text: string): ParsedMetrics {
  assert.ok(text.endsWith('\n'));
  const values = new Map<string, number>();
  const types = new Map<string, string>();
  let current = '';
  const lines = text.slice(0, -1).split('\n');
  for (const [index, line] of lines.entries()) {
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      assert.match(lines[index + 1] ?? '', new RegExp(`^# TYPE ${name} `));
      continue;
    }
    if (keyword === 'TYPE') {
      assert.ok(!types.has(name), `${name} twice`);
      assert.ok(rest in SUFFIXES, rest);
      if (rest === 'counter') assert.match(name, /_total$/);
      types.set(name, rest);
      current = name;
      continue;
    }
    const [, series = '', labels = '', value = ''] =
      SERIES.exec(line) ?? assert.fail(`not a series: ${line}`);
    assert.ok(series.startsWith(current), `${series} is not of ${current}`);
    assert.match(series.slice(current.length), SUFFIXES[types.get(current) ?? ''] ?? /^\b$/);
    assert.ok(!values.has(series + labels), `${series}${labels} twice`);
    assert.ok(Number.isFinite(Number(value)), value);
    values.set(series + labels, Number(value));
  }
  return values;
}
