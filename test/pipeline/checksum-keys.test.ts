/** The commands of docs/keys.md for checksum keys: those that make them, a signer that uses them, and those of a reader. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { TestSigner } from '../app/signer/test-signer.ts';

const run = promisify(execFile);
const page = join(import.meta.dirname, '../../docs/keys.md');

const LINES = `checksums:
  openpgp: { key: keys/openpgp.asc, passphraseFile: keys/openpgp-passphrase }
  ssh: { key: keys/checksums_ed25519 }
  minisign: { key: keys/minisign.key }
provenance: true
`;

describe('docs/keys.md, its commands for checksum keys', () => {
  let signer: TestSigner;
  let homes = '';
  let reading = '';

  /** Runs commands with a GnuPG of their own; returns all that they print. */
  async function shell(script: string, cwd: string, home: string): Promise<string> {
    const GNUPGHOME = join(homes, home);
    await mkdir(GNUPGHOME, { recursive: true, mode: 0o700 });
    const env = { ...process.env, GNUPGHOME, LC_ALL: 'C.UTF-8' };
    const { stdout, stderr } = await run('sh', ['-eu', '-c', script], { cwd, env });
    return stdout + stderr;
  }

  before(async () => {
    homes = await mkdtemp(join(tmpdir(), 'signpipe-gpg-'));
    await mkdir(join(homes, 'maker'), { mode: 0o700 });
    // Only for speed: otherwise gpg derives each key for a tenth of a second.
    await writeFile(join(homes, 'maker', 'gpg-agent.conf'), 's2k-count 65536\n');
    const section = /^## Checksum keys[^]*?(?=^## )/m.exec(await readFile(page, 'utf8'))?.[0] ?? '';
    const [pgp = '', others = '', check = '', ...more] = [...section.matchAll(/```sh\n([^]*?)```/g)].map(
      ([, block = '']) => block,
    );
    assert.deepEqual(more, []);
    reading = check;
    signer = await TestSigner.open({
      ssh: false,
      lines: LINES,
      change: (text) => text.replace(/^signing:\n/m, 'signing:\n  others: checksum\n'),
      prepare: async (world) => void (await shell(pgp + others, world.at('keys'), 'maker')),
    });
  });
  after(async () => {
    for (const home of await readdir(homes))
      await run('gpgconf', ['--homedir', join(homes, home), '--kill', 'all']);
    await signer.close();
    await rm(homes, { recursive: true, force: true });
  });

  it('make keys with which a signer signs what a reader can check', async () => {
    const request = await signer.send('example.tar.xz', Buffer.from('fd377a585a0000 and more'));
    await signer.signs(request);
    const mirror = signer.world.exchange('signed');
    assert.deepEqual((await readdir(mirror)).sort(), [
      'example.tar.xz',
      'example.tar.xz.SHA256SUMS',
      'example.tar.xz.SHA256SUMS.asc',
      'example.tar.xz.SHA256SUMS.minisig',
      'example.tar.xz.SHA256SUMS.sig',
      'example.tar.xz.intoto.jsonl',
    ]);
    for (const name of ['release.asc', 'release_signers', 'release.pub'])
      await copyFile(signer.world.at('keys', name), join(mirror, name));
    const printed = await shell(reading, mirror, 'reader');
    assert.match(printed, /^gpg: Good signature from "Example releases <release@example\.org>"/m);
    assert.match(printed, /^Good "file" signature for release@example\.org with ED25519 key/m);
    assert.match(printed, /^Signature and comment signature verified/m);
    assert.match(printed, /^example\.tar\.xz: OK$/m);
  });

  it('no secret of these keys is in the log, the receipts or the state folder', async () => {
    const secret = (await readFile(signer.world.at('keys', 'openpgp-passphrase'), 'utf8')).trim();
    const { stdout } = await run('grep', ['-rlF', '--', secret, signer.world.at()]);
    assert.deepEqual(stdout.trim().split('\n'), [signer.world.at('keys', 'openpgp-passphrase')]);
    assert.ok(!JSON.stringify(signer.logged).includes(secret));
  });
});
