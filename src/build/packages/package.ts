/**
 * What `npm run package -- [FOLDER]` runs: makes the packages of the commit that is checked out, in a new or empty folder
 * (default: `release/`). The same commit makes the same bytes, whenever and in whatever folder it is built.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { VERSION } from '../../lib/version.ts';
import { buildDeb } from './build-deb.ts';
import { debianPackage } from './debian-package.ts';
import { packForNpm, unpack } from './npm-package.ts';
import { pkcs11Package } from './pkcs11-package.ts';
import { releaseSource, type ReleaseSource } from './release-source.ts';
import { writeSbom } from './sbom.ts';

const root = resolve(import.meta.dirname, '../../..');

/** Compiles with the commit's time, which the manual pages show. */
async function compile({ seconds }: ReleaseSource): Promise<void> {
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(seconds) };
  await promisify(execFile)('npm', ['run', '-s', 'build'], { cwd: root, env });
}

/** Makes tarball, Debian packages and SBOM in an empty folder; returns their names. */
export async function makePackages(folder: string): Promise<{ names: string[]; source: ReleaseSource }> {
  // npm copies the modes of files into the tarball.
  process.umask(0o022);
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).length > 0) throw new Error(`${folder} is not empty`);
  const source = await releaseSource(root);
  await compile(source);
  const tarball = await packForNpm(root, folder);
  const debs = await withTempFolder(async (place) => {
    const unpacked = await unpack(join(folder, tarball), place);
    const input = { root, unpacked, version: VERSION, source };
    const packages = [await debianPackage(input), await pkcs11Package(input)].filter((deb) => deb !== null);
    const names: string[] = [];
    for (const deb of packages) names.push(await buildDeb(deb, folder, source.seconds));
    return names;
  });
  const sbom = await writeSbom({ root, folder, tarball, version: VERSION, seconds: source.seconds });
  return { names: [tarball, ...debs, sbom], source };
}

if (import.meta.filename === resolve(process.argv[1] ?? '')) {
  const folder = resolve(process.argv[2] ?? join(root, 'release'));
  const { names } = await makePackages(folder);
  for (const name of names) console.log(join(folder, name));
}
