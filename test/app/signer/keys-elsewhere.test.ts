/** Signers whose key is not in a file: a service that issues a certificate for each signature, and a command. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PublishedPolicy } from '../../../src/protocol/control/published-policy.ts';
import { keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { LoopbackArtifactSigning, PUBLISHER_EKU } from '../../engine/keys/artifact-signing/service.ts';
import { setEnvironment } from '../../environment.ts';
import { signpipe } from '../../world/site.ts';
import { forge } from '../../lib/zip/zips.ts';
import { program, TestSigner } from './test-signer.ts';

const WRAPPER = join(import.meta.dirname, '../../../keys.example/sign-openssl');

const CHANNEL = 'Sign it\n\nChannel: command';

let service: LoopbackArtifactSigning;
let signer: TestSigner;
let folder: string;
let resetEnvironment: () => void;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-elsewhere-'));
  service = await LoopbackArtifactSigning.start(folder);
  resetEnvironment = setEnvironment(service.environment);
  signer = await TestSigner.open({
    ssh: false,
    change: (text, world) =>
      text
        .replace(/^ {2}pfx: .*$/m, `  key: ${service.uri}`)
        .replace(/^ {2}passphraseFile: .*$/m, `  roots: ${join(folder, 'root.pem')}`)
        .concat(
          `channels:\n  command:\n    signing:\n      certificate: keys/command.pem\n      roots: keys/command-root.pem\n`,
          `      command: [${WRAPPER}, ${world.at('keys', 'command.key')}]\n      concurrency: 2\n`,
        ),
    prepare: async (world) => {
      const { codeSigning, root } = world.site.pki;
      await writeFile(join(folder, 'root.pem'), toPem([service.root.certificate]));
      await writeFile(world.at('keys', 'command.pem'), toPem(codeSigning.chain));
      await writeFile(world.at('keys', 'command-root.pem'), toPem([root.certificate]));
      await writeFile(world.at('keys', 'command.key'), keyToPem(codeSigning.key), { mode: 0o600 });
    },
  });
});
after(async () => {
  await signer.close();
  await service.close();
  resetEnvironment();
  await rm(folder, { recursive: true, force: true });
});

const zipOf = (...seeds: readonly number[]): Buffer =>
  forge(seeds.map((seed) => ({ name: `app-${seed}.exe`, content: program(seed) })));

const audited = async (): Promise<string> => {
  const { world } = signer;
  const allowed = ['--allowed-signers', world.at('keys', 'audit_signers')];
  const { status, stdout, stderr } = await signpipe(['audit', '--repo', world.control, ...allowed, '--json']);
  assert.equal(status, 0, stdout + stderr);
  return stdout;
};

describe('a signer with Azure Artifact Signing', () => {
  it('writes a receipt that names each certificate and one identity; the audit accepts it', async () => {
    const request = await signer.send('daily.zip', zipOf(1, 2, 3));
    await signer.signs(request);
    const { receipt } = await signer.receiptFor(request);
    const certificates = receipt.files[0]?.signed.map(({ certificate }) => certificate) ?? [];
    assert.equal(new Set(certificates).size, 3);
    assert.equal(receipt.certificate?.sha256, certificates[0]);
    assert.ok(!certificates.includes(service.issued[0]), 'the first signature was only a trial');
    assert.deepEqual(receipt.identity, { eku: PUBLISHER_EKU });
    await audited();
  });

  it('publishes the identity alone', async () => {
    const policy = JSON.parse(await signer.world.git('show', 'signed:policy.json')) as PublishedPolicy;
    assert.deepEqual(policy.channels['default']?.certificate, { identity: { eku: PUBLISHER_EKU } });
  });

  it('answers failed while another publisher signs: each further attempt would cost a signature', async () => {
    service.reset();
    service.next = { eku: `${PUBLISHER_EKU}.1` };
    const request = await signer.send('renamed.zip', zipOf(4));
    await signer.poll();
    const { receipt } = await signer.receiptFor(request);
    assert.deepEqual([receipt.outcome, receipt.reason?.code], ['failed', 'key-identity-changed']);
    assert.equal(service.counts.sign, 1);
    service.reset();
    await signer.signs(await signer.send('again.zip', zipOf(4)));
  });

  it('keeps tokens out of receipts and the log', async () => {
    const text = (await audited()) + JSON.stringify(signer.logged);
    assert.doesNotMatch(text + (await readFile(signer.world.site.signerConfig, 'utf8')), /marked[ -]secret/);
  });
});

describe('a signer with a command key', () => {
  it('signs the programs of a zip', async () => {
    const request = await signer.send('command.zip', zipOf(5, 6, 7), { message: CHANNEL });
    await signer.signs(request);
    const { receipt } = await signer.receiptFor(request);
    assert.equal(receipt.certificate?.sha256, signer.world.site.pki.codeSigning.certificate.sha256);
    assert.deepEqual(
      receipt.files[0]?.signed.map(({ certificate }) => certificate),
      [undefined, undefined, undefined],
    );
    await audited();
  });

  it('answers failed if the command fails, and says nothing of what it wrote', async () => {
    await writeFile(signer.world.at('keys', 'command.key'), 'no key');
    const request = await signer.send('broken.zip', zipOf(8, 9), { message: CHANNEL });
    await signer.poll();
    const { receipt } = await signer.receiptFor(request);
    assert.deepEqual([receipt.outcome, receipt.reason?.code], ['failed', 'key-command-failed']);
    assert.doesNotMatch(JSON.stringify(receipt), /Could not|unable to load|PEM|command\.key/i);
    assert.match(
      JSON.stringify(signer.logged),
      /it wrote to standard error: .*(?:Could not|unable to load)/i,
    );
  });
});
