import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { addFolder, gzipped, type FileTree } from './file-tree.ts';
import { isInstalled, lockedPackages } from './lock-file.ts';
import type { DebianPackage } from './build-deb.ts';
import type { ReleaseSource } from './release-source.ts';

/** The folder of the program: an application's own, in which Node finds its packages. */
const HOME = 'usr/lib/signpipe';
const DOC = 'usr/share/doc/signpipe';

/** What a package of npm contains beside what runs: tests, other builds, sources of native code. */
const NOT_RUN =
  /(?:^|\/)(?:test|tests|examples|util|types|lightweight|\.github|src|build|deps)\/|(?:^|\/)(?:\.[^/]+|binding\.gyp|install\.js|tests\.js|dangerous\.js|Jenkinsfile|AUTHORS|CONTRIBUTING\.md|PULL_REQUEST_TEMPLATE\.md)$|\.(?:map|d\.ts)$/;
/** Of openpgp only what Node loads. */
const NOT_LOADED = /^dist\/(?!node\/openpgp\.(?:mjs|min\.cjs)$)/;
const LICENCE = /^licen[cs]e(?:\..*)?$/i;

const isRun =
  (name: string) =>
  (path: string): boolean =>
    !NOT_RUN.test(path) &&
    !(name === 'openpgp' && NOT_LOADED.test(path)) &&
    !LICENCE.test(path) &&
    !/^readme\.md$/i.test(path);

/** The packages that are not compiled in. Their licences stand in the file `copyright`. */
async function addPackages(files: FileTree, root: string): Promise<void> {
  for (const each of (await lockedPackages(root)).filter(isInstalled))
    await addFolder(
      files,
      { from: join(root, each.folder), prefix: join(HOME, each.folder) },
      isRun(each.name),
    );
}

/** The program, with Debian's own path of Node: `env node` would find another one that an administrator uses. */
async function addProgram(files: FileTree, unpacked: string): Promise<void> {
  await addFolder(
    files,
    { from: unpacked, prefix: HOME },
    (path) =>
      !/^(?:docs\/|pipeline\/packages\/|dist\/(?:man|completion)\/|[A-Z]+(?:\.md)?$|dist\/THIRD)/.test(path),
  );
  const main = await readFile(join(unpacked, 'dist/main.js'), 'utf8');
  const content = main.replace(/^#!.*/, '#!/usr/bin/node');
  files.set(`${HOME}/dist/main.js`, { content, executable: true });
  // `signpipe completion` prints these.
  await addFolder(files, { from: join(unpacked, 'dist/completion'), prefix: `${HOME}/dist/completion` });
  files.set('usr/bin/signpipe', { linkTo: '../lib/signpipe/dist/main.js' });
}

async function addShellFiles(files: FileTree, unpacked: string): Promise<void> {
  const completions = {
    'signpipe.bash': 'usr/share/bash-completion/completions/signpipe',
    _signpipe: 'usr/share/zsh/vendor-completions/_signpipe',
    'signpipe.fish': 'usr/share/fish/vendor_completions.d/signpipe.fish',
  };
  for (const [name, path] of Object.entries(completions))
    files.set(path, { content: await readFile(join(unpacked, 'dist/completion', name)) });
  const pages: FileTree = new Map();
  await addFolder(pages, { from: join(unpacked, 'dist/man'), prefix: '' });
  for (const [name, page] of pages)
    if ('content' in page)
      files.set(`usr/share/man/man${name.at(-1)}/${name}.gz`, gzipped(String(page.content)));
}

/** Every unit of the folder `pipeline`, with Debian's path of the program. */
export async function addUnits(files: FileTree, pipeline: string): Promise<void> {
  for (const path of await readdir(pipeline, { recursive: true })) {
    if (!path.endsWith('.service')) continue;
    const unit = await readFile(join(pipeline, path), 'utf8');
    const content = unit.replaceAll('/usr/local/bin/signpipe', '/usr/bin/signpipe');
    files.set(`usr/lib/systemd/system/${basename(path)}`, { content });
  }
}

/** Debian's form of a changelog; what changed is in CHANGELOG.md beside it. */
export function debianChangelog(version: string, { maintainer, seconds }: ReleaseSource): string {
  const date = new Date(seconds * 1000).toUTCString().replace(/GMT$/, '+0000');
  return `signpipe (${version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- ${maintainer}  ${date}\n`;
}

/** A text as the value of a field in `copyright`: indented, empty lines as dots. */
const asField = (text: string): string =>
  withCommonLicences(text)
    .trim()
    .split('\n')
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`))
    .join('\n');

const read = (path: string): Promise<string> => readFile(path, 'utf8');

/** Licences that every Debian system has, which its packages name instead of repeating them. */
const COMMON_LICENCES: readonly (readonly [text: RegExp, name: string])[] = [
  [/^ *Apache License\n *Version 2\.0, January 2004\n[^]*?(?=\n-{80}\n|(?![^]))/gm, 'Apache-2.0'],
  [/^[ \t]*GNU GENERAL PUBLIC LICENSE\n[ \t]*Version 2, [^]*?(?=\n-{80}\n|(?![^]))/gm, 'GPL-2'],
  [/^ *GNU LESSER GENERAL PUBLIC LICENSE\n *Version 3, [^]*?(?=\n-{80}\n|(?![^]))/gm, 'LGPL-3'],
];

const withCommonLicences = (text: string): string =>
  COMMON_LICENCES.reduce(
    (before, [pattern, name]) =>
      before.replace(pattern, `On Debian systems, the text is in /usr/share/common-licenses/${name}.`),
    text.replaceAll('\r\n', '\n'),
  );

/** The licences of everything in the package, in Debian's form. */
async function copyright(root: string, unpacked: string): Promise<string> {
  const own = await read(join(unpacked, 'LICENSE'));
  const notices = await read(join(unpacked, 'dist/THIRD-PARTY-NOTICES.txt'));
  const parts = [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: signpipe',
    `Files: *\nCopyright: the signpipe authors\nLicense: MIT\n${asField(own)}`,
    `Files: ${HOME}/dist/signpipe-*.js ${HOME}/dist/*worker.js\nCopyright: the signpipe authors, and those named below\nLicense: MIT and others\n${asField(notices)}`,
  ];
  for (const { name, version, folder } of (await lockedPackages(root)).filter(isInstalled)) {
    const licence = await read(join(root, folder, 'LICENSE'));
    const holder = /copyright.*/i.exec(licence)?.[0] ?? `the authors of ${name}`;
    parts.push(
      `Files: ${HOME}/${folder}/*\nCopyright: ${holder}\nLicense: ${name}-${version}\n${asField(licence)}`,
    );
  }
  for (const [folder, file] of [
    ['ps-list', 'license'],
    ['innosetup-compiler', 'bin/license.txt'],
  ] as const) {
    const licence = await read(join(unpacked, 'dist/sample', folder, file));
    const holder = /copyright.*/i.exec(licence)?.[0] ?? `the authors of ${folder}`;
    parts.push(
      `Files: ${HOME}/dist/sample/${folder}/*\nCopyright: ${holder}\nLicense: ${folder}\n${asField(licence)}`,
    );
  }
  return `${parts.join('\n\n')}\n`;
}

