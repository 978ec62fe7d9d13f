import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** An optional package with native code, which npm leaves out without an error if it cannot be compiled. */
const PACKAGE = 'pkcs11js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** In a process of its own, since a failed `require` is remembered. */
const loads = (): boolean =>
  spawnSync(process.execPath, ['-e', `require('${PACKAGE}')`], { cwd: root, stdio: 'ignore' }).status === 0;

/** Where Node's headers are, so that node-gyp need not download them; undefined if they are not installed. */
function nodeFolder(): string | undefined {
  const folders = [
    process.env['npm_config_nodedir'],
    dirname(dirname(process.execPath)),
    '/usr',
    '/usr/local',
  ];
  return folders.find(
    (folder) => folder !== undefined && existsSync(join(folder, 'include/node/node_api.h')),
  );
}

/**
 * Compiles pkcs11js if it is missing. Returns a message that says what to do if that fails, or null: the tests of PKCS#11
 * are never left out.
 */
export function provideNativePackages(): string | null {
  if (loads()) return null;
  const nodedir = nodeFolder();
  const env = { ...process.env, ...(nodedir !== undefined && { npm_config_nodedir: nodedir }) };
  const npm = existsSync(join(root, 'node_modules', PACKAGE))
    ? ['rebuild', PACKAGE, '--foreground-scripts']
    : ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts=false'];
  spawnSync('npm', npm, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  if (loads()) return null;
  return (
    `The tests need the package ${PACKAGE}, which could not be compiled. Install a C++ compiler, make, python3 and ` +
    `the headers of Node, then:\n  npm_config_nodedir=${nodedir ?? 'FOLDER-ABOVE-include/node'} npm install && npm rebuild ${PACKAGE}`
  );
}
