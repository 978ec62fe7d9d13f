/** Formats times, sizes, numbers and names. */
import type { AuditedIdentity } from '../app/auditor/model.ts';

/** A time to the minute, in UTC, without a line break. */
export const minute = (time: number | string | null): string =>
  time === null ? '–' : new Date(time).toISOString().slice(0, 16).replace('T', '\u00a0');

export const second = (time: string): string =>
  `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/** The beginning of a digest or commit id, long enough to distinguish it. */
export const short = (hex: string): string => hex.slice(0, 12);

export const decimal = (count: number): string => count.toLocaleString('en');

export const plural = (count: number, one: string): string =>
  `${decimal(count)} ${one}${count === 1 ? '' : 's'}`;

const UNITS: readonly (readonly [seconds: number, unit: string])[] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
];

/** A duration in its largest whole unit. */
export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  for (const [size, unit] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)}\u00a0${unit}`;
  return `${seconds}\u00a0s`;
}

/** How long ago something was, in words. */
export const ago = (milliseconds: number): string =>
  milliseconds < 5000 ? 'just now' : `${duration(milliseconds)} ago`;

const SIZES = ['bytes', 'KiB', 'MiB', 'GiB'];

export function size(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < SIZES.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${SIZES[unit] ?? ''}`;
}

/** The common name in a certificate's subject; the whole subject if it has none. */
export const commonName = (subject: string): string =>
  /(?:^|, )CN="?((?:[^",\\]|\\.)*)/.exec(subject)?.[1] ?? subject;

/** An identity as `signpipe verify --identity` takes it. */
export const identityName = (identity: AuditedIdentity['identity']): string =>
  'eku' in identity ? identity.eku : `${identity.subject}; ${identity.issuer}`;

export const capitalised = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
