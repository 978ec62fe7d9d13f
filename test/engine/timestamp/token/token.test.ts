import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { children, parseDer, readOctets } from '../../../../src/lib/asn1/der.ts';
import { explicit, integer, seq, set, tlv, utf8 } from '../../../../src/lib/asn1/encode-der.ts';
import { OID, type DigestName } from '../../../../src/lib/asn1/oids.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import {
  createTestCertificate,
  createTestPki,
  toPem,
  type TestIdentity,
  type TestPki,
} from '../../../../src/sandbox/certificates.ts';
import { FAILURE, grant, makeToken, readRequest, refuse } from '../../../../src/sandbox/timestamp-token.ts';
import type { TokenExpectation } from '../../../../src/engine/timestamp/token/token.ts';
import { checkTokenBytes } from '../../authenticode/tools.ts';
import {
  buildTimestampRequest,
  parseTimestampResponse,
} from '../../../../src/engine/timestamp/token/tsp-messages.ts';
import { OpensslFolder } from '../../keys/openssl.ts';
import { OpensslAuthority } from '../openssl-authority.ts';

let work: OpensslFolder;
let pki: TestPki;

before(async () => {
  work = await OpensslFolder.create();
  pki = await createTestPki({ key: 'p256', intermediate: true });
  await writeFile(work.path('root.pem'), toPem([pki.root.certificate]));
  await writeFile(work.path('data'), data);
});
after(() => work.remove());

const data = Buffer.from('the signature value of a program');
const nonce = randomBytes(16);
const digest = (hash: DigestName): Buffer => createHash(hash).update(data).digest();
const asked = { imprint: digest('sha256'), hash: 'sha256', nonce } as const;

/** A token for `asked` by the sandbox's own authority, at `time`. */
const ownToken = (time = new Date()): Buffer => stampedBy(pki.timestamping, time);

const stampedBy = (identity: TestIdentity, time = new Date()): Buffer =>
  makeToken({ request: readRequest(buildTimestampRequest(asked)), time, identity });

const throwsCode = (code: string, act: () => unknown): SignpipeError => {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof SignpipeError, String(error));
    assert.equal(error.code, code, error.message);
    assert.equal(error.kind, 'invalid');
    return error;
  }
  assert.fail(`accepted; expected ${code}`);
};

describe('buildTimestampRequest', () => {
  it('can be read by openssl ts -query', async () => {
    const query = buildTimestampRequest({ ...asked, policy: '1.3.6.1.4.1.32473.3' });
    await writeFile(work.path('q.tsq'), query);
    const shown = await work.openssl('ts -query -in q.tsq -text');
    assert.match(shown, /Version: 1/);
    assert.match(shown, /Hash Algorithm: sha256/);
    assert.match(shown, /Policy OID: 1\.3\.6\.1\.4\.1\.32473\.3/);
    assert.match(shown, new RegExp(`Nonce: 0x${nonce.toString('hex').replace(/^(00)+/, '')}`, 'i'));
    assert.match(shown, /Certificate required: yes/);
  });

  it('writes a nonce with its top bit set as a positive number', () => {
    const high = Buffer.alloc(8, 0xff);
    const { nonce: written } = readRequest(buildTimestampRequest({ ...asked, nonce: high }));
    assert.equal(written?.toString('hex'), '020900ffffffffffffffff');
  });
});

describe('a token by openssl ts -reply', () => {
  for (const essDigest of ['sha1', 'sha256', 'sha512'])
    for (const hash of ['sha256', 'sha512'] as const)
      it(`passes: its certificate named by ${essDigest}, imprint by ${hash}`, async () => {
        const authority = await OpensslAuthority.create(work, pki.timestamping, essDigest);
        const request = { imprint: digest(hash), hash, nonce, policy: '1.3.6.1.4.1.32473.3' };
        await writeFile(work.path('r.tsq'), buildTimestampRequest(request));
        await authority.reply('r.tsq', 'r.tsr');
        const { token } = parseTimestampResponse(await readFile(work.path('r.tsr')), 'openssl');
        const now = Date.now();
        const info = checkTokenBytes(token, {
          ...request,
          earliest: new Date(now - 60_000),
          latest: new Date(now + 60_000),
          roots: [pki.root.certificate],
        });
        assert.equal(info.certificate.commonName, 'Test timestamp authority');
        assert.equal(info.policy, '1.3.6.1.4.1.32473.3');
        assert.match(info.serial, /^100[0-9]$/);
        assert.deepEqual(
          info.chain?.map((each) => each.commonName),
          ['Test timestamp authority', 'Test intermediate', 'Test root'],
        );
      });

  it('timestamp-status: openssl refuses a policy that it does not have', async () => {
    const authority = await OpensslAuthority.create(work, pki.timestamping, 'sha256');
    await writeFile(work.path('p.tsq'), buildTimestampRequest({ ...asked, policy: '1.2.3' }));
    await authority.reply('p.tsq', 'p.tsr');
    const bytes = await readFile(work.path('p.tsr'));
    const error = throwsCode('timestamp-status', () => parseTimestampResponse(bytes, 'openssl'));
    assert.match(error.message, /rejection: unacceptedPolicy/);
  });
});

