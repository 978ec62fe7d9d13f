import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { AllowedSigners } from '../../src/lib/sshsig/allowed-signers.ts';
import { verifyCommitSignature } from '../../src/lib/git/commit-signature.ts';
import { ControlRepository } from '../../src/protocol/control/repository.ts';
import { listRequests, readRequest } from '../../src/protocol/control/request.ts';
import { sha256Hex } from '../../src/lib/bytes/hash.ts';
import { loadCourierConfig } from '../../src/app/config/courier.ts';
import { initControl } from '../../src/app/site/init/init-control.ts';
import { siteIdentity } from '../../src/app/site/init/site-identity.ts';
import { git } from '../protocol/control/repositories.ts';
import { makeKey, startSshd, type Sshd } from '../world/sshd.ts';
import { pipeline } from './site.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, '../../dist/main.js');
const text = (name: string): Promise<string> => readFile(pipeline(name), 'utf8');

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-recipes-'));
});
after(() => rm(folder, { recursive: true, force: true }));

/** Creates a program with this name, first on the PATH of `bin`. */
async function program(bin: string, name: string, script: string): Promise<void> {
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, name), 0o755);
}

describe('a request without Node', () => {
  let sshd: Sshd;
  let bin = '';
  let clone = '';
  let key = '';
  const zip = Buffer.from('PK\x05\x06'.padEnd(22, '\0'), 'latin1');

  before(async () => {
    const host = join(folder, 'host');
    // As in pipeline/host/sshd_config, relative paths begin at the exchange's parent.
    sshd = await startSshd({ sftpCommand: `internal-sftp -d ${host}` });
    await initControl({
      dir: host,
      identity: siteIdentity('control', { name: 'Host', email: 'host@example.org' }),
    });
    await git(join(host, 'control.git'), ['config', 'signpipe.local', 'true']);
    key = join(folder, 'builder_ed25519');
    await makeKey(key);
    bin = join(folder, 'bin');
    await writeFile(
      join(folder, 'ssh_config'),
      `Host build.example.org\n HostName 127.0.0.1\n Port ${sshd.port}\n User ${sshd.user}\n IdentityFile ${sshd.clientKey}\n` +
        ` IdentitiesOnly yes\n UserKnownHostsFile ${sshd.knownHosts}\n StrictHostKeyChecking yes\n BatchMode yes\n`,
    );
    await program(
      bin,
      'scp',
      `exec /usr/bin/scp -q -F ${join(folder, 'ssh_config')} -o User=${sshd.user} "$@"`,
    );
    clone = join(folder, 'clone');
    await git(folder, ['clone', '-q', `file://${host}/control.git`, clone]);
    await git(clone, ['config', 'gpg.format', 'ssh']);
    await git(clone, ['config', 'user.signingkey', key]);
    await git(clone, ['config', 'user.name', 'Build Master']);
    await git(clone, ['config', 'user.email', 'build@example.org']);
  });
  after(() => sshd.stop());

  /** Runs a recipe in the clone, with scp directed to the test host, as an entry in ssh_config would do. */
  const shell = (args: string[], environment: Record<string, string> = {}): Promise<{ stdout: string }> => {
    const env = {
      ...process.env,
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      PATH: `${bin}:${process.env['PATH'] ?? ''}`,
      ...environment,
    };
    return run('sh', args, { cwd: clone, env });
  };

  /** The only request since `exclude`, as the signer reads it, and the principal who signed it. */
  async function request(
    exclude: string[],
  ): Promise<{ id: string; files: unknown; by: string; subject: string }> {
    const repository = await ControlRepository.open({
      url: `file://${join(folder, 'host', 'control.git')}`,
      path: join(folder, 'signer-clone'),
    });
    try {
      const { requests } = await repository.fetch();
      assert.ok(requests);
      const ids = await listRequests(repository, requests, exclude);
      assert.equal(ids.length, 1);
      const read = await readRequest(repository, ids[0] ?? '');
      assert.equal(read.error, null);
      const line = `build@example.org namespaces="git" ${await readFile(`${key}.pub`, 'utf8')}`;
      const { principal } = verifyCommitSignature(read.raw, AllowedSigners.parse(line, 'allowed_signers'));
      return { id: read.id, files: read.files, by: principal, subject: read.subject };
    } finally {
      repository.close();
    }
  }

  let first = '';

  it('the three lines of the template’s README create one, signed and pinned; the template itself contains none', async () => {
    await writeFile(join(clone, 'build.zip'), zip);
    const lines = /```sh\n(scp [^`]*)```/.exec(await text('control/README.md'))?.[1] ?? '';
    assert.equal(lines.trim().split('\n').length, 3);
    await shell(['-ec', lines]);
    const asked = await request([]);
    assert.deepEqual(asked.files, [{ name: 'build.zip', sha256: sha256Hex(zip) }]);
    assert.deepEqual([asked.by, asked.subject], ['build@example.org', 'Sign build.zip']);
    assert.deepEqual(await readFile(join(folder, 'host/exchange/incoming/build.zip')), zip);
    first = asked.id;
  });

  it('builder/request.sh creates one for a file in another folder, and prints its id', async () => {
    const other = Buffer.concat([zip.subarray(0, 20), Buffer.from([2, 0, 104, 105])]);
    await mkdir(join(folder, 'out'));
    await writeFile(join(folder, 'out', 'product-2.zip'), other);
    const { stdout } = await shell([pipeline('builder/request.sh'), '../out/product-2.zip'], {
      EXCHANGE: 'build.example.org:exchange',
    });
    const asked = await request([first]);
    assert.equal(stdout.trim(), asked.id);
    assert.deepEqual(asked.files, [{ name: 'product-2.zip', sha256: sha256Hex(other) }]);
    assert.deepEqual(await readFile(join(folder, 'host/exchange/incoming/product-2.zip')), other);
  });

  it('builder/request.sh requests the same bytes again, also from a clone that is behind', async () => {
    const exclude = (await git(clone, ['rev-parse', 'HEAD'])).stdout.trim();
    await git(clone, ['reset', '-q', '--hard', 'HEAD~1']);
    const { stdout } = await shell([pipeline('builder/request.sh'), '../out/product-2.zip'], {
      EXCHANGE: 'build.example.org:exchange',
    });
    assert.equal(stdout.trim(), (await request([exclude])).id);
  });

  it('no request is created if the upload fails', async () => {
    const before = await git(clone, ['rev-parse', 'origin/main']);
    await assert.rejects(
      shell([pipeline('builder/request.sh'), '../out/product-2.zip'], {
        EXCHANGE: 'build.example.org:nowhere',
      }),
    );
    await git(clone, ['fetch', '-q']);
    assert.deepEqual(await git(clone, ['rev-parse', 'origin/main']), before);
  });
});

describe('the host’s sshd_config', () => {
  let effective: (user: string) => Promise<string>;
  before(async () => {
    const key = join(folder, 'host_key');
    await makeKey(key);
    await writeFile(
      join(folder, 'sshd_config'),
      `HostKey ${key}\nPort 22\n${await text('host/sshd_config')}`,
    );
    effective = async (user) => {
      const who = `user=${user},host=client.example.org,addr=192.0.2.1`;
      return (await run('/usr/sbin/sshd', ['-T', '-f', join(folder, 'sshd_config'), '-C', who])).stdout;
    };
  });

  it('limits the accounts of the exchange to SFTP in their folder', async () => {
    for (const user of ['build', 'sign']) {
      const config = await effective(user);
      for (const line of [
        'forcecommand internal-sftp -d / -u 0027',
        'chrootdirectory /srv/sftp',
        'permittty no',
        'authenticationmethods publickey',
        'authorizedkeysfile /etc/ssh/signpipe/%u',
      ])
        assert.ok(config.split('\n').includes(line), `${user}: ${line}\n${config}`);
    }
  });

  it('allows no forwarding but the signer’s, to its timestamp authorities', async () => {
    for (const user of ['git', 'build'])
      assert.match(await effective(user), /^disableforwarding yes$/m, user);
    const signer = await effective('sign');
    for (const line of [
      'allowtcpforwarding local',
      'permitopen timestamp.example.org:80 timestamp.example.net:80',
      'permitlisten none',
      'allowagentforwarding no',
      'allowstreamlocalforwarding no',
      'x11forwarding no',
      'permittunnel no',
      'gatewayports no',
    ])
      assert.ok(signer.split('\n').includes(line), `${line}\n${signer}`);
  });

  it('accepts only the protocol version from the Git account’s environment', async () => {
    const config = await effective('git');
    assert.match(config, /^forcecommand none$/m);
    assert.match(config, /^permittty no$/m);
    assert.deepEqual(config.match(/^acceptenv .*$/gm), ['acceptenv GIT_PROTOCOL']);
  });

  it('does not affect other accounts', async () => {
    assert.match(await effective('somebody'), /^chrootdirectory none$/m);
  });
});

describe('the recipe for a courier in docs/operating.md', () => {
  it('makes a folder whose configuration is read, with a key that only the courier can read', async () => {
    const manual = await readFile(join(import.meta.dirname, '../../docs/operating.md'), 'utf8');
    const block = /```sh\n(useradd [^`]*signpipe-courier[^`]*)```/.exec(manual)?.[1] ?? '';
    const [home, units] = [join(folder, 'courier'), join(folder, 'units')];
    await mkdir(units);
    const script = block
      .replaceAll('/var/lib/signpipe-courier', home)
      .replaceAll('/opt/signpipe', join(import.meta.dirname, '../..'))
      .replaceAll('/etc/systemd/system', units);
    // This machine gets no account.
    await run('sh', ['-euc', `useradd() { :; }\n${script}`]);
    const config = await loadCourierConfig(join(home, 'courier.yaml'));
    assert.equal(config.state, join(home, 'state'));
    const { mode } = await stat(config.ssh?.identity ?? '');
    assert.equal(mode & 0o077, 0);
    assert.equal(
      await readFile(join(units, 'signpipe-courier.service'), 'utf8'),
      await text('courier/signpipe-courier.service'),
    );
    assert.match(await text('host/authorized_keys'), /SIGNPIPE_ROLE=courier .* courier$/m);
  });
});

const UNITS = [
  { name: 'signer', folder: '/var/lib/signpipe' },
  { name: 'courier', folder: '/var/lib/signpipe-courier' },
  // The only one whose result others read.
  { name: 'auditor', folder: '/var/lib/signpipe-audit', umask: '0022', writes: ' /var/www/signpipe-audit' },
];

for (const { name, folder: home, umask = '0077', writes = '' } of UNITS)
  describe(`the ${name}’s systemd unit`, () => {
    const unit = (): Promise<string> => text(`${name}/signpipe-${name}.service`);

    it('is hardened, never listens, and restarts only what a restart can help', async () => {
      const lines = new Set((await unit()).split('\n'));
      for (const line of [
        'NoNewPrivileges=yes',
        'ProtectSystem=strict',
        `ReadWritePaths=${home}/state${writes}`,
        `UMask=${umask}`,
        'CapabilityBoundingSet=',
        'SocketBindDeny=any',
        'PrivateTmp=yes',
        'ProtectHome=yes',
        'Restart=on-failure',
        'RestartPreventExitStatus=2 3',
      ])
        assert.ok(lines.has(line), line);
    });

    it('runs a command that exists, with options that exist', async () => {
      const argv = /^ExecStart=\/usr\/local\/bin\/signpipe (.+)$/m.exec(await unit())?.[1]?.split(' ') ?? [];
      await assert.rejects(run(process.execPath, [main, ...argv]), (error: Error) =>
        error.message.includes(`${home}/${name}.yaml: no such configuration file [config-not-found]`),
      );
    });

    it('is as hardened as the others', async () => {
      const hardening = (source: string): string[] =>
        source
          .split('\n')
          .filter((line) =>
            /^(?:Protect|Private|Restrict|Capability|Ambient|NoNew|Lock|System|Remove|Keyring|Limit)/.test(
              line,
            ),
          )
          .filter((line) => !line.startsWith('RestartPrevent'));
      assert.deepEqual(hardening(await unit()), hardening(await text('signer/signpipe-signer.service')));
    });

    it('is valid according to systemd-analyze, if installed, and by its syntax', async () => {
      const source = await unit();
      for (const line of source.split('\n'))
        assert.match(line, /^(?:|[#;].*|\[(?:Unit|Service|Install)\]|[A-Z][A-Za-z]+=.*)$/);
      // This machine has neither the program nor the account.
      const here = source
        .replaceAll('/usr/local/bin/signpipe', process.execPath)
        .replace(/^(User|Group)=.*$/gm, '$1=root');
      const path = join(folder, `signpipe-${name}.service`);
      await writeFile(path, here);
      const judged = await run('systemd-analyze', ['verify', '--man=no', path]).catch((error: unknown) => {
        if ((error as { code?: unknown }).code === 'ENOENT') return null;
        throw error;
      });
      if (judged) assert.equal(judged.stderr, '');
    });
  });
