import type { PublishedPolicy } from '../../../src/protocol/control/published-policy.ts';

/** A policy of one channel, as a signer publishes it. */
export const policyOf = (change: Partial<PublishedPolicy['channels'][string]>): PublishedPolicy => ({
  version: 1,
  channels: {
    default: {
      vouches: 0,
      delay: 0,
      unsignedRequests: 'reject',
      pins: 'require',
      requesters: ['*'],
      names: ['**'],
      files: ['**/*.exe'],
      timestamped: true,
      ...change,
    },
  },
});
