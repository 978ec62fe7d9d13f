/** What `npm run build` runs: compiles `src/` into `dist/`. */
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { compileForPage, compileModule, compileProgram } from './compile.ts';
import { cacheFile, scriptFile, sealed, SCRIPTS } from './program.ts';
import { copySample } from '../sandbox/sample-release.ts';
import { rehearse } from './rehearsal.ts';
import { shellFiles } from './shell-files.ts';
import { bundledPackages, thirdPartyNotices } from './third-party.ts';

const root = resolve(import.meta.dirname, '../..');
const dist = join(root, 'dist');
const write = (name: string, text: string | Buffer): Promise<void> => writeFile(join(dist, name), text);

async function writeProgram(): Promise<void> {
  const program = await compileProgram();
  for (const name of SCRIPTS) await write(scriptFile(name), program[name]);
  const packages = await bundledPackages(join(root, 'src'), program.modules);
  await write('THIRD-PARTY-NOTICES.txt', thirdPartyNotices(packages));
}

async function writeShellFiles(): Promise<void> {
  for (const [name, text] of await shellFiles(root)) await write(name, text);
}

const writeModule = async (module: string, name: string): Promise<void> =>
  write(name, await compileModule(module));

const writeForPage = async (module: string, name: string): Promise<void> =>
  write(name, await compileForPage(module));

await rm(dist, { recursive: true, force: true });
for (const folder of ['audit-page', 'completion', 'man'])
  await mkdir(join(dist, folder), { recursive: true });
await Promise.all([
  write('package.json', '{ "type": "commonjs" }\n'),
  writeProgram(),
  writeShellFiles(),
  writeModule('build/start.ts', 'main.js'),
  writeModule('lib/bytes/hash-worker.ts', 'hash-worker.js'),
  writeModule('app/auditor/worker.ts', 'audit-worker.js'),
  writeModule('engine/keys/pkcs11/module-script.ts', 'pkcs11-module.js'),
  writeForPage('audit-page/page.ts', 'audit-page/page.js'),
  copyFile(join(root, 'src/audit-page/style.css'), join(dist, 'audit-page/style.css')),
  copySample(join(dist, 'sample')),
]);
await chmod(join(dist, 'main.js'), 0o755);
for (const [name, cache] of await rehearse(dist))
  await write(cacheFile(name), sealed(await readFile(join(dist, scriptFile(name))), cache));
