import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { KeySettings } from '../../../../src/engine/keys/open.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { awsKey, AwsKmsServer, type AwsFault } from '../../../world/cloud/aws-kms-server.ts';
import { CloudWorld, LATER } from './cloud-world.ts';
import { KeyProcess } from './key-process.ts';
import { DIGEST, fails, KINDS, type Kind } from './publishers.ts';

const CREDENTIALS = {
  id: 'AKIAIOSFODNN7EXAMPLE',
  secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  token: 'session-token-0815',
};
const SECRETS = [CREDENTIALS.secret, CREDENTIALS.token];
const DATA = Buffer.from('attributes');

const idOf = (kind: Kind): string => `1234abcd-12ab-34cd-56ef-00000000000${KINDS.indexOf(kind)}`;

let cloud: CloudWorld<AwsKmsServer>;
before(async () => {
  cloud = await CloudWorld.start({
    start: async (publishers, tls) => {
      const server = await AwsKmsServer.start(CREDENTIALS, { tls });
      for (const kind of KINDS) server.add(awsKey(publishers.key(kind)), kind, idOf(kind));
      const environment = {
        AWS_ACCESS_KEY_ID: CREDENTIALS.id,
        AWS_SECRET_ACCESS_KEY: CREDENTIALS.secret,
        AWS_SESSION_TOKEN: CREDENTIALS.token,
        AWS_REGION: AwsKmsServer.region,
        // No test asks the address of a cloud machine's metadata.
        AWS_EC2_METADATA_DISABLED: 'true',
      };
      return { server, environment };
    },
    uriOf: (key, { port }) => `awskms://127.0.0.1:${port}/${key}`,
  });
});
after(() => cloud.stop());

const settings = (key: string, kind?: Kind): KeySettings => cloud.settings(key, kind);
const open = (key = 'alias/rsa3072', kind?: Kind, more?: KeySettings): Promise<SigningKey> =>
  cloud.open(key, kind, more);

describe('a key of AWS KMS', () => {
  for (const kind of KINDS)
    it(`signs programs that osslsigncode accepts: ${kind}`, async () => {
      const key = await open(`alias/${kind}`, kind);
      assert.equal(key.certificates.length, 2);
      await cloud.publishers.judge(key, DIGEST[kind]);
      await key.close();
    });

  for (const hash of ['sha384', 'sha512'] as const)
    it(`signs ${hash} with an RSA key`, async () => {
      const key = await open();
      await cloud.publishers.judge(key, hash);
      await key.close();
    });

  it('is named by alias, by ID, by ARN and as step does', async () => {
    const id = idOf('rsa3072');
    for (const name of ['alias/rsa3072', id, cloud.server.arn(id)]) await (await open(name)).close();
    await KeyProcess.with(
      { ...cloud.environment, AWS_ENDPOINT_URL_KMS: `https://127.0.0.1:${cloud.server.port}` },
      async (own) => {
        const certificate = cloud.publishers.chainFile('rsa3072');
        for (const key of [`awskms:///${id}`, `awskms:key-id=${id};region=${AwsKmsServer.region}`])
          await (await own.open({ key, certificate })).close();
      },
    );
  });

  it('has its region in its ARN', async () => {
    const { AWS_REGION: _, ...elsewhere } = cloud.environment;
    await KeyProcess.with(elsewhere, async (own) => {
      await (await own.open(settings(cloud.server.arn(idOf('rsa3072'))))).close();
      const failure = await fails('key-service-region', own.open(settings('alias/rsa3072')), SECRETS);
      assert.match(failure.hint, /AWS_REGION/);
    });
  });

  it('key-service-region: the region of the environment is no name', async () => {
    await KeyProcess.with({ ...cloud.environment, AWS_REGION: 'eu central' }, async (own) => {
      const failure = await fails('key-service-region', own.open(settings('alias/rsa3072')), SECRETS);
      assert.match(failure.message, /Region not accepted/);
    });
  });

  it('stays the key that its alias named at the start', async () => {
    const key = await open();
    cloud.server.requests.length = 0;
    await key.sign('sha256', DATA);
    assert.deepEqual(
      cloud.server.requests.map(({ operation, input }) => [operation, input.KeyId, input.MessageType]),
      [['Sign', cloud.server.arn(idOf('rsa3072')), 'DIGEST']],
    );
    await key.close();
  });

  it('has as many requests in flight as configured, over connections that stay open', async () => {
    const key = await open(undefined, undefined, { concurrency: 4 });
    assert.equal(key.concurrency, 4);
    cloud.server.mostInFlight = 0;
    const before = cloud.server.connections;
    await Promise.all(Array.from({ length: 40 }, () => key.sign('sha256', DATA)));
    assert.ok(cloud.server.mostInFlight <= 4, `${cloud.server.mostInFlight} in flight`);
    assert.ok(cloud.server.connections - before <= 4, `${cloud.server.connections - before} connections`);
    await key.close();
  });

  it('is opened without the permission to describe it', async () => {
    cloud.server.faults['DescribeKey'] = [{ type: 'AccessDeniedException', message: 'not kms:DescribeKey' }];
    await (await open()).close();
  });

  it('tells whether the service is there, without a signature', async () => {
    const key = await open();
    cloud.server.requests.length = 0;
    await key.available?.();
    cloud.server.faults['GetPublicKey'] = [{ status: 503, body: '' }];
    await fails('key-service-unavailable', key.available?.() ?? Promise.resolve(), SECRETS);
    // That is for the next signature to report.
    cloud.server.faults['GetPublicKey'] = [{ type: 'AccessDeniedException' }];
    await key.available?.();
    assert.ok(cloud.server.requests.every(({ operation }) => operation !== 'Sign'));
    await key.close();
  });

  it('signs after the service has asked to slow down, or has failed', async () => {
    const key = await open();
    cloud.server.faults['Sign'] = [
      { type: 'ThrottlingException', headers: { 'retry-after': '0' } },
      { status: 503, body: '' },
    ];
    assert.equal((await key.sign('sha256', DATA)).value.length, 384);
    await key.close();
  });

  it('signs after an answer that never came, and one without a signature', async () => {
    const key = await open(undefined, undefined, { keyTimeout: 700 });
    cloud.server.faults['Sign'] = [{ hangs: true }, { status: 200, body: '{"KeyId":"x"}' }];
    assert.equal((await key.sign('sha256', DATA)).value.length, 384);
    await key.close();
  });
});

