import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { KeySettings } from '../../../../src/engine/keys/open.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { GoogleKmsServer, type GoogleFault } from '../../../world/cloud/google-kms-server.ts';
import { CloudWorld } from './cloud-world.ts';
import { KeyProcess } from './key-process.ts';
import { DIGEST, fails, type Kind } from './publishers.ts';

const EMAIL = 'signer@project.iam.gserviceaccount.com';
const DATA = Buffer.from('attributes');
const RING = 'projects/p-1/locations/europe-west1/keyRings/release/cryptoKeys';
const ALGORITHMS = {
  rsa3072: 'RSA_SIGN_PKCS1_3072_SHA256',
  p256: 'EC_SIGN_P256_SHA256',
  p384: 'EC_SIGN_P384_SHA384',
};
const KINDS = ['rsa3072', 'p256', 'p384'] as const;

let cloud: CloudWorld<GoogleKmsServer>;
let secrets: string[];

const nameOf = (key: string): string => `${RING}/${key}/cryptoKeyVersions/1`;

/** Writes the file of a service account, as Google gives it out. */
async function writeAccount(folder: string, name: string, pem: string): Promise<string> {
  const file = join(folder, name);
  const account = {
    type: 'service_account',
    project_id: 'p-1',
    private_key_id: 'k1',
    private_key: pem,
    client_email: EMAIL,
  };
  await writeFile(file, JSON.stringify({ ...account, token_uri: 'https://127.0.0.1:1/token' }));
  return file;
}

const newKey = (): string =>
  generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();

before(async () => {
  const pem = newKey();
  secrets = [pem.slice(100, 140)];
  cloud = await CloudWorld.start({
    kinds: KINDS,
    start: async (publishers, tls) => {
      const server = await GoogleKmsServer.start({ email: EMAIL, publicKey: createPublicKey(pem) }, tls);
      for (const kind of KINDS)
        server.keys.set(nameOf(kind), { key: publishers.key(kind), algorithm: ALGORITHMS[kind] });
      const environment = {
        GOOGLE_APPLICATION_CREDENTIALS: await writeAccount(publishers.folder, 'account.json', pem),
        CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: `https://localhost:${server.port}/`,
        // No test asks the address of a cloud machine's metadata.
        METADATA_SERVER_DETECTION: 'none',
      };
      return { server, environment };
    },
    uriOf: (key) => `gcpkms://${RING}/${key}/versions/1`,
  });
});
after(() => cloud.stop());

const settings = (key: string, kind?: Kind): KeySettings => cloud.settings(key, kind);
const open = (key = 'rsa3072', kind?: Kind, more?: KeySettings): Promise<SigningKey> =>
  cloud.open(key, kind, more);

describe('a key of Google Cloud KMS', () => {
  for (const kind of KINDS)
    it(`signs programs that osslsigncode accepts: ${kind}`, async () => {
      const key = await open(kind, kind);
      await cloud.publishers.judge(key, DIGEST[kind]);
      await key.close();
    });

  it('has as many requests in flight as configured', async () => {
    const key = await open(undefined, undefined, { concurrency: 8 });
    assert.equal(key.concurrency, 8);
    await Promise.all(Array.from({ length: 40 }, () => key.sign('sha256', DATA)));
    await key.close();
  });

  it('signs after failures that pass', async () => {
    const key = await open(undefined, undefined, { keyTimeout: 800 });
    cloud.server.faults['AsymmetricSign'] = [
      { code: 8, details: 'Quota exceeded', retryAfter: 0 },
      { hangs: true },
    ];
    assert.equal((await key.sign('sha256', DATA)).value.length, 384);
    await key.close();
  });

  const damages: readonly (readonly [string, NonNullable<GoogleFault['change']>])[] = [
    ['a digest that arrived damaged', (answer) => ({ ...answer, verifiedDigestCrc32c: false })],
    ['a signature that arrived damaged', (answer) => ({ ...answer, signature: Buffer.alloc(384, 1) })],
    ['no checksum', (answer) => ({ ...answer, signatureCrc32c: null })],
    ['another key', (answer) => ({ ...answer, name: nameOf('p256') })],
  ];
  for (const [what, change] of damages)
    it(`asks again after ${what}`, async () => {
      const key = await open();
      cloud.server.faults['AsymmetricSign'] = [{ change }];
      cloud.server.calls.length = 0;
      assert.equal((await key.sign('sha256', DATA)).value.length, 384);
      assert.equal(cloud.server.calls.length, 2);
      await key.close();
    });
});

