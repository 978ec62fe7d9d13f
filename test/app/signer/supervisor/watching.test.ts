import assert from 'node:assert/strict';
import { chmod, readFile, rename, writeFile } from 'node:fs/promises';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeSample } from '../../../../src/sandbox/sample-release.ts';
import { World, gitEnvironment } from '../../../world/site.ts';
import { main, Watching } from '../../../world/watching.ts';
import { execFileSync } from 'node:child_process';

describe('a signer that watches', () => {
  let world: World;
  let watching: Watching;
  const lists = (): string => world.at('keys', 'allowed_signers');
  const watch = async (): Promise<Watching> => {
    watching = new Watching(world.site.signerConfig);
    await watching.logged(/^watching$/);
    return watching;
  };
  before(async () => {
    world = await World.start({ ssh: false });
    await makeSample(world.at('product.zip'));
  });
  afterEach(() => watching?.stop());
  after(() => world.stop());

  it('judges a request by a key that was added to the allowed signers while it watched', async () => {
    const known = await readFile(lists(), 'utf8');
    await writeFile(lists(), '# nobody yet\n');
    const signer = await watch();
    const refused = await world.submit([world.at('product.zip')]);
    await signer.logged(new RegExp(`answered ${refused.slice(0, 12)}: rejected`));
    const { reason } = (await world.receipt()) as { reason: { code: string; hint: string } };
    assert.equal(reason.code, 'commit-signer-unknown');
    assert.match(reason.hint, /this answer is final: once that is settled, submit a new request/);
    await writeFile(lists(), known);
    const accepted = await world.submit([world.at('product.zip')], '--revision', 'again');
    await signer.logged(new RegExp(`answered ${accepted.slice(0, 12)}: signed`));
    await signer.logged(/allowed signers read again, since a file changed/);
  });

  it('judges a request by a key that was revoked while it watched', async () => {
    const revoked = world.at('keys', 'revoked');
    await writeFile(revoked, '');
    await world.reconfigure((text) => text.replace('trust:\n', `trust:\n  revokedKeys: ${revoked}\n`));
    const signer = await watch();
    await writeFile(revoked, await readFile(world.at('keys', 'builder_ed25519.pub'), 'utf8'));
    const request = await world.submit([world.at('product.zip')], '--revision', 'revoked');
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: rejected`));
    assert.equal(
      ((await world.receipt()) as { reason: { code: string } }).reason.code,
      'commit-signer-revoked',
    );
    await world.reconfigure((text) => text.replace(`  revokedKeys: ${revoked}\n`, ''));
  });

  it('judges no request while the list cannot be read: trust-list-unreadable', async () => {
    const signer = await watch();
    await rename(lists(), `${lists()}.away`);
    const request = await world.submit([world.at('product.zip')], '--revision', 'held');
    const held = await signer.logged(/the list cannot be read/);
    assert.equal(held['code'], 'trust-list-unreadable');
    await sleep(1500);
    assert.ok(!signer.records.some(({ msg }) => msg.includes(`answered ${request.slice(0, 12)}`)));
    await rename(`${lists()}.away`, lists());
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: signed`));
  });

  it('judges no request while the list is malformed, and never uses half of it', async () => {
    const known = await readFile(lists(), 'utf8');
    const signer = await watch();
    await writeFile(lists(), 'alice ssh-ed25519 not-a-key\n');
    const request = await world.submit([world.at('product.zip')], '--revision', 'malformed');
    await signer.logged(/allowed_signers/);
    // An editor writes in parts: no request is judged by the first part alone.
    await writeFile(lists(), '');
    await sleep(100);
    await writeFile(lists(), known);
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: signed`));
  });

  it('reads its configuration again on SIGHUP', async () => {
    const signer = await watch();
    signer.signal('SIGHUP');
    await signer.logged(/^the configuration was read again; nothing in it changed$/);
    assert.equal(await signer.stop(), 0);
  });

  it('reads its configuration again when the file changes, and keeps the old one if the new one is unusable', async () => {
    const signer = await watch();
    const config = await readFile(world.site.signerConfig, 'utf8');
    await writeFile(world.site.signerConfig, config.replace('trust:\n', 'trust:\n  nonsense: 1\n'));
    await signer.logged(/the new configuration cannot be used; the signer continues with the old one/);
    const { code } = await signer.logged(/signer\.yaml:\d+:\d+: unknown key "trust\.nonsense"/);
    assert.equal(code, 'config-invalid');
    const before = await world.submit([world.at('product.zip')], '--revision', 'old configuration');
    await signer.logged(new RegExp(`answered ${before.slice(0, 12)}: signed`));
    await writeFile(
      world.site.signerConfig,
      config.replace('trust:\n', 'trust:\n  names: ["other-*.zip"]\n'),
    );
    await signer.logged(
      /^the configuration was read again; changed: trust\.names, channels\.default\.trust\.names$/,
    );
    const after = await world.submit([world.at('product.zip')], '--revision', 'new configuration');
    await signer.logged(new RegExp(`answered ${after.slice(0, 12)}: rejected`));
    const said = signer.records.filter(({ msg }) => /cannot be used/.test(msg));
    assert.equal(said.length, 1, 'logged once');
    await writeFile(world.site.signerConfig, config);
    assert.equal(await signer.stop(), 0);
  });

  it('ends at an error that no part expected, so that it is started again: internal-error', async () => {
    const later = 'setTimeout(() => void Promise.reject(new Error("planted")), 700)';
    watching = new Watching(world.site.signerConfig, {
      NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(later)}"`,
    });
    const { code, level } = await watching.logged(/^unexpected error: planted$/);
    assert.deepEqual({ code, level }, { code: 'internal-error', level: 60 });
    assert.equal(await watching.ended(), 1);
  });

  it('logs once that the host is away, and says when it is back', async () => {
    const signer = await watch();
    await rename(world.control, `${world.control}.away`);
    // The findings of doctor at the start, which may say the same, begin with their topic.
    const away = /^file:.*there is no Git repository/;
    assert.equal((await signer.logged(away))['code'], 'git-no-repository');
    await sleep(2500);
    await rename(`${world.control}.away`, world.control);
    await signer.logged(/^polling works again, after \d+ s$/);
    assert.equal(signer.records.filter(({ msg }) => away.test(msg)).length, 1);
    const request = await world.submit([world.at('product.zip')], '--revision', 'host back');
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: signed`));
  });

  it('warns once about a key file that others may read', async () => {
    const key = world.at('keys', 'codesign.pfx');
    await chmod(key, 0o644);
    const signer = await watch();
    const { code } = await signer.logged(/codesign\.pfx/);
    assert.equal(code, 'secret-open');
    assert.equal(await signer.stop(), 0);
    assert.equal(signer.records.filter(({ msg }) => msg.includes(key)).length, 1);
    await chmod(key, 0o600);
  });

  it('reports at its start what doctor would find broken, and continues', async () => {
    await rename(world.exchange('signed'), world.exchange('elsewhere'));
    const signer = await watch();
    const finding = await signer.logged(/^exchange: /);
    assert.ok(Number(finding['level']) >= 40);
    assert.equal(typeof finding['hint'], 'string');
    await rename(world.exchange('elsewhere'), world.exchange('signed'));
    const request = await world.submit([world.at('product.zip')], '--revision', 'broken at first');
    await signer.logged(new RegExp(`answered ${request.slice(0, 12)}: signed`));
  });
});

/** Runs a command on a terminal, closes the terminal once it watches, and prints the signal that ended it within 10 s. */
const HANG_UP = `import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
shown = b''
while b'watching' not in shown: shown += os.read(terminal, 4096)
os.close(terminal)
end = time.monotonic() + 10
ended, status = 0, 0
while ended == 0 and time.monotonic() < end:
  time.sleep(0.05)
  ended, status = os.waitpid(pid, os.WNOHANG)
if ended == 0: os.kill(pid, 9)
print('went on' if ended == 0 else f'status {os.waitstatus_to_exitcode(status)}')`;

describe('a signer that a person watches on a terminal', () => {
  let world: World;
  before(async () => {
    world = await World.start({ ssh: false });
  });
  after(() => world.stop());

  it('ends with its terminal: SIGHUP asks for a new configuration only if there is none', () => {
    const argv = [process.execPath, main, 'watch', '-c', world.site.signerConfig];
    const receipt = execFileSync('python3', ['-c', HANG_UP, ...argv], { encoding: 'utf8' });
    assert.equal(receipt.trim(), 'status -1', 'ended by SIGHUP, which is signal 1');
  });
});

describe('a signer whose request branch does not exist', () => {
  let world: World;
  before(async () => {
    world = await World.start({ ssh: false });
  });
  after(() => world.stop());

  it('names the missing branch and the existing ones', async () => {
    const clone = world.at('plain');
    const git = (...args: string[]): void => {
      execFileSync('git', ['-C', clone, '-c', 'user.name=P', '-c', 'user.email=p@example.org', ...args], {
        env: gitEnvironment(),
      });
    };
    execFileSync('git', ['clone', '--quiet', world.control, clone], {
      env: gitEnvironment(),
      stdio: 'ignore',
    });
    await writeFile(`${clone}/zipname`, `${'0'.repeat(64)}  product.zip\n`);
    git('checkout', '--quiet', '-b', 'master');
    git('add', 'zipname');
    git('commit', '--quiet', '-m', 'Sign it');
    git('push', '--quiet', 'origin', 'master');
    const ended = await world.watchOnce();
    assert.equal(ended.status, 0);
    assert.match(
      ended.stdout,
      /has no branch main, where requests are looked for \(control\.requests\); it has master/,
    );
  });
});