describe('a key of AWS KMS that cannot be opened', () => {
  it('key-missing: no certificate', async () => {
    const { key } = settings('alias/rsa3072');
    await fails('key-missing', cloud.child.open({ key }), SECRETS);
  });

  it('key-does-not-match: the certificate of another key', async () => {
    await fails('key-does-not-match', open('alias/rsa3072', 'p256'), SECRETS);
  });

  it('key-not-found: no such alias', async () => {
    const failure = await fails('key-not-found', open('alias/other'), SECRETS);
    assert.match(failure.hint, /region/);
  });

  for (const state of ['Disabled', 'PendingDeletion', 'PendingImport'])
    it(`key-disabled: ${state}`, async () => {
      cloud.server.add(
        { ...awsKey(cloud.publishers.key('rsa3072')), state },
        'out',
        idOf('rsa3072').replace('1234abcd', 'ffffffff'),
      );
      const { message } = await fails('key-disabled', open('alias/out'), SECRETS);
      assert.match(message, new RegExp(state));
    });

  it('key-not-for-signing: a key for encryption', async () => {
    const usage = 'ENCRYPT_DECRYPT';
    cloud.server.add(
      { ...awsKey(cloud.publishers.key('rsa3072')), usage },
      'encrypts',
      idOf('rsa3072').replace('1234', 'eeee'),
    );
    await fails('key-not-for-signing', open('alias/encrypts'), SECRETS);
  });

  it('key-not-for-signing: a kind of key that Node does not know', async () => {
    const [publicKey, spec, algorithms] = [
      Buffer.from('3003020101', 'hex'),
      'ML_DSA_65',
      ['ML_DSA_SHAKE_256'],
    ];
    const id = idOf('rsa3072').replace('1234', 'dddd');
    cloud.server.add({ key: cloud.publishers.key('rsa3072'), publicKey, spec, algorithms }, 'ml-dsa', id);
    const { message } = await fails('key-not-for-signing', open('alias/ml-dsa'), SECRETS);
    assert.match(message, /its kind is ML_DSA_65/);
  });

  it('key-not-for-signing: an RSA key that signs only by PSS', async () => {
    const id = idOf('rsa3072').replace('1234', 'cccc');
    cloud.server.add(
      { ...awsKey(cloud.publishers.key('rsa3072')), algorithms: ['RSASSA_PSS_SHA_256'] },
      'pss',
      id,
    );
    await fails('key-not-for-signing', open('alias/pss'), SECRETS);
  });

  it('key-service-credentials: another secret', async () => {
    await KeyProcess.with(
      { ...cloud.environment, AWS_SECRET_ACCESS_KEY: 'another-secret-4711' },
      async (own) => {
        // The service repeats the request in its answer, with the session token.
        const failure = await fails('key-service-credentials', own.open(settings('alias/rsa3072')), [
          ...SECRETS,
          'another-secret-4711',
        ]);
        assert.equal(failure.kind, 'usage');
      },
    );
  });

  it('key-service-credentials: none at all', async () => {
    const { AWS_ACCESS_KEY_ID: _, ...without } = cloud.environment;
    await KeyProcess.with(without, async (own) => {
      const { hint } = await fails('key-service-credentials', own.open(settings('alias/rsa3072')), SECRETS);
      assert.match(hint, /AWS_PROFILE/);
    });
  });

  it('key-service-untrusted: a server that TLS does not vouch for', async () => {
    const { NODE_EXTRA_CA_CERTS: _, ...without } = cloud.environment;
    await KeyProcess.with(without, async (own) => {
      const { message } = await fails('key-service-untrusted', own.open(settings('alias/rsa3072')), SECRETS);
      assert.match(message, /self-signed/);
    });
  });
});

