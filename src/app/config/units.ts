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

const SECONDS: ReadonlyMap<string, number> = new Map([
  ['s', 1],
  ['m', 60],
  ['h', 3600],
  ['d', 86_400],
]);

/** `8GiB`, `500 MB` or plain bytes, as a number of bytes; undefined when it is none of these. */
export function parseBytes(text: string): number | undefined {
  const found = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]*)$/.exec(text);
  const unit = BYTES.get(found?.[2] ?? '?');
  const bytes = Number(found?.[1]) * (unit ?? Number.NaN);
  return Number.isFinite(bytes) && bytes <= Number.MAX_SAFE_INTEGER ? Math.floor(bytes) : undefined;
}

/** `30s`, `10m`, `1h30m`, `2d`, as milliseconds; undefined when it is no such thing. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d{1,9}[smhd])+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(?<!\d)(\d+)([smhd])/g)];
  return parts.reduce(
    (sum, [, count, unit]) => sum + Number(count) * (SECONDS.get(unit ?? '') ?? 0) * 1000,
    0,
  );
}