describe('a key of Google Cloud KMS that cannot be opened', () => {
  it('key-does-not-match: the certificate of another key', async () => {
    await fails('key-does-not-match', open('rsa3072', 'p256'), secrets);
  });

  it('key-not-found: no such version', async () => {
    await fails('key-not-found', open('other'), secrets);
  });

  for (const state of ['DISABLED', 'DESTROY_SCHEDULED'])
    it(`key-disabled: ${state}`, async () => {
      cloud.server.keys.set(nameOf('out'), {
        key: cloud.publishers.key('rsa3072'),
        algorithm: ALGORITHMS.rsa3072,
        state,
      });
      const { message } = await fails('key-disabled', open('out'), secrets);
      assert.match(message, new RegExp(state));
    });

  for (const algorithm of [
    'RSA_SIGN_PSS_3072_SHA256',
    'RSA_SIGN_RAW_PKCS1_3072',
    'RSA_DECRYPT_OAEP_3072_SHA256',
    'EC_SIGN_SECP256K1_SHA256',
    'PQ_SIGN_ML_DSA_65',
  ])
    it(`key-not-for-signing: ${algorithm}`, async () => {
      cloud.server.keys.set(nameOf('unfit'), { key: cloud.publishers.key('rsa3072'), algorithm });
      await fails('key-not-for-signing', open('unfit'), secrets);
    });

  it('key-digest: a digest other than the one of the version', async () => {
    const key = await open();
    const { hint } = await fails('key-digest', key.sign('sha384', DATA), secrets);
    assert.match(hint, /signing\.digest to sha256/);
    await key.close();
  });

  it('key-service-credentials: the key of another account', async () => {
    const other = newKey();
    await KeyProcess.with(
      {
        ...cloud.environment,
        GOOGLE_APPLICATION_CREDENTIALS: await writeAccount(cloud.publishers.folder, 'other.json', other),
      },
      async (own) => {
        await fails('key-service-credentials', own.open(settings('rsa3072')), [other.slice(100, 140)]);
      },
    );
  });

  it('key-service-credentials: none at all', async () => {
    const { GOOGLE_APPLICATION_CREDENTIALS: _, ...without } = cloud.environment;
    await KeyProcess.with(without, async (own) => {
      const { hint } = await fails('key-service-credentials', own.open(settings('rsa3072')), secrets);
      assert.match(hint, /GOOGLE_APPLICATION_CREDENTIALS/);
      assert.equal(own.output, '');
    });
  });

  it('key-service-credentials: a file of credentials that is damaged', async () => {
    const file = await writeAccount(cloud.publishers.folder, 'damaged.json', 'no key');
    await KeyProcess.with({ ...cloud.environment, GOOGLE_APPLICATION_CREDENTIALS: file }, async (own) => {
      await fails('key-service-credentials', own.open(settings('rsa3072')), secrets);
    });
  });

  it('key-service-untrusted: a server that TLS does not vouch for', async () => {
    const { NODE_EXTRA_CA_CERTS: _, ...without } = cloud.environment;
    await KeyProcess.with(without, async (own) => {
      await fails('key-service-untrusted', own.open(settings('rsa3072')), secrets);
    });
  });

  it('key-service-unavailable: no server', async () => {
    await KeyProcess.with(
      { ...cloud.environment, CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: 'https://localhost:1/' },
      async (own) => {
        await fails('key-service-unavailable', own.open(settings('rsa3072')), secrets);
      },
    );
  });
});

describe('a signature of Google Cloud KMS that fails', () => {
  let key: SigningKey;
  before(async () => (key = await open()));
  after(() => key.close());

  const faults: readonly (readonly [string, GoogleFault, string])[] = [
    ['key-service-throttled', { code: 8, retryAfter: 100 }, 'unavailable'],
    ['key-service-unavailable', { code: 14, retryAfter: 100 }, 'unavailable'],
    ['key-service-unavailable', { code: 13, retryAfter: 100 }, 'unavailable'],
    ['key-service-timeout', { code: 4, retryAfter: 100 }, 'unavailable'],
    ['key-service-credentials', { code: 16, details: 'invalid' }, 'local'],
    ['key-service-denied', { code: 7, details: "Permission 'useToSign' denied" }, 'local'],
    ['key-disabled', { code: 9, details: 'is not enabled' }, 'local'],
    ['key-not-found', { code: 5, details: 'not found' }, 'local'],
    ['key-service-refused', { code: 3, details: 'no' }, 'local'],
    ['key-service-refused', { code: 12 }, 'local'],
  ];
  for (const [code, fault, kind] of faults)
    it(`${code}: status ${fault.code}`, async () => {
      cloud.server.faults['AsymmetricSign'] = [fault];
      const failure = await fails(code, key.sign('sha256', DATA), secrets);
      assert.equal(failure.kind, kind);
      if (fault.retryAfter !== undefined) assert.equal(failure.retryAfterMs, 100_000);
      cloud.server.faults['AsymmetricSign'] = [];
    });
});

it('prints no secret', () => {
  for (const secret of secrets) assert.ok(!cloud.child.output.includes(secret));
});
