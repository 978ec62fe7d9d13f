import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parseAuthorizedKeys } from '../../../../../src/app/site/doctor/host/authorized-keys.ts';
import { checkGitKeys } from '../../../../../src/app/site/doctor/host/check-git-keys.ts';
import { checkSshd, readSshdSettings } from '../../../../../src/app/site/doctor/host/check-sshd.ts';
import { checkHostMachine } from '../../../../../src/app/site/doctor/host/doctor-host.ts';
import type { CheckResult } from '../../../../../src/app/site/doctor/check-result.ts';
import { initControl } from '../../../../../src/app/site/init/init-control.ts';
import { siteIdentity } from '../../../../../src/app/site/init/site-identity.ts';
import { pipeline } from '../../../../pipeline/site.ts';
import { makeKey } from '../../../../world/sshd.ts';

const run = promisify(execFile);

let folder = '';
let keys = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-host-'));
  await initControl({ dir: at('srv'), identity: siteIdentity('control', { email: 'host@example.org' }) });
  await makeKey(at('host_key'));
  keys = await shippedKeys();
  await writeFile(at('keys'), keys);
  await writeFile(
    at('sshd_config'),
    `HostKey ${at('host_key')}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n`,
  );
});
after(() => rm(folder, { recursive: true, force: true }));

const at = (...names: string[]): string => join(folder, ...names);

/** The shipped example with a key of its own in each line. */
async function shippedKeys(): Promise<string> {
  let made = 0;
  const text = await readFile(pipeline('host/authorized_keys'), 'utf8');
  return text.replaceAll('AAAA...', () => `AAAAC3NzaC1lZDI1NTE5AAAAI${(made += 1)}`);
}

const problems = (findings: readonly CheckResult[]): string[] =>
  findings.filter(({ status }) => status !== 'ok').map(({ status, code }) => `${status} ${code}`);

/** What doctor finds on a host; `change` plants a fault in a copy. */
async function examined(change: (srv: string) => Promise<unknown> = async () => {}): Promise<CheckResult[]> {
  const srv = await mkdtemp(at('copy-'));
  await cp(at('srv'), srv, { recursive: true });
  await change(srv);
  const findings = await checkHostMachine({
    folder: srv,
    authorizedKeys: at('keys'),
    sshdConfig: at('sshd_config'),
  });
  for (const { status, hint } of findings) assert.ok(status === 'ok' || (hint ?? '').length > 10);
  return findings;
}

const git = (srv: string, ...args: string[]): Promise<unknown> =>
  run('git', ['-C', join(srv, 'control.git'), ...args]);

describe('a host', () => {
  it('that init control made is all ok', async () => {
    assert.deepEqual(problems(await examined()), []);
  });

  const faults: [code: string, what: string, (srv: string) => Promise<unknown>][] = [
    ['bad hook-missing', 'a hook was removed', (srv) => rm(join(srv, 'control.git/hooks/pre-receive'))],
    [
      'bad hook-missing',
      'a hook cannot be run',
      (srv) => chmod(join(srv, 'control.git/hooks/update'), 0o644),
    ],
    [
      'warning hook-old',
      'a hook of another version',
      (srv) => writeFile(join(srv, 'control.git/hooks/update'), '#!/bin/sh\n'),
    ],
    [
      'bad hook-elsewhere',
      'git looks elsewhere',
      (srv) => git(srv, 'config', 'core.hooksPath', '/elsewhere'),
    ],
    [
      'warning host-setting',
      'objects are not checked',
      (srv) => git(srv, 'config', 'receive.fsckObjects', 'false'),
    ],
    [
      'warning host-setting',
      'no limit for pushes',
      (srv) => git(srv, 'config', '--unset', 'receive.maxInputSize'),
    ],
    ['warning host-local-pushes', 'local pushes', (srv) => git(srv, 'config', 'signpipe.local', 'true')],
    ['bad repository-open', 'everyone may write', (srv) => chmod(join(srv, 'control.git/refs'), 0o777)],
    [
      'warning folder-not-there-yet',
      'no folder',
      (srv) => rm(join(srv, 'exchange/signed'), { recursive: true }),
    ],
    ['warning exchange-open', 'everyone may upload', (srv) => chmod(join(srv, 'exchange/incoming'), 0o777)],
  ];
  for (const [code, what, plant] of faults)
    it(`${code.split(' ')[1]}: ${what}`, async () => {
      assert.deepEqual(problems(await examined(plant)), [code]);
    });

  it('host-no-repository: another folder', async () => {
    await assert.rejects(checkHostMachine({ folder: at('srv/exchange') }), { code: 'host-no-repository' });
  });

  it('sshd-unreadable: sshd refuses its configuration', async () => {
    await writeFile(at('broken'), 'Nonsense yes\n');
    await assert.rejects(readSshdSettings('git', at('broken')), { code: 'sshd-unreadable' });
  });
});

