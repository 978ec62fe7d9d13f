/** Replaces what differs from run to run, so that pictures of the same output are the same. */
import { createHash } from 'node:crypto';

const DIGITS = 7;
/** Ids and digests; a word of letters or a plain number is neither. */
const HEX = /\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b/g;
const FINGERPRINT = /SHA256:[A-Za-z0-9+/]{43}/g;
/** Times, and what a machine measures. */
const MEASURED: readonly (readonly [RegExp, string])[] = [
  [/\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, '2026-01-31T09:30:00Z'],
  [/\b20\d\d-\d\d-\d\d \d\d:\d\d(?!:)/g, '2026-01-31 09:30'],
  [/\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d/g, '2026-01-31 09:30:00'],
  [/\b20\d\d-\d\d-\d\d(?![T ]\d\d:)/g, '2027-01-31'],
  [/ {2}\(\d+\.\d s\)/g, ''],
  [/\b\d+ ms\b/g, '50 ms'],
  [/\b\d+(?:\.\d+)? GiB free/g, '50 GiB free'],
  [/(?<= )\d+s(?=…? )/g, '2s'],
  [/\b\d+ s ago/g, '8 s ago'],
  [/\bafter \d+ s\b/g, 'after 3 s'],
  [/\b127\.0\.0\.1:\d+/g, '127.0.0.1:8000'],
];

/** Digests are numbered as they appear; one that is shown whole and shortened stays the same. */
export class StableText {
  private readonly known = new Map<string, string>();

  constructor(private readonly folders: ReadonlyMap<string, string>) {}

  replace(text: string): string {
    let result = text;
    for (const [folder, name] of this.folders) result = result.replaceAll(folder, name);
    for (const [pattern, by] of MEASURED) result = result.replace(pattern, by);
    return this.digests(result);
  }

  /** Replaces only digests and fingerprints. */
  digests(text: string): string {
    return text
      .replace(HEX, (hex) => this.standIn(hex, 'hex').slice(0, hex.length))
      .replace(FINGERPRINT, (name) => `SHA256:${this.standIn(name, 'base64').slice(0, 43)}`);
  }

  private standIn(value: string, encoding: 'hex' | 'base64'): string {
    const key = value.slice(0, encoding === 'hex' ? DIGITS : undefined);
    const standIn =
      this.known.get(key) ?? createHash('sha256').update(`picture ${this.known.size}`).digest(encoding);
    this.known.set(key, standIn);
    return standIn;
  }
}