async function addDocuments(files: FileTree, root: string, unpacked: string): Promise<void> {
  await addFolder(files, { from: join(unpacked, 'docs'), prefix: `${DOC}/docs` });
  for (const name of ['README.md', 'CHANGELOG.md'])
    files.set(`${DOC}/${name}`, { content: await readFile(join(unpacked, name)) });
  files.set(`${DOC}/copyright`, { content: await copyright(root, unpacked) });
}

const DESCRIPTION = `Git-triggered code signing of Windows programs and packages
 A signed commit names a file by its SHA-256, a signer without open ports
 fetches it over SSH, applies its policy and signs it, and a commit that
 answers the request proves what was signed. The package has the command
 for signers, builders and auditors, and systemd units for the signer, the
 courier of timestamps, and the page of the auditor.`;

/** The fields that both packages have. */
export const commonFields = (version: string, { maintainer }: ReleaseSource) => ({
  Version: version,
  Maintainer: maintainer,
  Section: 'utils',
  Priority: 'optional',
});

export interface DebianInput {
  /** The folder of the source, with its `node_modules`. */
  readonly root: string;
  /** The unpacked tarball for npm. */
  readonly unpacked: string;
  readonly version: string;
  readonly source: ReleaseSource;
}

/** The package `signpipe`, for every architecture. */
export async function debianPackage({
  root,
  unpacked,
  version,
  source,
}: DebianInput): Promise<DebianPackage> {
  const files: FileTree = new Map();
  await addProgram(files, unpacked);
  await addPackages(files, root);
  await addShellFiles(files, unpacked);
  await addUnits(files, join(unpacked, 'pipeline'));
  await addDocuments(files, root, unpacked);
  files.set(`${DOC}/changelog.gz`, gzipped(debianChangelog(version, source)));
  const scripts = new Map<string, string>();
  for (const name of ['postinst', 'prerm', 'postrm'])
    scripts.set(name, await readFile(join(unpacked, 'pipeline/packages/debian', name), 'utf8'));
  return {
    control: {
      Package: 'signpipe',
      ...commonFields(version, source),
      Architecture: 'all',
      // flock is in util-linux, which every Debian system has.
      Depends: 'nodejs (>= 20.18), git (>= 1:2.36), openssh-client, adduser',
      Suggests: 'signpipe-pkcs11',
      Description: DESCRIPTION,
    },
    files,
    scripts,
  };
}
