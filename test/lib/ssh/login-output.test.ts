/** An account that prints text at login: the exchange and Git report it as such. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import { checkSigner } from '../../../src/app/site/doctor/doctor.ts';
import { signpipe, startWorld } from '../../world/site.ts';
import { startSshd } from '../../world/sshd.ts';

const SFTP_SERVER = '/usr/lib/openssh/sftp-server';

const world = await startWorld({ sshd: { sftpCommand: SFTP_SERVER } });

describe('an SFTP account that prints', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-login-output-'));
  });
  after(() => rm(folder, { recursive: true }));

  for (const [what, text, shown] of [
    ['a line', 'Welcome to build host', 'Welc'],
    ['an empty line', '', '\\n'],
    ['a word shorter than a length', 'hi', 'hi\\n'],
    ['colours', '\\033[1mWelcome', '\\u{1b}[1m'],
    ['letters that are not ASCII', 'Grüße', 'Gr'],
  ] as const)
    it(`login-shell-prints: ${what}`, async () => {
      const script = join(folder, 'subsystem.sh');
      await writeFile(script, `#!/bin/sh\nprintf '${text}\\n'\nexec ${SFTP_SERVER}\n`, { mode: 0o755 });
      const sshd = await startSshd({ sftpCommand: script });
      try {
        const opening = openExchange({
          url: sshd.url('/tmp'),
          ssh: { identity: sshd.clientKey, knownHosts: sshd.knownHosts },
        });
        await assert.rejects(opening, (error: Error & { code: string; kind: string; hint: string }) => {
          assert.equal(error.code, 'login-shell-prints', error.message);
          assert.equal(error.kind, 'usage');
          assert.ok(error.message.includes(`"${shown}`), error.message);
          assert.match(error.hint, /\.bashrc/);
          return true;
        });
      } finally {
        await sshd.stop();
      }
    });
});

describe('an account whose .bashrc prints', { skip: userInfo().shell !== '/bin/bash' }, () => {
  before(async () => {
    await mkdir(join(world.sshd.folder, 'home'), { recursive: true });
    await writeFile(join(world.sshd.folder, 'home', '.bashrc'), 'echo Welcome to build host\n');
  });

  it('login-shell-prints: doctor reports it for the exchange and for the control repository', async () => {
    const findings = await checkSigner(await loadSignerConfig(world.site.signerConfig));
    const printing = findings.filter(({ code }) => code === 'login-shell-prints').map(({ check }) => check);
    assert.equal(printing.length, 2, JSON.stringify(findings));
    assert.deepEqual(
      findings.filter(({ code }) => /unreachable/.test(code ?? '')),
      [],
    );
  });

  it('login-shell-prints: watch --once and submit report it and nothing else', async () => {
    await writeFile(world.at('a.zip'), 'PK');
    for (const args of [
      ['watch', '--once', '-c', world.site.signerConfig],
      ['submit', world.at('a.zip'), '-c', world.site.builderConfig],
    ]) {
      const ended = await signpipe(args, { killAfter: 20_000 });
      assert.equal(ended.status, 2, ended.stderr);
      assert.match(ended.stderr, /\[?login-shell-prints\]?/);
    }
  });
});