describe('a token by the sandbox', () => {
  for (const hash of ['sha256', 'sha384', 'sha512'] as const)
    it(`is verified by openssl ts -verify, for a query by openssl with ${hash}`, async () => {
      await work.openssl(`ts -query -data data -${hash} -cert -out o.tsq`);
      const request = readRequest(await readFile(work.path('o.tsq')));
      const token = makeToken({ request, time: new Date(), identity: pki.timestamping });
      await writeFile(work.path('o.tsr'), grant(token));
      const verdict = await work.openssl('ts -verify -queryfile o.tsq -in o.tsr -CAfile root.pem');
      assert.match(verdict, /Verification: OK/);
    });

  it('passes our own checks, which return what it says', () => {
    const time = pki.timestamping.certificate.notBefore;
    const info = checkTokenBytes(ownToken(time), { ...asked, policy: '1.3.6.1.4.1.32473.1.1' });
    assert.deepEqual(info.time, time);
    assert.match(info.authority, /CN=Test timestamp authority/);
    assert.match(info.serial, /^[0-9a-f]{32}$/);
    assert.equal(info.chain, null);
    assert.equal(info.certificates.length, 2);
  });

  it('passes without an expected nonce, as for a token found in a file', () => {
    checkTokenBytes(ownToken(), { imprint: asked.imprint, hash: 'sha256' });
  });
});

describe('parseTimestampResponse refuses', () => {
  it('timestamp-status, with its text made printable', () => {
    const answer = refuse(2, 'no\u0007t \u001b[31mtoday\u202e\r\nX-Fake: 1', FAILURE.timeNotAvailable);
    const error = throwsCode('timestamp-status', () => parseTimestampResponse(answer, 'tsa'));
    const shown = 'no\\u{7}t \\u{1b}[31mtoday\\u{202e}\\r\\nX-Fake: 1';
    assert.equal(error.message, `tsa: rejection: timeNotAvailable, ${shown}`);
  });

  it('timestamp-status: waiting, and an undefined status', () => {
    for (const status of [3, 77])
      throwsCode('timestamp-status', () => parseTimestampResponse(refuse(status, '', 0), 'tsa'));
  });

  it('timestamp-malformed: no token although granted, bytes after it, or no response', () => {
    const answers = [
      seq(seq(integer(0))),
      Buffer.concat([grant(ownToken()), Buffer.of(0)]),
      seq(seq(integer(0)), ownToken(), utf8('more')),
      Buffer.from('<html>'),
      Buffer.alloc(0),
    ];
    for (const answer of answers)
      throwsCode('timestamp-malformed', () => parseTimestampResponse(answer, 'tsa'));
  });

  it('a grant with modifications is a grant', () => {
    const token = ownToken();
    assert.ok(parseTimestampResponse(seq(seq(integer(1)), token), 'tsa').token.equals(token));
  });
});

const refuses = (code: string, change: Partial<TokenExpectation>, token = ownToken()): SignpipeError =>
  throwsCode(code, () => checkTokenBytes(token, { ...asked, ...change }));

