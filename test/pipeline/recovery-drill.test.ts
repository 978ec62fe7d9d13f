/** The commands of docs/keys.md with which two custodians seal a signer's keys and restore them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { buildPe } from '../fixtures/pe.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

/** A command `signpipe` that runs what was built. */
const SIGNPIPE = `#!/bin/sh
exec ${process.execPath} ${root}/dist/main.js "$@"
`;

describe('docs/keys.md, the recovery drill', () => {
  let folder = '';
  let seal = '';
  let erase = '';
  let unseal = '';
  let check = '';
  const at = (name: string): string => join(folder, name);

  async function shell(script: string, cwd: string): Promise<string> {
    const env = {
      ...process.env,
      GNUPGHOME: at('gnupg'),
      PATH: `${at('bin')}:${process.env['PATH'] ?? ''}`,
      LC_ALL: 'C.UTF-8',
    };
    const { stdout, stderr } = await run('sh', ['-eu', '-c', script], { cwd, env });
    return stdout + stderr;
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-drill-'));
    await mkdir(at('bin'));
    await mkdir(at('gnupg'), { mode: 0o700 });
    await writeFile(at('bin/signpipe'), SIGNPIPE);
    await chmod(at('bin/signpipe'), 0o755);
    const page = await readFile(join(root, 'docs/keys.md'), 'utf8');
    const section = /^## Recovery drill[^]*/m.exec(page)?.[0] ?? '';
    const blocks = [...section.matchAll(/```sh\n([^]*?)```/g)].map(([, block = '']) => block);
    assert.equal(blocks.length, 4);
    [seal = '', erase = '', unseal = '', check = ''] = blocks;
    await shell('signpipe init signer signer --test-certificate', folder);
    await mkdir(at('signer/state'), { recursive: true });
    await writeFile(at('signer/state/witness'), 'accepted heads');
    await mkdir(at('rescue'));
    await writeFile(at('rescue/trial.exe'), buildPe());
  });
  after(async () => {
    await run('gpgconf', ['--homedir', at('gnupg'), '--kill', 'all']);
    await rm(folder, { recursive: true, force: true });
  });

  it('restores the keys from both halves, and from no half alone', async () => {
    const rescue = at('rescue');
    // What the custodians write down is copied to where they type it in.
    const copy = `cp "$sealing/half-1" "$sealing/half-2" ${rescue}; echo "in $sealing"\n`;
    const sealed = await shell(`${seal}${copy}${erase}`, at('signer'));
    await shell(`cp signer.tar.gpg signer.tar.gpg.sha256 ${rescue}`, at('signer'));
    assert.match(await readFile(at('rescue/half-1'), 'utf8'), /^[A-Za-z0-9+/]{32}\n$/);
    const [, sealing = ''] = /^in (.*)$/m.exec(sealed) ?? [];
    await assert.rejects(readdir(sealing), 'the folder in memory is gone');
    assert.deepEqual(
      (await readdir(at('signer'))).sort(),
      ['keys', 'signer.tar.gpg', 'signer.tar.gpg.sha256', 'signer.yaml', 'state'],
      'no half, passphrase or archive stays on the signer',
    );

    const restored = await shell(unseal + check, rescue);
    const [fingerprint = ''] = /SHA256:\S{43}/.exec(sealed) ?? [];
    assert.ok(fingerprint !== '' && restored.includes(fingerprint), 'the same receipt key');
    assert.match(restored, /trial\.signed\.exe/);
    for (const name of await readdir(at('signer/keys')))
      assert.deepEqual(
        await readFile(join(rescue, 'restored/keys', name)),
        await readFile(join(at('signer/keys'), name)),
        name,
      );
    assert.equal(await readFile(at('rescue/restored/state/witness'), 'utf8'), 'accepted heads');
  });

  it('notices an archive that was changed', async () => {
    const archive = await readFile(at('rescue/signer.tar.gpg'));
    archive.writeUInt8(archive.readUInt8(archive.length - 30) ^ 1, archive.length - 30);
    await writeFile(at('rescue/signer.tar.gpg'), archive);
    await assert.rejects(shell(unseal, at('rescue')), { stdout: 'signer.tar.gpg: FAILED\n' });
  });
});
