import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { integer, NULL, octets, oid, seq } from '../lib/asn1/encode-der.ts';
import { OID } from '../lib/asn1/oids.ts';
import { createTestCertificate, type TestCertificateOptions, type TestIdentity } from './certificates.ts';
import { FAILURE, refuse, type ParsedRequest, type TokenContents } from './timestamp-token.ts';

/** The names of what can go wrong. */
export const MISBEHAVIOURS = [
  'hang',
  'close',
  'garbage',
  'html',
  'no-content-type',
  'octet-stream',
  'huge',
  'slow',
  'drip',
  'http-429',
  'http-500',
  'http-404',
  'redirect',
  'redirect-loop',
  'redirect-file',
  'rejection',
  'time-not-available',
  'other-nonce',
  'no-nonce',
  'other-imprint',
  'other-digest',
  'other-policy',
  'clock-ahead',
  'clock-behind',
  'expired-certificate',
  'no-purpose',
  'purpose-not-critical',
  'two-purposes',
  'no-certificate',
  'unbound',
  'bound-to-another',
  'bad-signature',
  'other-root',
] as const;

export type Misbehaviour = (typeof MISBEHAVIOURS)[number];

const REPLY = 'application/timestamp-reply';
const CLOCK_OFF_MS = 3_600_000;
const SLOW_MS = 400;
const DAY = 86_400_000;

/** Responses that are wrong at the level of HTTP, without a token. */
const WRONG_RESPONSES: Partial<Record<Misbehaviour, (response: ServerResponse) => void>> = {
  hang: () => {},
  close: (response) => response.destroy(),
  drip: (response) => response.writeHead(200, { 'content-type': REPLY }).write(Buffer.of(0x30)),
  garbage: (response) => response.writeHead(200, { 'content-type': REPLY }).end(randomBytes(600)),
  huge: (response) => response.writeHead(200, { 'content-type': REPLY }).end(Buffer.alloc(1024 * 1024, 0x30)),
  'http-429': (response) => response.writeHead(429, { 'retry-after': '1' }).end(),
  'http-500': (response) => response.writeHead(500).end('out of order'),
  'http-404': (response) => response.writeHead(404).end(),
  redirect: (response) => response.writeHead(307, { location: '/' }).end(),
  'redirect-loop': (response) => response.writeHead(302, { location: '/redirect-loop' }).end(),
  'redirect-file': (response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  rejection: (response) =>
    response
      .writeHead(200, { 'content-type': REPLY })
      .end(refuse(2, 'not\u0007today\u001b[31m', FAILURE.badAlgorithm)),
  'time-not-available': (response) =>
    response
      .writeHead(200, { 'content-type': REPLY })
      .end(refuse(2, 'the clock is broken', FAILURE.timeNotAvailable)),
};

/** Misbehaves at the level of HTTP; false if a token must still be sent. */
export async function sendWrongResponse(how: Misbehaviour, response: ServerResponse): Promise<boolean> {
  if (how === 'slow') await sleep(SLOW_MS);
  const send = WRONG_RESPONSES[how];
  send?.(response);
  return send !== undefined;
}

/** The Content-Type of a token; null for none. */
export function contentType(how: Misbehaviour | undefined): string | null {
  if (how === 'no-content-type') return null;
  if (how === 'octet-stream') return 'application/octet-stream';
  return how === 'html' ? 'text/html; charset=utf-8' : REPLY;
}

const imprintOf = (digest: string, bytes: number): Buffer =>
  seq(seq(oid(digest), NULL), octets(randomBytes(bytes)));

/** How the request is misread, so that the token answers a different one. */
const MISREAD: Partial<Record<Misbehaviour, (request: ParsedRequest) => Partial<ParsedRequest>>> = {
  'other-nonce': () => ({ nonce: integer(randomBytes(16)) }),
  'no-nonce': () => ({ nonce: null }),
  'other-imprint': (request) => ({ imprint: imprintOf(request.digestOid, request.digest.length) }),
  'other-digest': () => ({ imprint: imprintOf(OID.sha1, 20) }),
  'other-policy': () => ({ policy: '1.3.6.1.4.1.32473.9' }),
  'no-certificate': () => ({ certificates: false }),
};

type CertificateChanges = Partial<TestCertificateOptions>;

/** How certificates that must be refused differ from right ones. */
const BAD_CERTIFICATES: Partial<
  Record<Misbehaviour, () => CertificateChanges | Promise<CertificateChanges>>
> = {
  'expired-certificate': () => ({
    notBefore: new Date(Date.now() - 30 * DAY),
    notAfter: new Date(Date.now() - DAY),
  }),
  'no-purpose': () => ({ extendedKeyUsage: [] }),
  'purpose-not-critical': () => ({ extendedKeyUsageCritical: false }),
  'two-purposes': () => ({ extendedKeyUsage: [OID.timeStamping, OID.codeSigning] }),
  'other-root': async () => ({
    issuer: await createTestCertificate({ commonName: 'Another test root', purpose: 'authority' }),
  }),
  'bound-to-another': () => ({}),
};

/** Makes the contents of wrong tokens; each certificate is created once. */
export class Misbehaver {
  private readonly identities = new Map<Misbehaviour, Promise<TestIdentity>>();

  constructor(private readonly issuer: TestIdentity) {}

  async distort(contents: TokenContents, how: Misbehaviour): Promise<TokenContents> {
    const request = { ...contents.request, ...MISREAD[how]?.(contents.request) };
    const off = how === 'clock-ahead' ? CLOCK_OFF_MS : how === 'clock-behind' ? -CLOCK_OFF_MS : 0;
    const other = await this.otherIdentity(how);
    const bound = how === 'bound-to-another';
    return {
      request,
      time: new Date(contents.time.getTime() + off),
      identity: bound || !other ? contents.identity : other,
      boundTo: bound ? other : undefined,
      unbound: how === 'unbound',
      spoiled: how === 'bad-signature',
    };
  }

  private otherIdentity(how: Misbehaviour): Promise<TestIdentity> | undefined {
    const change = BAD_CERTIFICATES[how];
    if (!change) return undefined;
    const identity = this.identities.get(how) ?? this.makeIdentity(how, change);
    this.identities.set(how, identity);
    return identity;
  }

  private async makeIdentity(
    how: Misbehaviour,
    change: () => CertificateChanges | Promise<CertificateChanges>,
  ): Promise<TestIdentity> {
    const commonName = `Bad timestamp authority (${how})`;
    const usual = { commonName, purpose: 'timestamping', issuer: this.issuer } as const;
    return createTestCertificate({ ...usual, ...(await change()) });
  }
}
