/** What the walk does to its own mount and network namespaces: nothing of it is seen by this machine. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const run = (program: string, ...args: string[]): void => {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
};

/** A folder in the place of one of this machine, with a copy of its content or empty. */
function replace(path: string, scratch: string, content: 'copy' | 'empty'): void {
  const folder = join(scratch, path.replaceAll('/', '_'));
  if (content === 'copy') run('cp', '-a', path, folder);
  else mkdirSync(folder, { recursive: true });
  mkdirSync(path, { recursive: true });
  run('mount', '--bind', folder, path);
}

/** Programs that every Unix has, and the three that the README asks for. */
const PROGRAMS = [
  ...['node', 'npm', 'git', 'git-shell', 'git-upload-pack', 'git-receive-pack'],
  ...['ssh', 'ssh-keygen', 'ssh-keyscan', 'sshd', 'sftp', 'scp'],
  ...[
    'sh',
    'cat',
    'cp',
    'mv',
    'rm',
    'mkdir',
    'chmod',
    'chown',
    'install',
    'ls',
    'echo',
    'env',
    'cut',
    'grep',
    'sha256sum',
  ],
  ...[
    'useradd',
    'usermod',
    'runuser',
    'flock',
    'getent',
    'id',
    'tail',
    'head',
    'sed',
    'sort',
    'test',
    'openssl',
  ],
];

/** A PATH with these programs only; `more` are folders of the command that was installed. */
export function onlyPrograms(scratch: string, more: readonly string[]): string {
  const folder = join(scratch, 'path');
  mkdirSync(folder);
  for (const name of PROGRAMS) {
    const found = execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${name} || true`])
      .toString()
      .trim();
    if (found.startsWith('/')) symlinkSync(found, join(folder, name));
  }
  // The host reloads sshd by it; here there is no systemd.
  writeFileSync(
    join(folder, 'systemctl'),
    `#!/bin/sh\nset -e\nif [ -e /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; else ${execFileSync('sh', ['-c', 'PATH=$PATH:/usr/sbin command -v sshd']).toString().trim()} -E ${join(scratch, 'sshd.log')}; fi\n`,
  );
  chmodSync(join(folder, 'systemctl'), 0o755);
  return [...more, folder].join(':');
}

/** Prepares a machine with accounts and addresses of its own, which `build.example.org` names too. */
export function prepareMachine(scratch: string): void {
  run('ip', 'link', 'set', 'lo', 'up');
  replace('/etc', scratch, 'copy');
  for (const folder of ['/srv', '/home', '/run']) replace(folder, scratch, 'empty');
  mkdirSync('/run/sshd');
  appendFileSync('/etc/hosts', '\n127.0.0.1 build.example.org\n');
  run('ssh-keygen', '-A');
}