describe('keys of the Git account', () => {
  const changed = async (change: (text: string) => string): Promise<CheckResult[]> => {
    assert.notEqual(change(keys), keys);
    await writeFile(at('changed'), change(keys), { mode: 0o600 });
    return checkGitKeys(at('changed'));
  };

  it('are all ok as the shipped example has them', async () => {
    const [found, ...more] = await checkGitKeys(at('keys'));
    assert.equal(found?.message, `6 keys with roles, in ${at('keys')}`);
    assert.deepEqual(more, []);
  });

  const faults: [code: string, what: string, (text: string) => string][] = [
    ['bad git-key-unlimited', 'a bare key', (text) => `${text}\nssh-ed25519 AAAAbare someone\n`],
    [
      'bad git-key-unlimited',
      'restricted, but without a command',
      (text) => `${text}\nrestrict ssh-ed25519 AAAAbare x\n`,
    ],
    ['bad git-key-role', 'no role is set', (text) => text.replace('SIGNPIPE_ROLE=signer ', '')],
    [
      'bad git-key-role',
      'an unknown role',
      (text) => text.replace('SIGNPIPE_ROLE=signer', 'SIGNPIPE_ROLE=admin'),
    ],
    ['bad git-key-role', 'a voucher without a name', (text) => text.replace('SIGNPIPE_USER=bob ', '')],
    ['warning git-key-command', 'another command', (text) => text.replace('exec git-shell -c', 'exec sh -c')],
    [
      'warning git-key-not-restricted',
      'forwarding is open',
      (text) => text.replace('restrict,command', 'command'),
    ],
    [
      'warning git-key-twice',
      'a second line for one key',
      (text) => `${text}\n${text.split('\n').find((line) => line.endsWith(' alice'))}\n`,
    ],
    [
      'warning git-key-example',
      'an example that was left in',
      (text) => `${text}\nrestrict,command="x" ssh-ed25519 AAAA... alice\n`,
    ],
    ['warning git-no-keys', 'an empty file', () => '# nothing\n'],
  ];
  for (const [code, what, change] of faults)
    it(`${code.split(' ')[1]}: ${what}`, async () => {
      assert.deepEqual(problems(await changed(change)), [code]);
    });

  it('git-key-example: the shipped file as it is: one finding for all its lines, and no key', async () => {
    const [found, ...more] = await checkGitKeys(pipeline('host/authorized_keys'));
    assert.match(found?.message ?? '', /line 8: an example without a real key, and 5 more lines like it$/);
    assert.deepEqual(problems(more), ['warning git-no-keys']);
  });

  it('trust-writable: other accounts can change the file', async () => {
    await writeFile(at('open'), keys);
    await chmod(at('open'), 0o666);
    assert.deepEqual(problems(await checkGitKeys(at('open'))), ['bad trust-writable']);
  });

  it('are read as sshd reads them: quotes, commas and blanks in a command', () => {
    const [key, ...more] = parseAuthorizedKeys(
      'no-pty,COMMAND="echo \\"a, b\\" c",from="10.0.0.0/8" ssh-ed25519 AAAAC3 who am i\n  # no key\n\nnonsense\n',
    );
    assert.deepEqual(more, []);
    assert.deepEqual(
      [...(key?.options ?? [])],
      [
        ['no-pty', ''],
        ['command', 'echo "a, b" c'],
        ['from', '10.0.0.0/8'],
      ],
    );
    assert.deepEqual([key?.line, key?.key], [1, 'ssh-ed25519 AAAAC3']);
  });
});

describe('sshd', () => {
  const settings = async (...lines: string[]): Promise<string[]> => {
    const base = await readFile(at('sshd_config'), 'utf8');
    await writeFile(at('changed_config'), `${lines.join('\n')}\n${base}`);
    return problems(checkSshd('git', await readSshdSettings('git', at('changed_config'))));
  };

  it('takes roles from nowhere else than authorized_keys', async () => {
    assert.deepEqual(await settings('AcceptEnv LANG GIT_PROTOCOL'), []);
  });

  it('sshd-accepts-roles: a client may send them', async () => {
    for (const pattern of ['SIGNPIPE_*', '*', 'S?GNPIPE_ROLE'])
      assert.deepEqual(await settings(`AcceptEnv LANG ${pattern}`), ['bad sshd-accepts-roles']);
    assert.deepEqual(await settings('PermitUserEnvironment yes'), ['bad sshd-accepts-roles']);
  });

  it('sshd-passwords: unless a key is needed anyway', async () => {
    assert.deepEqual(await settings('PasswordAuthentication yes'), ['warning sshd-passwords']);
    assert.deepEqual(await settings('PasswordAuthentication yes', 'AuthenticationMethods publickey'), []);
  });
});
