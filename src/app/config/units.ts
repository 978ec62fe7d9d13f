const BYTES: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['B', 1],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
  ['kB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['TB', 1e12],
]);

const MILLISECONDS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Parses `8GiB`, `500 MB` or a number of bytes; returns bytes, or undefined if the text is none of these. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]*)$/.exec(text);
  const unit = BYTES.get(match?.[2] ?? '?');
  const bytes = Number(match?.[1]) * (unit ?? Number.NaN);
  return Number.isFinite(bytes) && bytes <= Number.MAX_SAFE_INTEGER ? Math.floor(bytes) : undefined;
}

/** Parses `500ms`, `30s`, `10m`, `1h30m` or `2d`; returns milliseconds, or undefined if the text is not of this form. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d{1,9}(?:ms|[smhd]))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(?<!\d)(\d+)(ms|[smhd])/g)];
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (MILLISECONDS.get(unit ?? '') ?? 0), 0);
}
