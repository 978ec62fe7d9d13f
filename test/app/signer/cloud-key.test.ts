/** A signer whose key is in a cloud service: AWS KMS, on the loopback. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { toPem } from '../../../src/sandbox/certificates.ts';
import { setEnvironment } from '../../environment.ts';
import { awsKey, AwsKmsServer } from '../../world/cloud/aws-kms-server.ts';
import { forge } from '../../lib/zip/zips.ts';
import { program, TestSigner } from './test-signer.ts';

const CREDENTIALS = { id: 'AKIAIOSFODNN7EXAMPLE', secret: 'marked-secret-4711', token: 'marked-token-0815' };
const ID = '1234abcd-12ab-34cd-56ef-1234567890ab';

let server: AwsKmsServer;
let signer: TestSigner;
let resetEnvironment: () => void;

before(async () => {
  server = await AwsKmsServer.start(CREDENTIALS);
  resetEnvironment = setEnvironment({
    AWS_ACCESS_KEY_ID: CREDENTIALS.id,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secret,
    AWS_SESSION_TOKEN: CREDENTIALS.token,
    AWS_REGION: AwsKmsServer.region,
    AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${server.port}`,
    AWS_EC2_METADATA_DISABLED: 'true',
  });
  signer = await TestSigner.open({
    ssh: false,
    change: (text) =>
      text
        .replace(/^ {2}pfx: .*$/m, '  key: awskms:///alias/codesign\n  certificate: keys/service.pem')
        .replace(/^ {2}passphraseFile: .*$/m, '  concurrency: 4'),
    prepare: async (world) => {
      const { codeSigning } = world.site.pki;
      server.add(awsKey(codeSigning.key), 'codesign', ID);
      await writeFile(world.at('keys', 'service.pem'), toPem(codeSigning.chain));
    },
  });
});
after(async () => {
  await signer.close();
  await server.close();
  resetEnvironment();
});

const zipOf = (...seeds: readonly number[]): Buffer =>
  forge(seeds.map((seed) => ({ name: `app-${seed}.exe`, content: program(seed) })));

const signatures = (): number => server.requests.filter(({ operation }) => operation === 'Sign').length;

describe('a signer with a key of AWS KMS', () => {
  it('signs the programs of a zip, also if the service asks to slow down meanwhile', async () => {
    server.faults['Sign'] = [{ type: 'ThrottlingException', headers: { 'retry-after': '0' } }];
    const request = await signer.send('release.zip', zipOf(1, 2, 3));
    await signer.signs(request);
    const { receipt } = await signer.receiptFor(request);
    assert.equal(receipt.certificate?.sha256, signer.world.site.pki.codeSigning.certificate.sha256);
    assert.equal(signatures(), 4);
  });

  for (const [type, code] of [
    ['ExpiredTokenException', 'key-service-credentials'],
    ['DisabledException', 'key-disabled'],
  ] as const)
    it(`answers failed, and asks no more, if the service refuses: ${code}`, async () => {
      const before = signatures();
      server.faults['Sign'] = [{ type, message: 'no' }];
      const request = await signer.send(`${code}.zip`, zipOf(4));
      await signer.poll();
      const { receipt } = await signer.receiptFor(request);
      assert.deepEqual([receipt.outcome, receipt.reason?.code], ['failed', code]);
      assert.equal(signatures() - before, 1);
    });

  it('keeps credentials out of receipts and the log', async () => {
    const receipts = await signer.world.git('log', '-p', 'signed');
    assert.doesNotMatch(JSON.stringify(signer.logged) + receipts, /marked-(?:secret|token)/);
  });
});
