import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { usage } from '../../../lib/errors.ts';
import type { ModuleOptions } from './uri.ts';

const MACHINES: ReadonlyMap<string, string> = new Map([
  ['x64', 'x86_64'],
  ['arm64', 'aarch64'],
]);

const LIBRARIES = `/usr/lib/${MACHINES.get(process.arch) ?? process.arch}-linux-gnu`;

/** The folders in which distributions and vendors put PKCS#11 modules. */
const FOLDERS: readonly string[] = [
  `${LIBRARIES}/pkcs11`,
  LIBRARIES,
  `${LIBRARIES}/softhsm`,
  '/usr/lib64/pkcs11',
  '/usr/lib64',
  '/usr/lib/pkcs11',
  '/usr/lib',
  '/usr/lib/softhsm',
  '/usr/local/lib',
  '/usr/local/lib/softhsm',
  '/opt/homebrew/lib',
  '/opt/homebrew/lib/softhsm',
  '/opt/cloudhsm/lib',
  '/usr/safenet/lunaclient/lib',
  '/opt/nfast/toolkits/pkcs11',
];

/** The modules of common tokens and HSMs, by the names of their files. */
const KNOWN_NAMES = [
  'softhsm2',
  'ykcs11',
  'yubihsm_pkcs11',
  'eToken',
  'eTPkcs11',
  'IDPrimePKCS11',
  'Cryptoki2_64',
  'cloudhsm_pkcs11',
  'cknfast',
  'smpkcs11',
  'cs_pkcs11_R2',
  'kmsp11',
  'opensc-pkcs11',
];

const EXTENSION = process.platform === 'darwin' ? 'dylib' : 'so';

/** What is at a path. A pipe is no module: loading it would wait for its other end. */
const kindOf = (path: string): Promise<'file' | 'folder' | 'other' | 'nothing'> =>
  stat(path).then(
    (at) => (at.isFile() ? 'file' : at.isDirectory() ? 'folder' : 'other'),
    () => 'nothing',
  );

const exists = async (path: string): Promise<boolean> => (await kindOf(path)) === 'file';

/** The first file in the folders with the name of a module, as `module-name` in a URI has it; undefined if there is none. */
export async function findModule(name: string): Promise<string | undefined> {
  for (const folder of FOLDERS)
    for (const file of [`${name}.${EXTENSION}`, `lib${name}.${EXTENSION}`, `${name}.so`, `lib${name}.so`])
      if (await exists(join(folder, file))) return join(folder, file);
  return undefined;
}

/** The paths of the modules of common tokens that are installed in the usual folders. */
export async function installedModules(): Promise<string[]> {
  const paths = await Promise.all(KNOWN_NAMES.map(findModule));
  return paths.filter((path) => path !== undefined);
}

/** The absolute path of the module that a URI names. Throws `pkcs11-module` (usage) if there is no such file. */
export async function modulePath(module: ModuleOptions['module']): Promise<string> {
  if ('name' in module) {
    const path = await findModule(module.name);
    if (path !== undefined) return path;
    throw usage('pkcs11-module', `no PKCS#11 module is named ${module.name} in the usual folders`, {
      hint: 'write module-path= and the path of the file instead of module-name',
    });
  }
  const path = resolve(module.path);
  const kind = await kindOf(path);
  if (kind === 'file') return path;
  const what = { folder: 'a folder, no', other: 'a pipe or device, no', nothing: 'there is no such' }[kind];
  throw usage('pkcs11-module', `${path}: ${what} PKCS#11 module`, {
    hint: 'install the software of your token, and give the path of its .so file in module-path',
  });
}
