/** Tokens with content that is not signed: it is removed before a token is embedded, or another authority is asked. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { context } from '../../../src/lib/asn1/der.ts';
import {
  explicit,
  implicit,
  integer,
  NULL,
  octets,
  oid,
  seq,
  tlv,
} from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { requireNoExtraContent } from '../../../src/engine/authenticode/unauthenticated-data.ts';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { verifyProgram } from '../../../src/engine/artifact/verify-program.ts';
import { attribute } from '../../../src/lib/cms/build-signed-data.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import {
  createTestCertificate,
  createTestPki,
  testSigningKey,
  type TestIdentity,
  type TestPki,
} from '../../../src/sandbox/certificates.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { TimestampClient } from '../../../src/engine/timestamp/client.ts';
import { TimestampUnavailable } from '../../../src/engine/timestamp/stamp-attempts.ts';
import { trimToken } from '../../../src/engine/timestamp/token/trim-token.ts';
import {
  bytesOf,
  findingsIn,
  openBytes,
  osslsigncodeVerify,
  SIGNATURE_OK,
  source,
  TIMESTAMP_OK,
} from '../authenticode/tools.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { altered, alteringAuthority, type AlteringAuthority, type TokenParts } from './altering-authority.ts';

let pki: TestPki;
let stranger: TestIdentity;
let good: RunningAuthority;
let plain: Buffer;
const started: AlteringAuthority[] = [];
const data = Buffer.from('the signature value of a program');

before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: true });
  stranger = await createTestCertificate({ commonName: 'A stranger', purpose: 'authority' });
  good = await startTimestampAuthority({ identity: pki.timestamping });
  plain = (await new TimestampClient([good.url]).timestamp(data, 'sha256')).token;
});
after(async () => {
  for (const each of started) each.close();
  await good.close();
});

/** A CertificateList (RFC 5280 section 5.1) of valid form, without a valid signature. */
const crl = (): Buffer => {
  const algorithm = seq(oid(OID.ecdsaWithSha256));
  return seq(
    seq(algorithm, seq(), tlv(0x17, Buffer.from('260101000000Z'))),
    algorithm,
    tlv(0x03, Buffer.alloc(9)),
  );
};

/** A certificate for the intermediate's name and key that another authority signed: it verifies the leaf's signature too. */
const forgedIssuer = async (): Promise<Buffer> => {
  const { intermediate } = pki;
  assert.ok(intermediate);
  const { certificate } = await createTestCertificate({
    commonName: intermediate.certificate.commonName,
    purpose: 'authority',
    key: intermediate.key,
    issuer: stranger,
  });
  assert.ok(certificate.subjectDer.equals(intermediate.certificate.subjectDer));
  return certificate.raw;
};

/** Additions that openssl ts -verify accepts and no verifier needs. */
const extras: [string, (parts: TokenParts) => Promise<Partial<TokenParts>> | Partial<TokenParts>][] = [
  ['revocation lists', () => ({ crls: [explicit(1, crl())] })],
  [
    'revocation lists of another kind',
    () => ({ crls: [explicit(1, explicit(1, oid(OID.data), NULL))], version: integer(5) }),
  ],
  [
    'a certificate off the path',
    ({ certificates }) => ({ certificates: [...certificates, stranger.certificate.raw] }),
  ],
  [
    'a certificate off the path, first',
    ({ certificates }) => ({ certificates: [stranger.certificate.raw, ...certificates] }),
  ],
  ['its own certificate twice', ({ certificates }) => ({ certificates: [...certificates, ...certificates] })],
  [
    'an issuer of the right name and key that no root proves',
    async ({ certificates }) => ({ certificates: [...certificates, await forgedIssuer()] }),
  ],
  [
    'an attribute certificate',
    ({ certificates }) => ({
      certificates: [...certificates, implicit(2, seq(octets(data)))],
      version: integer(4),
    }),
  ],
  ['a second digest algorithm', ({ digests }) => ({ digests: [...digests, seq(oid(OID.sha512), NULL)] })],
  ['no digest algorithm', () => ({ digests: [] })],
  [
    'an unsigned attribute',
    () => ({ unsigned: [tlv(context(1), attribute('1.2.840.113549.1.9.16.2.24', octets(data)))] }),
  ],
  ['two tokens in one', () => ({ unsigned: [tlv(context(1), attribute(OID.spcTimestampToken, plain))] })],
];

const alteredWith = async (
  token: Buffer,
  change: (typeof extras)[number][1],
): Promise<(token: Buffer) => Buffer> => {
  // Made beforehand, since it takes time and does not depend on the token.
  const parts: Partial<TokenParts>[] = [];
  altered(token, (each) => {
    parts.push(each);
    return {};
  });
  const made = await change(parts[0] as TokenParts);
  return (other) => altered(other, () => made);
};

