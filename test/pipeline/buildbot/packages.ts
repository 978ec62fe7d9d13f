import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Debian's packages that only the systems test of Buildbot needs, and a file of each. */
const PACKAGES: Readonly<Record<string, string>> = {
  buildbot: '/usr/bin/buildbot',
  'buildbot-worker': '/usr/bin/buildbot-worker',
  pyflakes3: '/usr/bin/pyflakes3',
  mypy: '/usr/bin/mypy',
};

const missing = (): string[] => Object.keys(PACKAGES).filter((name) => !existsSync(PACKAGES[name] ?? ''));

/** Installs Buildbot, if the test runs as root; otherwise names what is missing. */
export function provideBuildbot(): void {
  if (missing().length > 0 && process.getuid?.() === 0) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const args = ['install', '--yes', '--quiet', '--no-install-recommends', ...missing()];
    spawnSync('apt-get', args, { env, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  if (missing().length > 0)
    throw new Error(`not installed: apt-get install --no-install-recommends ${missing().join(' ')}`);
}
