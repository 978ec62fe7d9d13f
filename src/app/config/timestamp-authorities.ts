import { z } from 'zod';

const timestampUrl = z.string().regex(/^https?:\/\/\S+$/, 'must be an http:// or https:// URL');

/** The ways to an authority. */
const WAYS = ['direct'] as const;

const authority = z.strictObject({
  url: timestampUrl,
  via: z.enum(WAYS, `must be one of ${WAYS.join(', ')}`).default('direct'),
});

/** `signing.timestamp`: each authority is a URL, or `{ url, via }`. Its output always has the second form. */
export const timestampAuthorities = z
  .array(z.preprocess((value) => (typeof value === 'string' ? { url: value } : value), authority))
  .max(16);

/** A timestamp authority, and the way to it. */
export type TimestampAuthority = z.output<typeof authority>;