it('key-service-unavailable: no server', async () => {
  const { certificate } = settings('alias/rsa3072');
  const failure = await fails(
    'key-service-unavailable',
    cloud.child.open({ key: 'awskms://127.0.0.1:1/alias/x', certificate }),
    SECRETS,
  );
  assert.match(failure.message, /ECONNREFUSED/);
});

describe('a signature of AWS KMS that fails', () => {
  let key: SigningKey;
  before(async () => (key = await open()));
  after(() => key.close());

  it('key-digest: a digest that the curve does not go with', async () => {
    const other = await open('alias/p384', 'p384');
    const { hint, kind } = await fails('key-digest', other.sign('sha256', DATA), SECRETS);
    assert.match(hint, /signing\.digest to sha384/);
    assert.equal(kind, 'usage');
    await other.close();
  });

  const faults: readonly (readonly [string, AwsFault, string])[] = [
    ['key-service-throttled', { type: 'ThrottlingException', headers: LATER }, 'unavailable'],
    ['key-service-throttled', { status: 429, body: '{}', headers: LATER }, 'unavailable'],
    ['key-service-unavailable', { type: 'KMSInternalException', status: 500, headers: LATER }, 'unavailable'],
    ['key-service-unavailable', { status: 502, body: '<html>', headers: LATER }, 'unavailable'],
    ['key-service-credentials', { type: 'ExpiredTokenException', message: 'expired' }, 'local'],
    ['key-service-denied', { type: 'AccessDeniedException', message: 'not authorized: kms:Sign' }, 'local'],
    ['key-disabled', { type: 'DisabledException', message: 'is disabled' }, 'local'],
    ['key-disabled', { type: 'KMSInvalidStateException', message: 'is pending deletion' }, 'local'],
    ['key-not-found', { type: 'NotFoundException', message: 'is not found' }, 'local'],
    ['key-not-for-signing', { type: 'InvalidKeyUsageException' }, 'local'],
    ['key-service-refused', { type: 'ValidationException', message: 'no' }, 'local'],
    [
      'key-service-clock',
      { type: 'InvalidSignatureException', message: 'Signature expired: x', headers: LATER },
      'unavailable',
    ],
    ['key-service-answer', { status: 200, body: '<html>a login page</html>', headers: LATER }, 'unavailable'],
    ['key-service-answer', { status: 200, body: Buffer.alloc(100_000, ' '), headers: LATER }, 'unavailable'],
  ];
  for (const [code, fault, kind] of faults)
    it(`${code}: ${fault.type ?? `HTTP ${fault.status}`}`, async () => {
      cloud.server.faults['Sign'] = [fault];
      const failure = await fails(code, key.sign('sha256', DATA), SECRETS);
      assert.equal(failure.kind, kind);
      cloud.server.faults['Sign'] = [];
    });

  it('key-closed: after it was closed', async () => {
    const other = await open();
    cloud.server.faults['Sign'] = [{ hangs: true }];
    const hanging = fails('key-closed', other.sign('sha256', DATA), SECRETS);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await other.close();
    await hanging;
  });
});

it('prints no secret', () => {
  for (const secret of SECRETS) assert.ok(!cloud.child.output.includes(secret));
});
