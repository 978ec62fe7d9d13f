import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { KeySettings } from '../../../../src/engine/keys/open.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import {
  AzureKeyVaultServer,
  TENANT,
  VERSION,
  type AzureFault,
} from '../../../world/cloud/azure-key-vault-server.ts';
import { CloudWorld, LATER } from './cloud-world.ts';
import { KeyProcess } from './key-process.ts';
import { DIGEST, fails, KINDS, type Kind } from './publishers.ts';

const CLIENT = { id: '11111111-2222-3333-4444-555555555555', secret: 'azure~secret~0815' };
const SECRETS = [CLIENT.secret, 'eyJ0'];
const DATA = Buffer.from('attributes');

let cloud: CloudWorld<AzureKeyVaultServer>;
before(async () => {
  cloud = await CloudWorld.start({
    start: async (publishers, tls) => {
      const server = await AzureKeyVaultServer.start(CLIENT, tls);
      for (const kind of KINDS) server.keys.set(kind, { key: publishers.key(kind) });
      server.keys.set('hsm', { key: publishers.key('rsa3072'), type: 'RSA-HSM' });
      const environment = {
        AZURE_AUTHORITY_HOST: server.origin,
        AZURE_TENANT_ID: TENANT,
        AZURE_CLIENT_ID: CLIENT.id,
        AZURE_CLIENT_SECRET: CLIENT.secret,
        // No test asks the address of a cloud machine's metadata.
        AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential',
      };
      return { server, environment };
    },
    uriOf: (key, { origin }) => `azurekms://${new URL(origin).host}/${key}`,
  });
});
after(() => cloud.stop());

const settings = (key: string, kind?: Kind): KeySettings => cloud.settings(key, kind);
const open = (key = 'rsa3072', kind?: Kind, more?: KeySettings): Promise<SigningKey> =>
  cloud.open(key, kind, more);

describe('a key of Azure Key Vault', () => {
  for (const kind of KINDS)
    it(`signs programs that osslsigncode accepts: ${kind}`, async () => {
      const key = await open(kind, kind);
      await cloud.publishers.judge(key, DIGEST[kind]);
      await key.close();
    });

  for (const hash of ['sha384', 'sha512'] as const)
    it(`signs ${hash} with an RSA key of an HSM`, async () => {
      const key = await open('hsm');
      await cloud.publishers.judge(key, hash);
      await key.close();
    });

  it('is named with or without its version', async () => {
    await (await open(`rsa3072/${VERSION}`)).close();
    await fails('key-not-found', open(`rsa3072/${'f'.repeat(32)}`), SECRETS);
  });

  it('has as many requests in flight as configured, with one token', async () => {
    cloud.server.requests.length = 0;
    const key = await open(undefined, undefined, { concurrency: 8 });
    await Promise.all(Array.from({ length: 40 }, () => key.sign('sha256', DATA)));
    assert.equal(cloud.server.requests.filter((each) => each === 'sign rsa3072').length, 40);
    assert.ok(cloud.server.requests.filter((each) => each === 'token').length <= 1);
    await key.close();
  });

  it('signs after failures that pass', async () => {
    const key = await open(undefined, undefined, { keyTimeout: 800 });
    cloud.server.faults['sign'] = [{ status: 429, headers: { 'retry-after': '0' } }, { hangs: true }];
    assert.equal((await key.sign('sha256', DATA)).value.length, 384);
    await key.close();
  });

  for (const [what, body] of [
    ['a page instead of an answer', '<html>a login page</html>'],
    ['an answer without an end', `"${' '.repeat(100_000)}"`],
    ['an answer without a signature', '{}'],
  ] as const)
    it(`asks again after ${what}`, async () => {
      const key = await open();
      cloud.server.faults['sign'] = [{ status: 200, body }];
      cloud.server.requests.length = 0;
      assert.equal((await key.sign('sha256', DATA)).value.length, 384);
      // The SDK reads the key itself before it first signs.
      assert.deepEqual(cloud.server.requests, ['get rsa3072', 'sign rsa3072', 'sign rsa3072']);
      await key.close();
    });
});

describe('a key of Azure Key Vault on a curve', () => {
  for (const bytes of [0, 63, 66, 96, 200])
    it(`asks again after an answer of ${bytes} bytes, which is no signature of P-256`, async () => {
      const key = await open('p256', 'p256');
      const value = Buffer.alloc(bytes, 1).toString('base64url');
      cloud.server.faults['sign'] = [{ status: 200, body: JSON.stringify({ kid: 'x', value }) }];
      cloud.server.requests.length = 0;
      await key.sign('sha256', DATA);
      assert.equal(cloud.server.requests.filter((each) => each === 'sign p256').length, 2);
      await key.close();
    });
});

