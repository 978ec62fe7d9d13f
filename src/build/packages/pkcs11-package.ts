import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { commonFields, debianChangelog, type DebianInput } from './debian-package.ts';
import { gzipped, type FileTree } from './file-tree.ts';
import type { DebianPackage } from './build-deb.ts';

const PACKAGE = 'node_modules/pkcs11js';
const HOME = `usr/lib/signpipe/${PACKAGE}`;

/** Debian's names of the architectures that Node runs on. */
const ARCHITECTURES: ReadonlyMap<string, string> = new Map([
  ['x64', 'amd64'],
  ['arm64', 'arm64'],
  ['arm', 'armhf'],
  ['ppc64', 'ppc64el'],
  ['s390x', 's390x'],
  ['riscv64', 'riscv64'],
]);

/** The newest version of a library's symbols that a compiled module asks for: `2.34`. */
export function newestSymbol(module: Buffer, prefix: 'GLIBC' | 'GLIBCXX'): string {
  return [...module.toString('latin1').matchAll(/\b(GLIBC(?:XX)?)_([\d.]+)\b/g)]
    .filter(([, name]) => name === prefix)
    .map(([, , version = '']) => version)
    .reduce((a, b) => (b.localeCompare(a, 'en', { numeric: true }) > 0 ? b : a), '0');
}

const DESCRIPTION = `PKCS#11 tokens and HSMs for signpipe
 The compiled module pkcs11js, with which signpipe calls the PKCS#11 module
 of a token's vendor. Install it on a signer whose key is on a token or in
 an HSM.`;

/** The module without debug information. */
const stripped = (path: string): Promise<Buffer> =>
  withTempFolder(async (folder) => {
    const copy = join(folder, 'module');
    await promisify(execFile)('strip', ['--strip-unneeded', '-o', copy, path]);
    return readFile(copy);
  });

/** The package `signpipe-pkcs11`, for this machine's architecture; null if its module is not compiled here. */
export async function pkcs11Package({ root, version, source }: DebianInput): Promise<DebianPackage | null> {
  const compiled = join(root, PACKAGE, 'build/Release/pkcs11.node');
  const architecture = ARCHITECTURES.get(process.arch);
  if (architecture === undefined || (await stat(compiled).catch(() => null)) === null) return null;
  const module = await stripped(compiled);
  const files: FileTree = new Map();
  for (const name of ['package.json', 'index.js'])
    files.set(`${HOME}/${name}`, { content: await readFile(join(root, PACKAGE, name)) });
  files.set(`${HOME}/build/Release/pkcs11.node`, { content: module });
  const doc = 'usr/share/doc/signpipe-pkcs11';
  const licence = await readFile(join(root, PACKAGE, 'LICENSE'), 'utf8');
  files.set(`${doc}/copyright`, { content: licence });
  const changelog = debianChangelog(version, source).replace(/^signpipe /, 'signpipe-pkcs11 ');
  files.set(`${doc}/changelog.gz`, gzipped(changelog));
  return {
    control: {
      Package: 'signpipe-pkcs11',
      ...commonFields(version, source),
      Architecture: architecture,
      Depends: `signpipe (= ${version}), libc6 (>= ${newestSymbol(module, 'GLIBC')}), libstdc++6 (>= 11), libgcc-s1`,
      Description: DESCRIPTION,
    },
    files,
    scripts: new Map(),
  };
}
