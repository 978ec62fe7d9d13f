import { z } from 'zod';
import { duration } from './common-sections.ts';

const timestampUrl = z.string().regex(/^https?:\/\/\S+$/, 'must be an http:// or https:// URL');

/** The ways to an authority: from this machine, or through the SSH host of the exchange. */
const WAYS = ['direct', 'ssh'] as const;

/** The longest pause between two requests to an authority, in ms: longer ones no timestamp would wait for. */
const LONGEST_EVERY = 60_000;

const authority = z.strictObject({
  url: timestampUrl,
  via: z.enum(WAYS, `must be one of ${WAYS.join(', ')}`).default('direct'),
  every: duration.refine((ms) => ms <= LONGEST_EVERY, 'must be at most 1m').optional(),
});

/** `signing.timestamp`: each authority is a URL, or `{ url, via, every }`. Its output always has the second form. */
export const timestampAuthorities = z
  .array(z.preprocess((value) => (typeof value === 'string' ? { url: value } : value), authority))
  .max(16);

/** A timestamp authority, and the way to it. */
export type TimestampAuthority = z.output<typeof authority>;

/** Refuses `via: ssh` unless the exchange is on an SSH host. `path` is where the list is in the configuration. */
export function requireTunnelHost(
  exchange: { readonly url: string },
  authorities: readonly TimestampAuthority[] | undefined,
  path: readonly string[],
  context: z.RefinementCtx,
): void {
  if (!exchange.url.startsWith('file:')) return;
  for (const [index, { via }] of (authorities ?? []).entries())
    if (via === 'ssh')
      context.addIssue({
        code: 'custom',
        path: [...path, index, 'via'],
        message: 'ssh needs an exchange on an SSH host, and exchange.url is a folder: write direct',
      });
}