describe('a key of Azure Key Vault that cannot be opened', () => {
  it('key-does-not-match: the certificate of another key', async () => {
    await fails('key-does-not-match', open('rsa3072', 'p256'), SECRETS);
  });

  it('key-not-found: no such key', async () => {
    await fails('key-not-found', open('other'), SECRETS);
  });

  const past = Math.floor(Date.now() / 1000) - 1000;
  for (const [what, attributes] of [
    ['disabled', { enabled: false }],
    ['expired', { exp: past }],
    ['not yet valid', { nbf: past + 1_000_000 }],
  ] as const)
    it(`key-disabled: ${what}`, async () => {
      cloud.server.keys.set('out', { key: cloud.publishers.key('rsa3072'), attributes });
      await fails('key-disabled', open('out'), SECRETS);
    });

  it('key-not-for-signing: a key that may not sign', async () => {
    cloud.server.keys.set('encrypts', { key: cloud.publishers.key('rsa3072'), operations: ['encrypt'] });
    await fails('key-not-for-signing', open('encrypts'), SECRETS);
  });

  it('key-not-for-signing: a curve that Windows does not verify', async () => {
    cloud.server.keys.set('bitcoin', { key: cloud.publishers.key('p256'), curve: 'P-256K' });
    await fails('key-not-for-signing', open('bitcoin'), SECRETS);
    cloud.server.keys.set('secret', { key: cloud.publishers.key('p256'), type: 'oct-HSM' });
    await fails('key-not-for-signing', open('secret'), SECRETS);
  });

  it('key-digest: a digest that the curve does not go with', async () => {
    const key = await open('p384', 'p384');
    const { hint } = await fails('key-digest', key.sign('sha256', DATA), SECRETS);
    assert.match(hint, /signing\.digest to sha384/);
    await key.close();
  });

  it('key-service-credentials: another secret', async () => {
    await KeyProcess.with({ ...cloud.environment, AZURE_CLIENT_SECRET: 'other~secret~4711' }, async (own) => {
      const { message } = await fails('key-service-credentials', own.open(settings('rsa3072')), [
        ...SECRETS,
        'other~secret',
      ]);
      assert.match(message, /AADSTS7000215/);
    });
  });

  it('key-service-credentials: none at all', async () => {
    const { AZURE_CLIENT_SECRET: _, ...without } = cloud.environment;
    await KeyProcess.with(without, async (own) => {
      const { hint } = await fails('key-service-credentials', own.open(settings('rsa3072')), SECRETS);
      assert.match(hint, /AZURE_CLIENT_SECRET/);
    });
  });

  it('key-service-untrusted: a server that TLS does not vouch for', async () => {
    const { NODE_EXTRA_CA_CERTS: _, ...without } = cloud.environment;
    await KeyProcess.with(without, async (own) => {
      await fails('key-service-untrusted', own.open(settings('rsa3072')), SECRETS);
    });
  });

  it('key-service-unavailable: no server', async () => {
    const { certificate } = settings('rsa3072');
    await fails(
      'key-service-unavailable',
      cloud.child.open({ key: 'azurekms://127.0.0.1:1/x', certificate }),
      SECRETS,
    );
  });
});

describe('a signature of Azure Key Vault that fails', () => {
  let key: SigningKey;
  before(async () => (key = await open()));
  after(() => key.close());

  const faults: readonly (readonly [string, AzureFault, string])[] = [
    ['key-service-throttled', { status: 429, code: 'Throttled', headers: LATER }, 'unavailable'],
    ['key-service-unavailable', { status: 500, code: 'InternalServerError', headers: LATER }, 'unavailable'],
    ['key-service-unavailable', { status: 503, body: '<html>', headers: LATER }, 'unavailable'],
    [
      'key-service-denied',
      { status: 403, code: 'Forbidden', inner: 'ForbiddenByRbac', message: 'Caller is not authorized' },
      'local',
    ],
    [
      'key-disabled',
      {
        status: 403,
        code: 'Forbidden',
        inner: 'KeyDisabled',
        message: 'Operation sign is not allowed on a disabled key.',
      },
      'local',
    ],
    [
      'key-service-denied',
      {
        status: 403,
        code: 'Forbidden',
        inner: 'ForbiddenByConnection',
        message: 'Public network access is disabled.',
      },
      'local',
    ],
    ['key-not-found', { status: 404, code: 'KeyNotFound', message: 'was not found' }, 'local'],
    ['key-service-refused', { status: 400, code: 'BadParameter', message: 'no' }, 'local'],
  ];
  for (const [code, fault, kind] of faults)
    it(`${code}: HTTP ${fault.status} ${fault.inner ?? fault.code ?? ''}`, async () => {
      cloud.server.faults['sign'] = [fault];
      const failure = await fails(code, key.sign('sha256', DATA), SECRETS);
      assert.equal(failure.kind, kind);
      cloud.server.faults['sign'] = [];
    });
});

it('prints no secret', () => {
  for (const secret of SECRETS) assert.ok(!cloud.child.output.includes(secret));
});
