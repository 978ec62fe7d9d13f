import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasCode, messageOf, usage } from '../../../lib/errors.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { printable } from '../../../lib/printable.ts';

/**
 * The command that installs packages beside this one. Node looks for them in the `node_modules` of the package's own
 * folder and of the folders above, so a global installation finds what was installed globally.
 */
function installCommand(packages: readonly string[]): string {
  const root = fileURLToPath(packageRoot).replace(/[/\\]$/, '');
  const names = packages.join(' ');
  const parent = dirname(root);
  if (basename(parent) !== 'node_modules') return `run npm install --no-save ${names} in ${root}`;
  return `run npm install -g ${names} if signpipe was installed with -g, else npm install ${names} in ${dirname(parent)}`;
}

/**
 * Loads a service's SDK, an optional peer dependency. Throws `key-sdk-missing` (usage) with the command that installs the
 * packages, or `key-sdk-unusable` if they are there and cannot be loaded.
 */
export async function loadSdk<T>(packages: readonly string[], load: () => Promise<T>): Promise<T> {
  const names = packages.join(' and ');
  try {
    return await load();
  } catch (error) {
    const isMissing = hasCode(error, 'MODULE_NOT_FOUND') || hasCode(error, 'ERR_MODULE_NOT_FOUND');
    if (isMissing && packages.some((name) => messageOf(error).includes(`'${name}'`)))
      throw usage(
        'key-sdk-missing',
        `this kind of key needs ${names}, which ${packages.length === 1 ? 'is' : 'are'} not installed`,
        {
          hint: installCommand(packages),
        },
      );
    throw usage('key-sdk-unusable', `${names}: cannot be loaded: ${printable(messageOf(error), 300)}`, {
      hint: `${installCommand(packages)}, and check that it supports Node ${process.versions.node}`,
    });
  }
}
