/** Keys made by gpg, and signatures judged by it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { openOpenPgpChecksumKey } from '../../../src/engine/checksums/openpgp-checksum-key.ts';
import { openOpenPgpCommandKey } from '../../../src/engine/checksums/openpgp-command-key.ts';
import type { ChecksumKey } from '../../../src/engine/checksums/checksum-key.ts';
import type { SignpipeError } from '../../../src/lib/errors.ts';
import { temporaryFolder } from '../../lib/zip/zips.ts';

const run = promisify(execFile);
const folder = await temporaryFolder();
const at = (name: string): string => join(folder, name);
const PASSPHRASE = 'open sesame';

async function gpg(...args: string[]): Promise<string> {
  const common = ['--homedir', at('home'), '--batch', '--quiet', '--pinentry-mode', 'loopback'];
  const { stdout } = await run('gpg', [...common, '--passphrase', PASSPHRASE, ...args]);
  return stdout;
}

/** The fingerprint of the primary key of a user. */
const fingerprintOf = async (user: string): Promise<string> =>
  /^fpr:+([0-9A-F]{40}):/m.exec(await gpg('--with-colons', '--list-keys', user))?.[1] ?? '';

/** Makes a key for a user, and exports it to `USER.asc`. */
async function make(user: string, algorithm: string, usage: string, expires = '0'): Promise<void> {
  await gpg('--quick-generate-key', user, algorithm, usage, expires);
  await exportKey(user);
}

const exportKey = (user: string, how = '--export-secret-keys', name = `${user}.asc`): Promise<string> =>
  gpg('--armor', '--yes', '--output', at(name), how, user);

const open = (name: string, change: { passphrase?: string; now?: Date } = {}): Promise<ChecksumKey> =>
  openOpenPgpChecksumKey({
    path: at(name),
    passphrase: PASSPHRASE,
    warn: () => {},
    now: new Date(),
    ...change,
  });

before(async () => {
  await mkdir(at('home'), { mode: 0o700 });
  // Only for speed: otherwise gpg derives each key for a tenth of a second, and much longer on a busy machine.
  await writeFile(at('home/gpg-agent.conf'), 's2k-count 65536\n');
  await writeFile(at('SUMS'), 'some lines\n');
  await make('eddsa', 'ed25519', 'sign', '100d');
});
after(() => run('gpgconf', ['--homedir', at('home'), '--kill', 'all']));

/** Signs, and has gpg verify it as a mirror's user does; returns the status lines. */
async function verified(name: string): Promise<string> {
  const key = await open(name);
  await writeFile(at('SUMS.asc'), await key.sign(await readFile(at('SUMS')), 'SUMS'));
  return gpg('--status-fd', '1', '--verify', at('SUMS.asc'), at('SUMS'));
}

describe('an OpenPGP key', () => {
  it('of Ed25519 signs what gpg --verify accepts, and names its fingerprint and when it expires', async () => {
    const fingerprint = await fingerprintOf('eddsa');
    assert.match(await verified('eddsa.asc'), new RegExp(`^\\[GNUPG:\\] VALIDSIG ${fingerprint} `, 'm'));
    const key = await open('eddsa.asc');
    assert.equal(key.id, fingerprint);
    const days = ((key.expires?.getTime() ?? 0) - Date.now()) / 86_400_000;
    assert.ok(days > 98 && days < 102, `${days} days`);
  });

  it('of RSA signs too, also if it was exported without armor', async () => {
    await make('rsa', 'rsa2048', 'sign');
    await gpg('--yes', '--output', at('rsa.gpg'), '--export-secret-keys', 'rsa');
    for (const name of ['rsa.asc', 'rsa.gpg'])
      assert.match(await verified(name), new RegExp(`VALIDSIG ${await fingerprintOf('rsa')} `));
    assert.equal((await open('rsa.asc')).expires, null);
  });

  it('with a subkey for signing signs with that, even if the primary key is kept elsewhere', async () => {
    await make('sub', 'ed25519', 'cert', '300d');
    const primary = await fingerprintOf('sub');
    await gpg('--quick-add-key', primary, 'ed25519', 'sign', '20d');
    await exportKey('sub', '--export-secret-subkeys');
    const lines = await verified('sub.asc');
    assert.match(lines, new RegExp(`VALIDSIG (?!${primary}).* ${primary}$`, 'm'));
    const { id, expires } = await open('sub.asc');
    assert.equal(id, primary);
    const days = ((expires?.getTime() ?? 0) - Date.now()) / 86_400_000;
    assert.ok(days < 22, `its subkey expires first: ${days} days`);
  });
});

