import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { AllowedSigners, isRefusal } from '../../src/lib/sshsig/allowed-signers.ts';
import type { SshPublicKey } from '../../src/lib/sshsig/public-key.ts';
import { parsePublicKeyLine } from '../../src/lib/sshsig/ssh-key.ts';
import { openPfxKey } from '../../src/engine/keys/pfx.ts';
import { readPassphraseFile } from '../../src/engine/keys/passphrase.ts';
import { requireUsable } from '../../src/engine/keys/signing-key.ts';
import { createTestPki, keyToPem, toPem } from '../../src/sandbox/certificates.ts';
import { connectSsh } from '../../src/lib/ssh/connection.ts';
import { parseSshUrl } from '../../src/lib/ssh/url.ts';
import { startSshd, type Sshd } from '../world/sshd.ts';

const run = promisify(execFile);
const page = join(import.meta.dirname, '../../keys.example/README.md');

describe('keys.example/README.md, its commands run one after another', () => {
  let folder = '';
  let sshd: Sshd;
  let said = '';
  const at = (name: string): string => join(folder, name);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-keys-'));
    sshd = await startSshd({ hostKeys: ['ed25519'] });
    const { codeSigning, intermediate } = await createTestPki({ intermediate: true, key: 'p256' });
    assert.ok(intermediate);
    await writeFile(at('codesign.key'), keyToPem(codeSigning.key));
    await writeFile(at('codesign.pem'), toPem([codeSigning.certificate]));
    await writeFile(at('chain.pem'), toPem([intermediate.certificate]));
    const blocks = [...(await readFile(page, 'utf8')).matchAll(/```sh\n([^]*?)```/g)].map(
      ([, block = '']) => block,
    );
    const script = blocks
      .join('')
      .replace('-t ed25519 build.example.org', `-t ed25519 -p ${sshd.port} 127.0.0.1`)
      .replace('/etc/ssh/ssh_host_ed25519_key.pub', join(sshd.folder, 'host_ed25519.pub'));
    assert.equal(blocks.length, 8);
    const { stdout, stderr } = await run('sh', ['-eu', '-c', script], { cwd: folder });
    said = stdout + stderr;
  });
  after(async () => {
    await sshd.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const keyOf = async (name: string): Promise<SshPublicKey> =>
    parsePublicKeyLine(await readFile(at(`${name}.pub`), 'utf8'), name);

  it('create keys that only their owner can read', async () => {
    for (const name of [
      'signer_ed25519',
      'builder_ed25519',
      'receipts_ed25519',
      'passphrase',
      'codesign.pfx',
    ])
      assert.equal((await stat(at(name))).mode & 0o077, 0, name);
  });

  it('allow the builder to sign commits now, and nothing else', async () => {
    const allowed = await AllowedSigners.load(at('allowed_signers'));
    const builder = await keyOf('builder_ed25519');
    const found = allowed.find(builder, 'git', new Date());
    assert.ok(!isRefusal(found), JSON.stringify(found));
    assert.equal(found.principal, 'build@example.org');
    assert.ok(isRefusal(allowed.find(builder, 'file', new Date())));
    assert.ok(isRefusal(allowed.find(builder, 'git', new Date('2024-12-31'))));
    assert.match(said, /Good "git" signature for build@example\.org/);
    const receipts = await AllowedSigners.load(at('receipt_signers'));
    assert.ok(!isRefusal(receipts.find(await keyOf('receipts_ed25519'), 'git', new Date())));
  });

  it('revoke a key', async () => {
    const allowed = await AllowedSigners.load(at('allowed_signers'), { revoked: at('revoked_keys') });
    const found = allowed.find(await keyOf('lost_ed25519'), 'git', new Date());
    assert.equal(isRefusal(found) && found.reason, 'revoked');
    assert.match(said, /lost_ed25519\.pub \(lost@example\.org\): REVOKED/);
  });

  it('create a PFX with its chain that signs, with the output that the page shows', async () => {
    const passphrase = await readPassphraseFile(at('passphrase'), assert.fail);
    const key = await openPfxKey({ path: at('codesign.pfx'), passphrase, name: 'Example Release' });
    requireUsable(key, new Date());
    assert.equal(key.certificates.length, 2);
    assert.match(said, /subject=.*Test publisher[^]*notAfter=[^]*Code Signing/);
  });

  it('pin a host key that works, with the fingerprint that the host itself prints', async () => {
    const fingerprints = said.match(/SHA256:\S+(?= \[?127\.0\.0\.1| test)/g) ?? [];
    assert.equal(fingerprints.length, 2);
    assert.equal(fingerprints[0], fingerprints[1]);
    const target = parseSshUrl(sshd.url('/'));
    const client = await connectSsh(target, { identity: sshd.clientKey, knownHosts: at('known_hosts') });
    client.end();
  });
});
