import assert from 'node:assert/strict';
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { createZip } from '../../../src/lib/zip/create-zip.ts';
import { toPem } from '../../../src/sandbox/certificates.ts';
import { attest, attestUnchanged } from '../../engine/provenance/attested-file.ts';
import { makeSigningSetup } from '../../engine/artifact/signing-setup.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { SshWorld } from '../../lib/sshsig/ssh-world.ts';
import { assertRefused, signpipe, type Ended } from '../../world/site.ts';

const world = new SshWorld();
let folder: string;
const at = (name: string): string => join(folder, name);

before(async () => {
  world.key('receipts', 'ed25519');
  world.key('other', 'ed25519');
  const setup = await makeSigningSetup();
  folder = setup.folder;
  const signing = { ...setup.signing, isOurs: (path: string) => path.endsWith('tool.exe') };
  const signer = await loadSshSigner(world.path('receipts'));
  await writeFile(at('tool.exe'), buildPe({}));
  await writeFile(at('other.exe'), buildPe({ dll: true }));
  const names = ['tool.exe', 'other.exe'];
  await createZip(
    names.map((name) => ({ path: at(name), name })),
    at('product.zip'),
  );
  for (const name of ['tool.exe', 'product.zip'])
    await writeFile(
      at(`${name}.intoto.jsonl`),
      await attest(at(name), at(`signed-${name}`), { signing, signer }),
    );
  await writeFile(at('ca.pem'), toPem(signing.key.certificates));
  await copyFile(world.path('receipts.pub'), at('receipts.pub'));
  await copyFile(world.path('other.pub'), at('other.pub'));
});
after(async () => {
  world.close();
  await rm(folder, { recursive: true, force: true });
});

const verify = (...args: string[]): Promise<Ended> => signpipe(['verify', ...args], { cwd: folder });
const withProvenance = (file: string, provenance: string, ...more: string[]): Promise<Ended> =>
  verify(file, '--provenance', provenance, '--receipt-signers', 'receipts.pub', ...more);

describe('signpipe verify --provenance', () => {
  it('says how a program was signed, and needs no --ca to be good', async () => {
    const { status, stdout, stderr } = await withProvenance('signed-tool.exe', 'tool.exe.intoto.jsonl');
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^signed-tool\.exe: good: as its provenance says$/m);
    assert.match(stdout, /provenance: stated by receipts\.key \(SHA256:/);
    assert.match(stdout, /made from tool\.exe, SHA-256 [0-9a-f]{64}/);
    assert.match(stdout, /by bob@example\.org .* on channel default, source v1\.0/);
    assert.match(
      stdout,
      /1 of 1 program: with the signature removed, the digest is that stated for the unsigned program$/m,
    );
  });

  it('accepts a zip with unsigned programs that are not ours', async () => {
    const { status, stdout } = await withProvenance('signed-product.zip', 'product.zip.intoto.jsonl');
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^ {2}\d+ programs: \d+ signed as provenance states(, \d+ unsigned)?$/m);
    assert.doesNotMatch(stdout, /who signed was not checked/);
  });

  it('prints the statement as JSON', async () => {
    const { status, stdout } = await withProvenance('signed-tool.exe', 'tool.exe.intoto.jsonl', '--json');
    assert.equal(status, 0, stdout);
    const { provenance } = JSON.parse(stdout) as {
      provenance: { verified: boolean; statement: { predicateType: string }; restored: string[] };
    };
    assert.equal(provenance.verified, true);
    assert.equal(provenance.statement.predicateType, 'https://signpipe.invalid/provenance/v1');
    assert.deepEqual(provenance.restored, ['']);
  });

  it('compares the original with the file that was signed', async () => {
    const proved = await withProvenance('signed-tool.exe', 'tool.exe.intoto.jsonl', '--original', 'tool.exe');
    assert.equal(proved.status, 0, proved.stdout);
    const other = await withProvenance('signed-tool.exe', 'tool.exe.intoto.jsonl', '--original', 'other.exe');
    assert.equal(other.status, 3);
    assert.match(other.stdout, /FAILED: provenance: .*\[provenance-other-original\]/);
  });

  it('exits with 3 for the provenance of another file, and names the code', async () => {
    const { status, stdout } = await withProvenance('signed-tool.exe', 'product.zip.intoto.jsonl');
    assert.equal(status, 3);
    assert.match(stdout, /FAILED: provenance: .*\[provenance-other-file\]/);
    assert.equal(stdout.match(/FAILED/g)?.length, 1);
    const json = await withProvenance('signed-tool.exe', 'product.zip.intoto.jsonl', '--json');
    assert.equal(
      (JSON.parse(json.stdout) as { provenance: { code: string } }).provenance.code,
      'provenance-other-file',
    );
  });

  it('exits with 3 for another signer', async () => {
    const args = [
      'signed-tool.exe',
      '--provenance',
      'tool.exe.intoto.jsonl',
      '--receipt-signers',
      'other.pub',
    ];
    const { status, stdout } = await verify(...args);
    assert.equal(status, 3);
    assert.match(stdout, /\[provenance-signer-unknown\]/);
  });

  it('receipt-signers-missing: whose statement counts was not said', async () => {
    assertRefused(
      await verify('signed-tool.exe', '--provenance', 'tool.exe.intoto.jsonl'),
      2,
      'receipt-signers-missing',
    );
  });

  it('receipt-signers-alone: a list of keys without provenance', async () => {
    assertRefused(
      await verify('signed-tool.exe', '--receipt-signers', 'receipts.pub'),
      2,
      'receipt-signers-alone',
    );
  });

  it('receipt-signers-unreadable: no such list, and no text', async () => {
    const args = ['signed-tool.exe', '--provenance', 'tool.exe.intoto.jsonl', '--receipt-signers'];
    assertRefused(await verify(...args, 'nowhere'), 2, 'receipt-signers-unreadable');
    assertRefused(await verify(...args, 'signed-tool.exe'), 2, 'receipt-signers-unreadable');
    assertRefused(
      await verify(...args, world.path('receipts')),
      2,
      'receipt-signers-unreadable',
      /private key/,
    );
  });

  it('one-provenance-for-several: two files', async () => {
    const two = await withProvenance('signed-tool.exe', 'tool.exe.intoto.jsonl', 'tool.exe');
    assertRefused(two, 2, 'one-provenance-for-several');
  });

  it('path-not-found: no such provenance', async () => {
    assertRefused(await withProvenance('signed-tool.exe', 'nowhere.jsonl'), 2, 'path-not-found');
  });
});