describe('an OpenPGP key that gpg keeps', () => {
  const common = (): { warn: () => void; now: Date } => ({ warn: () => {}, now: new Date() });
  const gpgSigns = (user: string): string[] => [
    'gpg',
    ...['--homedir', at('home'), '--batch', '--pinentry-mode', 'loopback', '--passphrase', PASSPHRASE],
    ...['--armor', '--local-user', user, '--detach-sign'],
  ];

  it('signs by a command, and its signature is verified with the public key', async () => {
    await exportKey('eddsa', '--export', 'eddsa-public.asc');
    const key = await openOpenPgpCommandKey({
      ...common(),
      command: gpgSigns('eddsa'),
      publicKey: at('eddsa-public.asc'),
    });
    assert.equal(key.id, await fingerprintOf('eddsa'));
    await writeFile(at('SUMS.asc'), await key.sign(await readFile(at('SUMS')), 'SUMS'));
    assert.match(await gpg('--status-fd', '1', '--verify', at('SUMS.asc'), at('SUMS')), /VALIDSIG/);
  });

  const answers: readonly [string, string, string, string[]][] = [
    ['signs something else', 'checksum-signature-unsound', 'local', ['sh', '-c', 'cat other.asc']],
    ['answers with other text', 'checksum-signature-unsound', 'local', ['echo', 'signed!']],
    ['answers with nothing', 'checksum-signature-unsound', 'local', ['true']],
    ['fails', 'key-command-failed', 'local', ['false']],
    ['answers without end', 'key-command-answer', 'local', ['yes']],
    ['may not be run again', 'key-command-refused', 'usage', ['sh', '-c', 'exit 77']],
  ];
  for (const [what, code, kind, command] of answers)
    it(`${code}: the command ${what}`, async () => {
      const theirs = at('theirs.asc');
      const key = await open('eddsa.asc');
      await writeFile(theirs, await key.sign(Buffer.from('something else\n'), 'SUMS'));
      const opened = await openOpenPgpCommandKey({
        ...common(),
        command: command.map((word) => word.replace('other.asc', theirs)),
        publicKey: at('eddsa.asc'),
      });
      await assert.rejects(opened.sign(Buffer.from('some lines\n'), 'SUMS'), { code, kind });
    });

  it('checksum-signature-unsound: it is another key than the public one', async () => {
    await make('another', 'ed25519', 'sign');
    const key = await openOpenPgpCommandKey({
      ...common(),
      command: gpgSigns('another'),
      publicKey: at('eddsa.asc'),
    });
    await assert.rejects(key.sign(Buffer.from('x\n'), 'SUMS'), { code: 'checksum-signature-unsound' });
  });

  it('key-command-missing: there is no such program', () =>
    assert.rejects(
      openOpenPgpCommandKey({ ...common(), command: ['no-such-gpg'], publicKey: at('eddsa.asc') }),
      { code: 'key-command-missing', kind: 'usage' },
    ));
});

const refused = (name: string, code: string, change: Parameters<typeof open>[1] = {}): Promise<void> =>
  assert.rejects(open(name, change), (error: { code?: string; kind?: string; message: string }) => {
    assert.deepEqual([error.code, error.kind], [code, 'usage'], error.message);
    assert.ok(!error.message.includes('sesam'), error.message);
    return true;
  });

describe('an OpenPGP key is refused', () => {
  it('openpgp-key-passphrase-missing, openpgp-key-passphrase-wrong', async () => {
    await refused('eddsa.asc', 'openpgp-key-passphrase-wrong', { passphrase: 'open sesam' });
    const none = { path: at('eddsa.asc'), warn: () => {}, now: new Date() };
    await assert.rejects(openOpenPgpChecksumKey(none), { code: 'openpgp-key-passphrase-missing' });
  });

  it('openpgp-key-expired: after its time, and before its beginning', async () => {
    const [later, earlier] = [200, -200].map((days) => new Date(Date.now() + days * 86_400_000));
    await refused('eddsa.asc', 'openpgp-key-expired', later ? { now: later } : {});
    await refused('eddsa.asc', 'openpgp-key-expired', earlier ? { now: earlier } : {});
  });

  it('openpgp-key-revoked', async () => {
    await make('revoked', 'ed25519', 'sign');
    const fingerprint = await fingerprintOf('revoked');
    const certificate = at(`home/openpgp-revocs.d/${fingerprint}.rev`);
    await writeFile(certificate, (await readFile(certificate, 'utf8')).replace(/^:---/m, '---'));
    await gpg('--import', certificate);
    await exportKey('revoked');
    await refused('revoked.asc', 'openpgp-key-revoked');
  });

  it('openpgp-key-cannot-sign: a key that only certifies and encrypts', async () => {
    await make('encrypt', 'ed25519', 'cert');
    await gpg('--quick-add-key', await fingerprintOf('encrypt'), 'cv25519', 'encr');
    await exportKey('encrypt');
    await refused('encrypt.asc', 'openpgp-key-cannot-sign');
  });

  for (const [algorithm, why] of [
    ['brainpoolP256r1', /its curve is not supported$/],
    ['secp256k1', /its curve is not supported$/],
    ['rsa1024', /too weak/],
    ['dsa2048', /too weak/],
  ] as const)
    it(`openpgp-key-cannot-sign: ${algorithm}, for which no subkey helps`, async () => {
      await make(algorithm, algorithm, 'sign');
      await exportKey(algorithm);
      await assert.rejects(open(`${algorithm}.asc`), (error: SignpipeError) => {
        assert.equal(error.code, 'openpgp-key-cannot-sign');
        assert.match(error.message, why);
        assert.match(error.hint ?? '', /^make another key/);
        return true;
      });
    });

  it('openpgp-key-public: a public key', async () => {
    await exportKey('eddsa', '--export', 'public.asc');
    await refused('public.asc', 'openpgp-key-public');
  });

  it('openpgp-key-not-in-file: the primary key signs, and was left out', async () => {
    await make('left-out', 'ed25519', 'sign,cert');
    await gpg('--quick-add-key', await fingerprintOf('left-out'), 'cv25519', 'encr');
    await exportKey('left-out', '--export-secret-subkeys');
    await refused('left-out.asc', 'openpgp-key-not-in-file');
  });

  it('openpgp-key-unreadable: two keys, another file, a damaged one, an empty one', async () => {
    const ed = await readFile(at('eddsa.asc'), 'utf8');
    await gpg('--armor', '--yes', '--output', at('two.asc'), '--export-secret-keys', 'eddsa', 'encrypt');
    await writeFile(at('other.asc'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    await writeFile(at('damaged.asc'), ed.replace(/\n\n.{20}/, '\n\nAAAAAAAAAAAAAAAAAAAA'));
    await writeFile(at('empty.asc'), '');
    for (const name of ['two.asc', 'other.asc', 'damaged.asc', 'empty.asc'])
      await refused(name, 'openpgp-key-unreadable');
  });
});
