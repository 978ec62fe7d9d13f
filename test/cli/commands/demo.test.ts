import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createZip } from '../../../src/lib/zip/create-zip.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { assertRefused, gitEnvironment, signpipe } from '../../world/site.ts';

describe('signpipe demo', () => {
  let folder: string;
  const at = (...names: string[]): string => join(folder, ...names);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-demo-test-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('runs the whole pipeline, and keeps all files', async () => {
    const ended = await signpipe(['demo', '--dir', at('demo')]);
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /plus 4 signatures, and nothing else/);
    assert.match(ended.stdout, /Outcome: signed/);
    const names = await readdir(at('demo'));
    for (const name of [
      'unsigned.zip',
      'signed.zip',
      'ca.pem',
      'tsa.pem',
      'control.git',
      'keys',
      'signer.yaml',
      'builder.yaml',
    ])
      assert.ok(names.includes(name), name);
  });

  it('leaves a valid signed zip, and a repository that an audit accepts', async () => {
    const roots = ['--ca', at('demo/ca.pem'), '--timestamp-ca', at('demo/tsa.pem')];
    const original = ['--original', at('demo/unsigned.zip')];
    const verified = await signpipe(['verify', at('demo/signed.zip'), ...roots, ...original]);
    assert.equal(verified.status, 0, verified.stdout);
    execFileSync('git', ['-C', at('demo/control.git'), 'fsck', '--strict'], {
      env: gitEnvironment(),
      stdio: 'pipe',
    });
    const signers = ['--allowed-signers', at('demo/keys/audit_signers')];
    const audited = await signpipe(['audit', '--repo', at('demo/control.git'), ...signers]);
    assert.equal(audited.status, 0, audited.stderr);
  });

  it('leaves configurations that work without any host', async () => {
    const submitted = await signpipe(['submit', '-c', at('demo/builder.yaml'), at('demo/unsigned.zip')]);
    assert.equal(submitted.status, 0, submitted.stderr);
    assert.equal((await signpipe(['watch', '-c', at('demo/signer.yaml'), '--once'])).status, 0);
    const where = ['-c', at('demo/builder.yaml'), '--output', at('out')];
    const flags = ['--allow-test-certificate', '--timeout', '20s'];
    const waited = await signpipe(['wait', submitted.stdout.trim(), ...where, ...flags]);
    assert.equal(waited.status, 0, waited.stderr);
    assert.deepEqual(await readdir(at('out')), ['unsigned.zip']);
  });

  it('accepts the user’s own zip', async () => {
    await writeFile(at('own.exe'), buildPe({}));
    await createZip([{ path: at('own.exe'), name: 'own.exe' }], at('own.zip'));
    const ended = await signpipe(['demo', at('own.zip'), '--dir', at('own')]);
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /plus 1 signatures, and nothing else/);
  });

  for (const way of ['ssh', 'courier'])
    it(`gets its timestamps via ${way}`, async () => {
      const ended = await signpipe(['demo', '--dir', at(way), '--timestamp-via', way]);
      assert.equal(ended.status, 0, ended.stderr);
      assert.match(ended.stdout, /4 programs are signed and timestamped/);
      const roots = ['--ca', at(`${way}/ca.pem`), '--timestamp-ca', at(`${way}/tsa.pem`)];
      const verified = await signpipe(['verify', at(`${way}/signed.zip`), ...roots]);
      assert.equal(verified.status, 0, verified.stdout);
    });

  it('folder-not-empty, file-not-found: changes nothing', async () => {
    await mkdir(at('full'));
    await writeFile(at('full', 'file'), '');
    const full = await signpipe(['demo', '--dir', at('full')]);
    assert.deepEqual([full.status, await readdir(at('full'))], [2, ['file']]);
    assert.match(full.stderr, /\[folder-not-empty\]/);
    const none = await signpipe(['demo', at('none.zip')]);
    assertRefused(none, 2, 'file-not-found');
  });
});
