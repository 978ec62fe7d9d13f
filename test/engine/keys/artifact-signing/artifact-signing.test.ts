import { after, afterEach, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describeKey, openSigningKey, type KeySettings } from '../../../../src/engine/keys/open.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { signFile } from '../../../../src/engine/artifact/sign-file.ts';
import { verifyFile } from '../../../../src/engine/artifact/verify-file.ts';
import { certificateIdentity } from '../../../../src/lib/x509/certificate-identity.ts';
import { SignpipeError, type ErrorKind } from '../../../../src/lib/errors.ts';
import { createTestCertificate, generateTestKey, toPem } from '../../../../src/sandbox/certificates.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import { setEnvironment } from '../../../environment.ts';
import { forge, LIMITS } from '../../../lib/zip/zips.ts';
import { signsForOthers } from '../judged.ts';
import { LoopbackArtifactSigning, PUBLISHER_EKU, refusal } from './service.ts';

let service: LoopbackArtifactSigning;
let folder: string;
const at = (name: string): string => join(folder, name);
let resetEnvironment: () => void;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-artifact-signing-'));
  service = await LoopbackArtifactSigning.start(folder);
  resetEnvironment = setEnvironment(service.environment);
});
afterEach(() => service.reset());
after(async () => {
  resetEnvironment();
  await service.close();
  await rm(folder, { recursive: true, force: true });
});

const opened = (settings: KeySettings = {}): Promise<SigningKey> =>
  openSigningKey(describeKey({ key: service.uri, ...settings }), {
    warn: () => {},
    usableAt: new Date(),
  });

const data = Buffer.from('data');

async function refused(
  work: () => Promise<unknown>,
  code: string,
  kind: ErrorKind = 'usage',
): Promise<SignpipeError> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof SignpipeError, inspect(error));
    assert.deepEqual([error.code, error.kind], [code, kind], inspect(error));
    assert.doesNotMatch(inspect(error, { depth: 9 }), /marked[ -]secret/, 'shows a secret');
    return error;
  }
  assert.fail(`not refused; expected ${code}`);
}

describe('a key of Azure Artifact Signing', () => {
  it('signs with every digest, each time with another certificate, for osslsigncode', async () => {
    const key = await opened();
    assert.equal(key.algorithm, 'rsa');
    assert.equal(key.shortLived, true);
    for (const hash of ['sha256', 'sha384', 'sha512'] as const) await signsForOthers(key, service.root, hash);
    assert.equal(new Set(service.issued).size, 7);
    await key.close();
  });

  it('signs the programs of a zip, whose certificates differ and whose publisher does not', async () => {
    const key = await opened({ concurrency: 3 });
    const programs = ['a.exe', 'b.exe', 'c.exe'].map((name, i) => ({
      name,
      content: buildPe({ overlay: filler(1000, i) }),
    }));
    await writeFile(at('in.zip'), forge(programs));
    const { signed } = await signFile(at('in.zip'), at('out.zip'), {
      key,
      hash: 'sha256',
      timestamper: null,
      alreadySigned: 'reject',
      roots: [service.root.certificate],
      isOurs: () => true,
      limits: LIMITS,
      scratch: folder,
    });
    const certificates = signed.map(({ certificate }) => certificate);
    assert.equal(new Set(certificates.map(({ sha256 }) => sha256)).size, 3);
    for (const certificate of certificates)
      assert.deepEqual(certificateIdentity(certificate), { eku: PUBLISHER_EKU });
    const report = await verifyFile(at('out.zip'), {
      roots: [service.root.certificate],
      limits: LIMITS,
      scratch: folder,
    });
    assert.equal(report.status, 'ok');
    assert.ok(service.most >= 2, 'several are in flight');
  });

  it('gets one token for many signatures', async () => {
    const key = await opened();
    const { token } = service.counts;
    for (let count = 0; count < 3; count += 1) await key.sign('sha256', data);
    assert.equal(service.counts.token, token);
  });

  it('asks the credential for another token after the service has refused one', async () => {
    const key = await opened();
    service.intercept = (asked) => (asked === 'sign' ? refusal(401, 'Unauthorized', 'revoked') : undefined);
    await refused(() => key.sign('sha256', data), 'key-service-credentials', 'local');
    service.reset();
    await key.sign('sha256', data);
  });

  it('asks for a slow result until it is there, also if the service is busy meanwhile, and submits once', async () => {
    const key = await opened();
    service.reset();
    service.pending = 3;
    service.intercept = (asked, count) =>
      asked === 'result' && count === 2
        ? { status: 429, headers: { 'retry-after': '0' }, body: {} }
        : undefined;
    await key.sign('sha256', data);
    assert.deepEqual([service.counts.sign, service.counts.result], [1, 5]);
  });

  it('tries again if the service asks to slow down or has failed', async () => {
    const key = await opened();
    service.reset();
    service.intercept = (asked, count) =>
      asked === 'sign' && count <= 2
        ? { status: count === 1 ? 429 : 503, headers: { 'retry-after': '0' }, body: {} }
        : undefined;
    await key.sign('sha256', data);
    assert.equal(service.counts.sign, 3);
  });

  it('takes a bundle, or a certificate, that is in base64 only once', async () => {
    service.edit = ({ signature, signingCertificate }) => ({
      signature,
      signingCertificate: Buffer.from(String(signingCertificate), 'base64').toString('latin1'),
    });
    const key = await opened();
    assert.equal(key.certificates.length, 2);
  });
});