describe('a token with', () => {
  for (const [what, change] of extras) {
    it(`${what} is embedded without it`, async () => {
      const change_ = await alteredWith(plain, change);
      const dirty = change_(plain);
      assert.ok(!dirty.equals(plain), 'nothing was changed');
      const trimmed = trimToken(dirty, [pki.root.certificate], 'token');
      assert.deepEqual(trimmed.raw, plain);
      requireNoExtraContent(trimmed, 'token');
    });

    it(`${what} makes a signature that our verifier and osslsigncode find good`, async () => {
      const dirty = await alteringAuthority(good.url, await alteredWith(plain, change));
      started.push(dirty);
      const timestamper = new TimestampClient([dirty.url, good.url], { roots: [pki.root.certificate] });
      const key = testSigningKey(pki.codeSigning);
      const { content, timestamp } = await signProgram(await openBytes(buildPe()), { key, timestamper });
      const signed = await bytesOf(content);
      assert.equal(timestamp?.url, dirty.url);
      assert.deepEqual(findingsIn(await openBytes(signed)), []);
      const roots = [pki.root.certificate];
      const report = await verifyProgram(source(signed), { roots, timestampRoots: roots });
      assert.equal(report.status, 'ok', JSON.stringify(report.problems));
      const judged = await osslsigncodeVerify(signed, pki.root);
      assert.match(judged, SIGNATURE_OK);
      assert.match(judged, TIMESTAMP_OK);
    });
  }

  it('nothing more is embedded byte for byte, with and without roots', () => {
    assert.deepEqual(trimToken(plain, [pki.root.certificate], 'token').raw, plain);
    assert.deepEqual(trimToken(plain, undefined, 'token').raw, plain);
  });

  it('its root as certified by another root keeps that certificate, for machines that trust only the other root', async () => {
    const cross = await createTestCertificate({
      commonName: pki.root.certificate.commonName,
      purpose: 'authority',
      key: pki.root.key,
      issuer: stranger,
    });
    const token = altered(plain, ({ certificates }) => ({
      certificates: [...certificates, cross.certificate.raw],
    }));
    const roots = [pki.root.certificate, stranger.certificate];
    assert.deepEqual(trimToken(token, roots, 'token').raw, token);
    requireNoExtraContent(trimToken(token, roots, 'token'), 'token');
    assert.deepEqual(trimToken(token, [pki.root.certificate], 'token').raw, plain);
    assert.deepEqual(trimToken(token, undefined, 'token').raw, token);
  });

  it('a hundred certificates that certify one another is read quickly', async () => {
    const many: Buffer[] = [];
    for (let n = 0; n < 60; n += 1) {
      const { certificate } = await createTestCertificate({
        commonName: pki.intermediate?.certificate.commonName ?? '',
        purpose: 'authority',
        key: pki.intermediate?.key,
        issuer: pki.intermediate ?? undefined,
      });
      many.push(certificate.raw);
    }
    const token = altered(plain, ({ certificates }) => ({ certificates: [...certificates, ...many] }));
    const began = performance.now();
    assert.deepEqual(trimToken(token, [pki.root.certificate], 'token').raw.length < token.length, true);
    assert.ok(performance.now() - began < 1000);
  });
});

describe('an authority whose token cannot be trimmed', () => {
  const parameters = (token: Buffer): Buffer =>
    altered(token, ({ signer }) => ({
      signer: signer.map((each, at) => (at === 4 ? seq(oid(OID.ecdsaWithSha256), octets(data)) : each)),
    }));

  it('timestamp-extra-content: is skipped, and the next one is asked', async () => {
    const dirty = await alteringAuthority(good.url, parameters);
    started.push(dirty);
    const codes: string[] = [];
    const timestamper = new TimestampClient([dirty.url, good.url], {
      onFailure: (_url, { code }) => codes.push(code),
    });
    const key = testSigningKey(pki.codeSigning);
    const { timestamp } = await signProgram(await openBytes(buildPe()), { key, timestamper });
    assert.equal(timestamp?.url, good.url);
    assert.deepEqual(codes, ['timestamp-extra-content']);
    assert.equal(dirty.asked(), 1);
  });

  it('timestamp-malformed: BER, with a hint about the authority', async () => {
    // The length of the outermost SEQUENCE written as indefinite (X.690 section 8.1.3.6).
    const indefinite = (token: Buffer): Buffer => {
      const body = token.subarray(token[1] === 0x82 ? 4 : token[1] === 0x81 ? 3 : 2);
      return Buffer.concat([Buffer.of(0x30, 0x80), body, Buffer.of(0, 0)]);
    };
    const dirty = await alteringAuthority(good.url, indefinite);
    started.push(dirty);
    const error = await new TimestampClient([dirty.url], { attempts: 2, backOffMs: 1 })
      .timestamp(data, 'sha256')
      .then(
        () => assert.fail('a timestamp was given'),
        (thrown: unknown) => thrown,
      );
    assert.ok(error instanceof TimestampUnavailable && error instanceof SignpipeError);
    assert.match(error.message, /\[timestamp-malformed\]/);
    assert.match(error.hint ?? '', /^the authority does not answer in DER, as RFC 3161 requires/);
    assert.equal(error.transient, false);
    assert.equal(dirty.asked(), 1);
  });
});
