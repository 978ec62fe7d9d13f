/** Heartbeats of signers in several states, for the audit page. */
import type { Heartbeat } from '../../src/protocol/control/signer-health.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 86_400 * SECOND;

/** A signer with nothing to do, whose heartbeat is a minute old. */
export function healthySigner(now: number, change: Partial<Heartbeat> = {}): Heartbeat {
  const before = (milliseconds: number): string => new Date(now - milliseconds).toISOString();
  return {
    version: 1,
    signer: '0123456789abcdef',
    name: 'Example signer',
    signpipe: '0.1.0',
    written: before(MINUTE),
    every: 300,
    started: before(41 * DAY),
    ended: false,
    heads: { requests: null, receipts: null },
    waiting: [],
    queue: 0,
    channels: [channelOf(now, 212)],
    ...change,
  };
}

/** A channel whose certificate has so many days left, with an authority that answers and one that is down. */
export const channelOf = (
  now: number,
  days: number,
  change: Partial<Heartbeat['channels'][number]> = {},
): Heartbeat['channels'][number] => ({
  name: 'default',
  certificate: {
    subject: 'C=NL, O=Example Foundation, CN=Example Foundation',
    sha256: 'ab'.repeat(32),
    notAfter: new Date(now + days * DAY).toISOString(),
  },
  authorities: [
    {
      url: 'http://timestamp.example.org/',
      circuit: 'closed',
      succeeded: 412,
      failed: 0,
      lastSuccess: new Date(now - MINUTE).toISOString(),
      lastFailure: null,
      medianMs: 118,
    },
    {
      url: 'http://timestamp.example.net/',
      circuit: 'open',
      succeeded: 9,
      failed: 5,
      lastSuccess: null,
      lastFailure: { at: new Date(now - MINUTE).toISOString(), code: 'timestamp-http' },
      medianMs: null,
    },
  ],
  ...change,
});

/** A signer in the middle of a request. */
export const signingSigner = (now: number, request: string, change: Partial<Heartbeat> = {}): Heartbeat =>
  healthySigner(now, {
    queue: 3,
    current: {
      request,
      stage: 'signing',
      since: new Date(now - 42 * SECOND).toISOString(),
      file: 'product-4.2-windows64.zip',
      done: 318,
      of: 1024,
    },
    ...change,
  });
