import { z } from 'zod';
import { duration } from './common-sections.ts';

/** The URL of a timestamp authority. */
export const authorityUrl = z.string().regex(/^https?:\/\/\S+$/, 'must be an http:// or https:// URL');

/** The ways to an authority: from this machine, through the SSH host of the exchange, or in Git by a courier. */
const WAYS = ['direct', 'ssh', 'courier'] as const;

/** The longest pause between two requests to an authority, in ms: longer ones no timestamp would wait for. */
const LONGEST_EVERY = 60_000;

/** Whether a URL has a user or a password. */
const hasCredentials = (url: string): boolean => /^https?:\/\/[^/?#]*@/.test(url);

const authority = z
  .strictObject({
    url: authorityUrl,
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

/** Refuses `via: ssh`. `path` is the place of the list in the configuration. */
function requireTunnelHost(
  authorities: readonly TimestampAuthority[] | undefined,
  path: readonly string[],
  context: z.RefinementCtx,
): void {
  for (const [index, { via }] of (authorities ?? []).entries())
    if (via === 'ssh')
      context.addIssue({
        code: 'custom',
        path: [...path, index, 'via'],
        message: 'ssh needs an exchange on an SSH host, and exchange.url is a folder: write direct',
      });
}

interface Authorities {
  readonly signing: { readonly timestamp?: readonly TimestampAuthority[] | undefined };
}

/** Refuses `via: ssh`, in any channel, unless the exchange is on an SSH host. */
export function requireTunnelHosts(
  {
    exchange,
    signing,
    channels,
  }: Authorities & {
    readonly exchange: { readonly url: string };
    readonly channels: Readonly<Record<string, Authorities>>;
  },
  context: z.RefinementCtx,
): void {
  if (!exchange.url.startsWith('file:')) return;
  requireTunnelHost(signing.timestamp, ['signing', 'timestamp'], context);
  for (const [name, own] of Object.entries(channels))
    requireTunnelHost(own.signing.timestamp, ['channels', name, 'signing', 'timestamp'], context);
}
