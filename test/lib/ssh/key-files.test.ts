import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { gitSshCommand } from '../../../src/lib/ssh/git-ssh-command.ts';
import { parseIdentity } from '../../../src/lib/ssh/identity.ts';
import { loadSshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';

let folder: string;
const at = (name: string): string => join(folder, name);
const write = (name: string, content: string | Buffer): Promise<void> =>
  writeFile(at(name), content, { mode: 0o600 });

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-key-files-'));
  for (const [name, args] of [
    ['ed', '-t ed25519'],
    ['rsa-pem', '-t rsa -b 2048 -m PEM'],
    ['ec-pem', '-t ecdsa -b 256 -m PEM'],
  ] as const)
    execFileSync('ssh-keygen', ['-q', ...args.split(' '), '-N', '', '-f', at(name)]);
});
after(() => rm(folder, { recursive: true, force: true }));

/** Whether OpenSSH itself, which Git uses, reads the file. */
const opensshReads = (name: string): boolean => spawnSync('ssh-keygen', ['-y', '-f', at(name)]).status === 0;

function gitRefusal(name: string): SignpipeError | null {
  try {
    gitSshCommand({ identity: at(name), knownHosts: at('known_hosts') });
    return null;
  } catch (error) {
    assert.ok(error instanceof SignpipeError);
    return error;
  }
}

const CHANGES: readonly (readonly [what: string, change: (text: string) => string | Buffer, why: RegExp])[] =
  [
    ['unchanged', (text) => text, /(?!)/],
    ['without a line feed at the end', (text) => text.trimEnd(), /last line has no line feed/],
    ['with Windows line ends', (text) => text.replaceAll('\n', '\r\n'), /CR LF/],
    ['with a byte order mark', (text) => `\ufeff${text}`, /byte order mark/],
    ['after an empty line', (text) => `\n${text}`, /precedes its first line/],
    ['in UTF-16', (text) => Buffer.from(`\ufeff${text}`, 'utf16le'), /UTF-16/],
    ['before empty lines', (text) => `${text}\n\n`, /(?!)/],
  ];

describe('a private SSH key', () => {
  for (const name of ['ed', 'rsa-pem', 'ec-pem'])
    for (const [what, change, why] of CHANGES)
      it(`${name} ${what}: signs and logs in; Git's use of it is refused, with the reason, if OpenSSH cannot read it`, async () => {
        const own = (await loadSshSigner(at(name))).fingerprint;
        await write('changed', change(await readFile(at(name), 'latin1')));
        const signer = await loadSshSigner(at('changed'));
        assert.equal(signer.fingerprint, own);
        await signer.sign('git', Buffer.from('message'));
        assert.ok(parseIdentity(await readFile(at('changed')), 'changed').isPrivateKey());
        const refused = gitRefusal('changed');
        // Only for OpenSSH's own format: OpenSSL, which reads PEM files for it, accepts more.
        if (name === 'ed') assert.equal(refused === null, opensshReads('changed'));
        if (!refused) return;
        assert.equal(refused.code, 'identity-invalid');
        assert.match(refused.message, why);
        assert.doesNotMatch(refused.hint ?? '', /authorized_keys/);
      });

  it('identity-invalid, ssh-key-unreadable: say what was given instead, and how to convert it', async () => {
    execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', at('pkcs8')], { stdio: 'ignore' });
    await write('ppk', 'PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n');
    await write('jks', Buffer.from('feedfeed00000002', 'hex'));
    for (const [name, what] of [
      ['ppk', /a key of PuTTY \(\.ppk\).*puttygen/s],
      ['pkcs8', /a private key in PEM.*ssh-keygen -p -f/s],
      ['jks', /a Java key store.*ssh-keygen -t ed25519/s],
    ] as const) {
      const bytes = await readFile(at(name));
      if (name === 'pkcs8') await write(name, bytes);
      const reports = (error: SignpipeError, code: string): boolean =>
        error.code === code && what.test(`${error.message}\n${error.hint}`);
      assert.throws(
        () => parseIdentity(bytes, name),
        (error: SignpipeError) => reports(error, 'identity-invalid'),
      );
      execFileSync('chmod', ['600', at(name)]);
      await assert.rejects(loadSshSigner(at(name)), (error: SignpipeError) =>
        reports(error, 'ssh-key-unreadable'),
      );
    }
    assert.match(gitRefusal('ppk')?.message ?? '', /OpenSSH, which Git uses, cannot read it.*PuTTY/);
  });
});
