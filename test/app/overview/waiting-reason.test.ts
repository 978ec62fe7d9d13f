import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { certificateReason } from '../../../src/app/overview/waiting-reason.ts';
import type { PublishedPolicy } from '../../../src/protocol/control/published-policy.ts';

describe('what a request waits for, by the certificates in policy.json', () => {
  const identity = { subject: 'CN=Publisher', issuer: 'CN=Authority' };
  const certificate = { identity, sha256: 'ab', notAfter: '2027-03-01T00:00:00.000Z' };
  const text = (
    now: string,
    published: Pick<PublishedPolicy['channels'][string], 'certificate' | 'successor'>,
  ): string | null =>
    certificateReason(published as PublishedPolicy['channels'][string], new Date(now))?.text ?? null;

  it('is nothing while the certificate is valid, or if none is published', () => {
    assert.equal(text('2027-02-28T00:00:00Z', { certificate }), null);
    assert.equal(text('2027-02-28T00:00:00Z', {}), null);
  });

  it('is nothing for a service that replaces its certificate every few days', () =>
    assert.equal(text('2030-01-01T00:00:00Z', { certificate: { identity } }), null));

  it('is the renewal of a certificate that has expired', () =>
    assert.match(text('2027-03-02T00:00:00Z', { certificate }) ?? '', /expired at 2027-03-01T/));

  it('is the next certificate, if that is due and the signer has not changed to it', () => {
    const successor = { from: '2027-02-01T00:00:00.000Z' };
    assert.equal(text('2027-01-31T00:00:00Z', { certificate, successor }), null);
    assert.match(text('2027-02-02T00:00:00Z', { certificate, successor }) ?? '', /due since 2027-02-01T/);
  });
});