describe('a key of Azure Artifact Signing is refused:', () => {
  const open = () => opened({ keyTimeout: 2000 });
  const answers: [string, string, ErrorKind, ReturnType<typeof refusal>, RegExp, RegExp][] = [
    [
      'key-service-credentials',
      'HTTP 401',
      'usage',
      refusal(401, 'Unauthorized', 'no'),
      /HTTP 401, Unauthorized: no/,
      /AZURE_CLIENT_ID/,
    ],
    [
      'key-service-denied',
      'HTTP 403',
      'usage',
      refusal(403, 'Forbidden', 'no role'),
      /no role/,
      /Certificate Profile Signer/,
    ],
    ['key-not-found', 'HTTP 404', 'usage', refusal(404, 'NotFound', 'no profile'), /no profile/, /region/],
    [
      'key-service-refused',
      'HTTP 400',
      'local',
      refusal(400, 'BadRequest', 'not so'),
      /BadRequest: not so/,
      /./,
    ],
    [
      'key-service-refused',
      'HTTP 400 as the framework words it',
      'local',
      { status: 400, body: { title: 'One or more errors' } },
      /One or more/,
      /./,
    ],
    [
      'key-service-refused',
      'a failed operation',
      'local',
      { status: 200, body: { id: 'a', status: 'Failed', error: { code: 'InternalError', message: 'HSM' } } },
      /ended as Failed, InternalError: HSM/,
      /./,
    ],
    [
      'key-service-refused',
      'a cancelled operation',
      'local',
      { status: 200, body: { id: 'a', status: 'Canceled' } },
      /ended as Canceled/,
      /./,
    ],
  ];
  for (const [code, what, kind, answer, message, hint] of answers)
    it(`${code}: ${what}; it is not asked again`, async () => {
      service.intercept = (asked) => (asked === 'sign' ? answer : undefined);
      const error = await refused(open, code, kind);
      assert.match(error.message, message);
      assert.match(error.hint ?? '', hint);
      assert.equal(service.counts.sign, 1);
    });

  it('key-service-throttled: it asks to wait longer than a minute', async () => {
    service.intercept = (asked) =>
      asked === 'sign' ? { status: 429, headers: { 'retry-after': '3600' } } : undefined;
    await refused(open, 'key-service-throttled', 'unavailable');
    assert.equal(service.counts.sign, 1);
  });

  it('what may pass is tried again: a redirect, an answer that is too large, no answer in time', async () => {
    const answers = [
      { status: 307, headers: { location: 'http://127.0.0.1:1/' } },
      { status: 200, body: 'x'.repeat(300_000) },
      'hang',
    ] as const;
    for (const answer of answers) {
      service.reset();
      service.intercept = (asked, count) => {
        if (asked !== 'sign') return undefined;
        return count === 1 ? answer : refusal(400, 'Over', 'tried again');
      };
      const error = await refused(() => opened({ keyTimeout: 300 }), 'key-service-refused', 'local');
      assert.match(error.message, /tried again/);
    }
  });

  it('key-signature-wrong: the signature is of something else', async () => {
    const other = await generateTestKey('rsa2048');
    service.next = { eku: PUBLISHER_EKU, key: other };
    let kept: unknown;
    service.edit = (result) => (kept ??= result['signature']) && { ...result, signature: kept };
    const key = opened();
    await key;
    await refused(() => opened(), 'key-signature-wrong');
  });

  it('key-identity-changed: another publisher signs later', async () => {
    const key = await opened();
    for (const next of [{ eku: `${PUBLISHER_EKU}.1` }, {}]) {
      service.next = next;
      const { message } = await refused(() => key.sign('sha256', data), 'key-identity-changed', 'local');
      assert.match(message, new RegExp(`not as ${PUBLISHER_EKU}$`));
    }
    service.reset();
    await key.sign('sha256', data);
  });

  it('certificate-expired, certificate-not-yet-valid: the certificate of a signature is not valid now', async () => {
    const day = 86_400_000;
    const key = await opened();
    service.next = { eku: PUBLISHER_EKU, notAfter: new Date(Date.now() - 60_000) };
    await refused(() => key.sign('sha256', data), 'certificate-expired', 'local');
    await refused(() => opened(), 'certificate-expired');
    service.next = { eku: PUBLISHER_EKU, notBefore: new Date(Date.now() + day) };
    await refused(() => key.sign('sha256', data), 'certificate-not-yet-valid', 'local');
    service.next = { eku: PUBLISHER_EKU, notBefore: new Date(Date.now() + 60_000) };
    await key.sign('sha256', data); // The clocks may differ.
  });

  it('key-unsupported: a signature comes with the certificate of another kind of key', async () => {
    const key = await opened();
    service.next = { eku: PUBLISHER_EKU, key: await generateTestKey('p256') };
    await refused(() => key.sign('sha256', data), 'key-unsupported', 'local');
  });

  it('key-service-answer: more certificates than any chain has, each of which could be the issuer of each', async () => {
    const issuing = () => createTestCertificate({ commonName: 'Daily', purpose: 'authority', key: 'p256' });
    const beside = await Promise.all(Array.from({ length: 60 }, async () => (await issuing()).certificate));
    service.next = { eku: PUBLISHER_EKU, beside };
    service.intercept = (asked, count) =>
      asked === 'sign' && count > 1 ? refusal(400, 'Over', 'tried again') : undefined;
    assert.match((await refused(() => opened(), 'key-service-refused', 'local')).message, /tried again/);
  });

  it('key-identity-changed: signing.certificate is of another publisher', async () => {
    const { certificate } = await createTestCertificate({
      commonName: 'Publisher',
      purpose: 'code-signing',
      key: 'p256',
    });
    await writeFile(at('other.pem'), toPem([certificate]));
    await refused(() => opened({ certificate: at('other.pem') }), 'key-identity-changed');
    const key = await opened();
    await writeFile(at('same.pem'), toPem(key.certificates));
    await opened({ certificate: at('same.pem') });
  });

  it('key-unsupported: a certificate for an elliptic curve', async () => {
    service.next = { eku: PUBLISHER_EKU, key: await generateTestKey('p256') };
    await refused(() => opened(), 'key-unsupported');
  });

  it('key-closed: it is closed while the service does not answer', async () => {
    const key = await opened();
    service.intercept = (asked) => (asked === 'sign' ? 'hang' : undefined);
    const signing = refused(() => key.sign('sha256', data), 'key-closed', 'local');
    setTimeout(() => void key.close(), 50);
    await signing;
  });

  it('key-service-credentials: there are none', async () => {
    process.env['AZURE_TOKEN_CREDENTIALS'] = 'EnvironmentCredential';
    try {
      await refused(() => opened(), 'key-service-credentials');
    } finally {
      Object.assign(process.env, service.environment);
    }
  });

  const uris: [string, RegExp][] = [
    ['artifactsigning:weu.codesigning.azure.net/acc/profile', /no \/\//],
    ['artifactsigning:///acc/profile', /endpoint is missing/],
    ['artifactsigning://weu.codesigning.azure.net.example.org/acc/profile', /not a host below/],
    ['artifactsigning://codesigning.azure.net/acc/profile', /not a host below/],
    ['artifactsigning://user@weu.codesigning.azure.net/acc/profile', /user or a password/],
    ['artifactsigning://weu.codesigning.azure.net:8443/acc/profile', /not a host below/],
    ['artifactsigning://weu.codesigning.azure.net', /account is missing/],
    ['artifactsigning://weu.codesigning.azure.net/ab/profile', /account "ab" is not a name/],
    ['artifactsigning://weu.codesigning.azure.net/1abc/profile', /account "1abc"/],
    ['artifactsigning://weu.codesigning.azure.net/acc', /profile is missing/],
    ['artifactsigning://weu.codesigning.azure.net/acc/p--rofile', /profile "p--rofile"/],
    ['artifactsigning://weu.codesigning.azure.net/acc/profile/x', /more after the profile/],
    ['artifactsigning://weu.codesigning.azure.net/acc/profile?x', /profile "profile\?x"/],
    ['artifactsigning://weu.codesigning.azure.net/acc/pro%66ile', /the character "%"/],
  ];
  for (const [uri, message] of uris)
    it(`key-uri: ${uri}`, async () => {
      assert.match((await refused(() => opened({ key: uri }), 'key-uri')).message, message);
    });
});
