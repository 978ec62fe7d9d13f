import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Debian packages, and a file of each, by which is seen whether it is installed. */
type Packages = Readonly<Record<string, string>>;

/** Provides what only one systems test needs: installs it as root, and otherwise names what is missing. */
export function provideDebian(packages: Packages): void {
  const missing = (): string[] => Object.keys(packages).filter((name) => !existsSync(packages[name] ?? ''));
  if (missing().length > 0 && process.getuid?.() === 0) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const args = ['install', '--yes', '--quiet', '--no-install-recommends', ...missing()];
    spawnSync('apt-get', args, { env, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  if (missing().length > 0)
    throw new Error(`not installed: apt-get install --no-install-recommends ${missing().join(' ')}`);
}
