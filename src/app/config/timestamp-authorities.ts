import { z } from 'zod';
import { duration } from './common-sections.ts';

const timestampUrl = z.string().regex(/^https?:\/\/\S+$/, 'must be an http:// or https:// URL');

/** The ways to an authority: from this machine, through the SSH host of the exchange, or in Git by a courier. */
const WAYS = ['direct', 'ssh', 'courier'] as const;

/** The longest pause between two requests to an authority, in ms: longer ones no timestamp would wait for. */
const LONGEST_EVERY = 60_000;

/** Whether a URL has a user or a password. */
const hasCredentials = (url: string): boolean => /^https?:\/\/[^/?#]*@/.test(url);

const authority = z
  .strictObject({
    url: timestampUrl,
    via: z.enum(WAYS, `must be one of ${WAYS.join(', ')}`).default('direct'),
    every: duration.refine((ms) => ms <= LONGEST_EVERY, 'must be at most 1m').optional(),
    timeout: duration.refine((ms) => ms > 0, 'must be longer than 0: 5m').optional(),
  })
  .refine(({ url, via }) => via !== 'courier' || !hasCredentials(url), {
    path: ['url'],
    message:
      'must have no user and password with via: courier, since Git would show them: write them into courier.yaml',
  });

/** `signing.timestamp`: each authority is a URL, or an object. Its output always has the second form. */
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
