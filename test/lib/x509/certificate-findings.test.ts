import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { NULL, oid, seq } from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { certificateFindings } from '../../../src/lib/x509/certificate-findings.ts';
import { newKeyFinding, successorFindings } from '../../../src/lib/x509/successor-findings.ts';
import { makeAuthority, makeCodeSigner, newKey, type KeyPair, type Recipe } from './certificate-maker.ts';

const DAY = 86_400_000;
const day = (text: string): Date => new Date(`${text}T00:00:00Z`);
const daysAfter = (date: Date, days: number): Date => new Date(date.getTime() + days * DAY);

const rsa = (modulusLength: number): KeyPair => generateKeyPairSync('rsa', { modulusLength });
const [short, strong, ec] = [rsa(2048), rsa(3072), newKey()];
const authority = makeAuthority({ name: 'Authority' });

const policies = (...policy: string[]) => ({
  oid: OID.certificatePolicies,
  critical: false,
  value: seq(...policy.map((each) => seq(oid(each)))),
});
/** As public authorities issue it: their own policy beside the reserved one. */
const PUBLIC = policies('1.3.6.1.4.1.99999.1', OID.codeSigningPolicy);
const FROM = day('2026-06-01');

const made = (recipe: Partial<Recipe> = {}) =>
  makeCodeSigner({
    name: 'Publisher',
    by: authority,
    key: strong,
    from: FROM,
    until: daysAfter(FROM, 459),
    extensions: [PUBLIC],
    ...recipe,
  }).certificate;

const codes = (recipe: Partial<Recipe>): string[] =>
  certificateFindings(made(recipe)).map(({ code, message, hint }) => {
    assert.ok(message.length > 20 && hint.length > 20);
    return code;
  });

describe('certificateFindings', () => {
  it('has none for a certificate as public authorities issue it now', () => assert.deepEqual(codes({}), []));

  it('nor for one with the policy for extended validation', () =>
    assert.deepEqual(codes({ extensions: [policies(OID.extendedValidation)] }), []));

  it('certificate-ec: whoever issued it', () => {
    assert.deepEqual(codes({ key: ec }), ['certificate-ec']);
    assert.deepEqual(codes({ key: ec, extensions: [] }), ['certificate-ec', 'certificate-not-public']);
  });

  it('certificate-rsa-short: below 3072 bits from a public authority, since 2021-06-01', () => {
    assert.deepEqual(codes({ key: short }), ['certificate-rsa-short']);
    const until = day('2023-05-31');
    assert.deepEqual(codes({ key: short, from: day('2021-06-01'), until }), ['certificate-rsa-short']);
    assert.deepEqual(codes({ key: short, from: day('2021-05-31'), until }), []);
    assert.deepEqual(codes({ key: short, extensions: [] }), ['certificate-not-public']);
  });

  it('certificate-valid-long: more than 460 days from a public authority, since 2026-03-01', () => {
    const valid = (from: string, days: number) => ({ from: day(from), until: daysAfter(day(from), days) });
    assert.deepEqual(codes(valid('2026-03-01', 461)), ['certificate-valid-long']);
    assert.deepEqual(codes(valid('2026-03-01', 460)), []);
    assert.deepEqual(codes(valid('2026-02-28', 1096)), []);
    assert.deepEqual(codes({ ...valid('2026-03-01', 3650), extensions: [] }), ['certificate-not-public']);
  });

  it('certificate-not-public: no reserved policy, or policies that cannot be read', () => {
    for (const extensions of [
      [],
      [policies('2.23.140.1.4.2')],
      [{ ...PUBLIC, value: NULL }],
      [{ ...PUBLIC, value: seq(oid(OID.codeSigningPolicy)) }],
    ])
      assert.deepEqual(codes({ extensions }), ['certificate-not-public']);
    assert.deepEqual(codes({ extensions: [], from: day('2019-01-01'), until: day('2022-01-01') }), []);
  });

  it('certificate-lifetime-signing', () =>
    assert.deepEqual(codes({ purposes: [OID.codeSigning, OID.lifetimeSigning] }), [
      'certificate-lifetime-signing',
    ]));

  it('has nothing to say about a key that cannot be read', () => {
    const certificate = made({ key: ec });
    Object.defineProperty(certificate, 'publicKey', {
      get: () => {
        throw new Error('unreadable');
      },
    });
    assert.deepEqual(certificateFindings(certificate), []);
  });

  it('none for a test certificate, which Windows does not trust anyway', () => {
    const test = { oid: OID.signpipeTest, critical: false, value: NULL };
    assert.deepEqual(codes({ key: ec, extensions: [test], from: FROM, until: daysAfter(FROM, 3650) }), []);
  });
});

describe('newKeyFinding', () => {
  it('certificate-new-key: another key than that of the newest receipt, under the same subject', () => {
    assert.equal(newKeyFinding(made(), made({ key: short }))?.code, 'certificate-new-key');
    assert.equal(newKeyFinding(made(), made()), null);
    assert.equal(newKeyFinding(made(), made({ key: short, name: 'Another' })), null);
  });
});

describe('successorFindings', () => {
  const current = made();
  const next = (recipe: Partial<Recipe> = {}) =>
    made({ from: day('2027-08-01'), until: day('2028-09-01'), ...recipe });
  const found = (certificate = next(), from = day('2027-08-15')): string[] =>
    successorFindings({ current, next: certificate, from }).map(({ code }) => code);

  it('has none for the same key and identity, at a date when both are valid', () =>
    assert.deepEqual(found(), []));

  it('successor-same', () => assert.deepEqual(found(current), ['successor-same']));

  it('successor-new-key: under the old subject', () =>
    assert.deepEqual(found(next({ key: short })), ['successor-new-key']));

  it('successor-other-identity: another subject, or another issuer', () => {
    assert.deepEqual(found(next({ name: 'Publisher, renamed', key: short })), ['successor-other-identity']);
    const by = makeAuthority({ name: 'Another authority' });
    assert.deepEqual(found(next({ by })), ['successor-other-identity']);
  });

  it('successor-late: a date after the certificate in use expires', () => {
    assert.deepEqual(found(next(), current.notAfter), []);
    assert.deepEqual(found(next(), daysAfter(current.notAfter, 1)), ['successor-late']);
  });

  it('successor-gap: not valid yet when it takes over', () => {
    assert.deepEqual(found(next(), day('2027-07-31')), ['successor-gap']);
    const late = next({ from: daysAfter(current.notAfter, 1) });
    assert.deepEqual(found(late, daysAfter(current.notAfter, 2)), ['successor-late', 'successor-gap']);
  });
});