describe('checkToken refuses', () => {
  it('timestamp-imprint: other data, or another digest', () => {
    refuses('timestamp-imprint', { imprint: digest('sha384') });
    refuses('timestamp-imprint', { hash: 'sha512' });
  });
  it('timestamp-nonce', () => {
    refuses('timestamp-nonce', { nonce: randomBytes(16) });
  });
  it('timestamp-policy', () => {
    refuses('timestamp-policy', { policy: '1.2.3' });
  });
  it('timestamp-time: before the earliest, after the latest', () => {
    refuses('timestamp-time', { earliest: new Date(Date.now() + 60_000) });
    refuses('timestamp-time', { latest: new Date(Date.now() - 60_000) });
  });
  it('timestamp-untrusted: no chain to any root', async () => {
    const other = await createTestCertificate({ commonName: 'Other root', purpose: 'authority' });
    refuses('timestamp-untrusted', { roots: [other.certificate] });
    refuses('timestamp-untrusted', { roots: [] });
  });
  it('timestamp-certificate: the time is before or after the validity of the certificate', () => {
    const { certificate } = pki.timestamping;
    const early = ownToken(new Date(certificate.notBefore.getTime() - 1000));
    const late = ownToken(new Date(certificate.notAfter.getTime() + 1000));
    assert.match(refuses('timestamp-certificate', {}, early).message, /not valid yet/);
    assert.match(refuses('timestamp-certificate', {}, late).message, /expired/);
    checkTokenBytes(ownToken(certificate.notAfter), asked);
  });

  it('timestamp-signature: by another key than that of the certificate that it identifies', async () => {
    const { key } = await createTestCertificate({
      commonName: 'Other',
      purpose: 'timestamping',
      key: 'p256',
    });
    const request = readRequest(buildTimestampRequest(asked));
    const token = makeToken({ request, time: new Date(), identity: { ...pki.timestamping, key } });
    refuses('timestamp-signature', {}, token);
  });

  it('timestamp-malformed: what is signed is not a time', () => {
    refuses('timestamp-malformed', {}, seq(utf8('nothing')));
    refuses('timestamp-malformed', {}, Buffer.concat([ownToken(), Buffer.of(0)]));
  });

  it('timestamp-certificate: its purpose not marked critical, unless that is let pass', async () => {
    const lax = { issuer: pki.root, purpose: 'timestamping', extendedKeyUsageCritical: false } as const;
    const alone = stampedBy(await createTestCertificate({ ...lax, commonName: 'Uncritical' }));
    assert.match(
      refuses('timestamp-certificate', {}, alone).message,
      /does not mark its purpose as critical/,
    );
    refuses('timestamp-certificate', { uncriticalPurpose: false }, alone);
    checkTokenBytes(alone, { ...asked, uncriticalPurpose: true, roots: [pki.root.certificate] });
  });

  it('timestamp-certificate: other purposes besides, or none, whatever is let pass', async () => {
    for (const extendedKeyUsage of [[OID.timeStamping, OID.codeSigning], [OID.codeSigning], []]) {
      const bad = { commonName: 'Bad', issuer: pki.root, purpose: 'timestamping', extendedKeyUsage } as const;
      const token = stampedBy(await createTestCertificate({ ...bad, extendedKeyUsageCritical: false }));
      refuses('timestamp-certificate', { uncriticalPurpose: true }, token);
    }
  });

  it('timestamp-malformed: SignedData or SignerInfo of a version other than RFC 5652 requires', () => {
    for (const version of [0, 1, 2, 4, 5])
      assert.match(
        refuses('timestamp-malformed', {}, withVersions(ownToken(), version, 1)).message,
        /SignedData of version \d, not 3/,
      );
    for (const version of [0, 2, 3])
      assert.match(
        refuses('timestamp-malformed', {}, withVersions(ownToken(), 3, version)).message,
        /SignerInfo of version \d, not 1/,
      );
    checkTokenBytes(withVersions(ownToken(), 3, 1), asked);
  });

  it('timestamp-malformed: SignerInfo of another version than 3, if its signer is named by key identifier', () => {
    const { certificate } = pki.timestamping;
    const identifier = certificate.extensions.get(OID.subjectKeyIdentifier);
    assert.ok(identifier);
    const named = tlv(0x80, readOctets(parseDer(identifier.value, 'identifier')));
    checkTokenBytes(withVersions(ownToken(), 3, 3, named), asked);
    refuses('timestamp-malformed', {}, withVersions(ownToken(), 3, 1, named));
  });

  it('any changed byte, except in names of algorithms, which CMS does not sign', () => {
    const token = ownToken();
    const expected = { ...asked, roots: [pki.root.certificate] };
    const passed: number[] = [];
    for (let at = 0; at < token.length; at += 1) {
      const changed = Buffer.from(token);
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      try {
        checkTokenBytes(changed, expected);
        passed.push(at);
      } catch (error) {
        assert.ok(error instanceof SignpipeError, `byte ${at}: ${String(error)}`);
      }
    }
    assert.ok(passed.length > 0);
    for (const at of passed) assert.ok(isUnsignedByte(token, at), `byte ${at}`);
  });
});

/** The token with other versions of SignedData and SignerInfo, which are not signed, and maybe another name of its signer. */
function withVersions(token: Buffer, data: number, info: number, name?: Buffer): Buffer {
  const [type, wrapped] = children(parseDer(token, 'token'), 'token');
  assert.ok(type && wrapped);
  const [, digests, content, certificates, signers] = children(parseDer(wrapped.body, 'data'), 'data');
  assert.ok(digests && content && certificates && signers);
  const [, signer, ...rest] = children(parseDer(signers.body, 'signer'), 'signer');
  assert.ok(signer);
  const rebuilt = seq(integer(info), name ?? signer.raw, ...rest.map(({ raw }) => raw));
  const kept = [digests.raw, content.raw, certificates.raw];
  return seq(type.raw, explicit(0, seq(integer(data), ...kept, set(rebuilt))));
}

/** Whether the byte lies in the name of an algorithm, which CMS leaves unsigned (RFC 5652, 5.1 and 5.3). */
function isUnsignedByte(token: Buffer, at: number): boolean {
  const [, wrapped] = children(parseDer(token, 'token'), 'token');
  assert.ok(wrapped);
  const [, digests, ...rest] = children(parseDer(wrapped.body, 'token'), 'token');
  const signers = rest.at(-1);
  assert.ok(digests && signers);
  const [, , digest, , signature] = children(parseDer(signers.body, 'token'), 'token');
  assert.ok(digest && signature);
  return [digests, digest, signature].some(({ raw }) => {
    const start = raw.byteOffset - token.byteOffset;
    return at >= start && at < start + raw.length;
  });
}