describe('the provenance of a file that cannot be signed', () => {
  const attested = async (name: string, bytes: Buffer): Promise<void> => {
    await writeFile(at(name), bytes);
    const signer = await loadSshSigner(world.path('receipts'));
    await writeFile(at(`${name}.intoto.jsonl`), await attestUnchanged(at(name), signer));
  };

  it('makes it good, since it says that nothing was signed', async () => {
    await attested('source.tar.xz', Buffer.from('not a program'));
    const { status, stdout, stderr } = await withProvenance('source.tar.xz', 'source.tar.xz.intoto.jsonl');
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^source\.tar\.xz: good: as its provenance says$/m);
    assert.equal((await verify('source.tar.xz')).status, 3);
  });

  it('takes the file itself for its original, and no other', async () => {
    await attested('same.tar.xz', Buffer.from('not a program'));
    await copyFile(at('same.tar.xz'), at('original.tar.xz'));
    const provenance = 'same.tar.xz.intoto.jsonl';
    const { status, stdout } = await withProvenance(
      'same.tar.xz',
      provenance,
      '--original',
      'original.tar.xz',
    );
    assert.equal(status, 0, stdout);
    await writeFile(at('original.tar.xz'), 'another one');
    const other = await withProvenance('same.tar.xz', provenance, '--original', 'original.tar.xz');
    assert.equal(other.status, 3);
    assert.match(other.stdout, /\[provenance-other-original\]/);
    assert.equal((await verify('same.tar.xz', '--original', 'same.tar.xz')).status, 3);
  });

  it('does not make one good that was changed', async () => {
    await attested('changed.tar.xz', Buffer.from('not a program'));
    await writeFile(at('changed.tar.xz'), 'another one');
    const { status, stdout } = await withProvenance('changed.tar.xz', 'changed.tar.xz.intoto.jsonl');
    assert.equal(status, 3);
    assert.match(stdout, /\[provenance-other-file\]/);
  });

  it('does not meet a demand for signatures', async () => {
    await attested('asked.tar.xz', Buffer.from('not a program'));
    const asked = await withProvenance('asked.tar.xz', 'asked.tar.xz.intoto.jsonl', '--ca', 'ca.pem');
    assert.equal(asked.status, 3, asked.stdout + asked.stderr);
  });
});
