import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { program } from '../../fixtures/programs.ts';
import { root } from '../measure.ts';

const run = promisify(execFile);

/** A zip like that of a release team, and which of its programs are ours. */
export interface Corpus {
  readonly name: string;
  readonly zip: string;
  /** File with the paths of ours, one per line. */
  readonly list: string;
  readonly ours: readonly string[];
  /** Patterns for `signing.files` that match ours. */
  readonly patterns: readonly string[];
  /** Bytes of the zip. */
  readonly size: number;
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Makes a corpus once: `fill` writes its files to a folder, and returns the paths of ours. */
async function corpus(
  work: string,
  name: string,
  fill: (stage: string) => Promise<readonly string[]>,
): Promise<Corpus> {
  const folder = join(work, 'corpus');
  const [zip, list] = [join(folder, `${name}.zip`), join(folder, `${name}.list`)];
  await mkdir(folder, { recursive: true });
  if (!(await isThere(list))) {
    const stage = await mkdtemp(join(folder, 'stage-'));
    try {
      const ours = await fill(stage);
      await rm(zip, { force: true });
      await run('zip', ['-q', '-X', '-r', zip, '.'], { cwd: stage });
      await writeFile(list, ours.map((path) => `${path}\n`).join(''));
    } finally {
      await rm(stage, { recursive: true, force: true });
    }
  }
  const ours = (await readFile(list, 'utf8')).split('\n').filter((line) => line !== '');
  const patterns = ours.length > 20 ? ['product/bin/**'] : ours;
  return { name, zip, list, ours, patterns, size: (await stat(zip)).size };
}

interface Rule {
  readonly set: string;
  readonly package: string;
  readonly pattern: RegExp;
  readonly strip: number;
  readonly destination: string;
  readonly ours: boolean;
  readonly most: number;
}

const lines = async (file: string): Promise<string[]> =>
  (await readFile(join(import.meta.dirname, file), 'utf8'))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));

async function rules(): Promise<Rule[]> {
  return (await lines('plan.tsv')).map((line) => {
    const [set = '', name = '', glob = '', strip = '', destination = '', role = '', most = ''] =
      line.split('\t');
    const pattern = new RegExp(`^${glob.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`);
    return {
      set,
      package: name,
      pattern,
      strip: Number(strip),
      destination,
      ours: role === 'ours',
      most: Number(most),
    };
  });
}

/** The package's tarball, fetched by npm, which checks the registry's integrity hash. */
async function tarball(work: string, name: string): Promise<string> {
  const pinned = (await lines('packages.txt')).find((line) => line.startsWith(`${name}@`));
  if (pinned === undefined) throw new Error(`${name} is not in packages.txt`);
  const version = pinned.slice(name.length + 1);
  const folder = join(work, 'npm');
  const path = join(folder, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
  if (await isThere(path)) return path;
  await mkdir(folder, { recursive: true });
  console.error(`fetching ${pinned}`);
  await run('npm', ['pack', '--silent', pinned], { cwd: folder });
  return path;
}

async function extractFiles(work: string, stage: string, rule: Rule): Promise<string[]> {
  const archive = await tarball(work, rule.package);
  const { stdout } = await run('tar', ['-tzf', archive], { maxBuffer: 64 << 20 });
  const wanted = stdout
    .split('\n')
    .filter((path) => !path.endsWith('/') && rule.pattern.test(path))
    .sort()
    .slice(0, rule.most);
  if (wanted.length === 0) throw new Error(`${rule.package}: nothing matches ${rule.pattern}`);
  const out = await mkdtemp(join(work, 'cut-'));
  await writeFile(join(out, 'names'), wanted.map((path) => `${path}\n`).join(''));
  await run('tar', ['-xzf', archive, '-C', out, '-T', join(out, 'names')]);
  const paths = wanted.map((path) =>
    rule.destination.endsWith('/') || rule.destination === ''
      ? rule.destination + path.split('/').slice(rule.strip).join('/')
      : rule.destination,
  );
  for (const [at, path] of paths.entries()) {
    await mkdir(dirname(join(stage, path)), { recursive: true });
    await rename(join(out, wanted[at] ?? ''), join(stage, path));
  }
  await rm(out, { recursive: true, force: true });
  return paths;
}

async function fromPlan(work: string, stage: string, set: string): Promise<string[]> {
  const ours: string[] = [];
  for (const rule of await rules()) {
    if (rule.set !== set) continue;
    const paths = await extractFiles(work, stage, rule);
    if (rule.ours) ours.push(...paths.map((path) => `product/${path}`));
  }
  return ours;
}

async function inProduct(stage: string, fill: (folder: string) => Promise<string[]>): Promise<string[]> {
  const folder = join(stage, 'product');
  await mkdir(folder);
  return fill(folder);
}

/** A release of an application: 283 MB packed, 222 programs, 2 of them ours with 79 MB. */
export const large = (work: string): Promise<Corpus> =>
  corpus(work, 'L', (stage) => inProduct(stage, (folder) => fromPlan(work, folder, 'L')));

/** Programs of ours in the small release, from packages that the tests already use. */
const SMALL_OURS = ['7za-x64.exe', '7za-x86.exe', '7za-arm64.exe', 'clipboard-x64.exe'];

async function copyTree(from: string, to: string, wanted: (name: string) => boolean): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true }))
    if (entry.isFile() && wanted(entry.name)) await copyFile(join(from, entry.name), join(to, entry.name));
}

/** A similar release for a quick run: about a twentieth of the size, without downloads. */
export const small = (work: string): Promise<Corpus> =>
  corpus(work, 'S', (stage) =>
    inProduct(stage, async (folder) => {
      const modules = join(root, 'node_modules');
      for (const name of SMALL_OURS) await copyFile((await program(name)).path, join(folder, name));
      await copyTree(join(modules, 'innosetup-compiler/bin'), join(folder, 'lib'), () => true);
      await copyTree(
        join(modules, 'typescript/lib'),
        join(folder, 'share'),
        (name) => !name.startsWith('tsc'),
      );
      for (const each of ['', '/locales'])
        await copyTree(
          join(modules, 'zod/v4', each === '' ? 'core' : 'locales'),
          join(folder, `scripts${each}`),
          () => true,
        );
      return SMALL_OURS.map((name) => `product/${name}`);
    }),
  );

const TAG = 'BENCH-VARIANT-TAG-123456789abcdef';

function source(index: number): string {
  const kilobytes = [1, 4, 8, 16, 24, 32, 64, 96, 128, 224][index >> 1] ?? 1;
  const noise = Buffer.concat(
    Array.from({ length: kilobytes * 16 }, (_, at) =>
      Buffer.concat([createHash('sha256').update(`${index}-${at}`).digest(), Buffer.alloc(32)]),
    ),
  );
  const body =
    index % 2 === 1
      ? `__declspec(dllexport) int f${index}(int c) { return tag[c & 31] + table[c % sizeof table]; }`
      : 'int main(int c, char **v) { (void)v; printf("%s %d\\n", (char *)tag, table[c % sizeof table]); return 0; }';
  return `#include <stdio.h>\nvolatile char tag[] = "${TAG}";\nstatic const unsigned char table[] = {${[...noise].join(',')}};\n${body}\n`;
}

/** Twenty programs of 20 to 250 kB, built by MinGW. */
async function buildPrograms(folder: string): Promise<Buffer[]> {
  const programs: Buffer[] = [];
  for (let index = 0; index < 20; index += 1) {
    const [from, to] = [join(folder, 'base.c'), join(folder, 'base.bin')];
    await writeFile(from, source(index));
    const shared = index % 2 === 1 ? ['-shared'] : [];
    await run('x86_64-w64-mingw32-gcc', [
      '-Os',
      '-s',
      '-Wl,--no-insert-timestamp',
      ...shared,
      '-o',
      to,
      from,
    ]);
    programs.push(await readFile(to));
  }
  return programs;
}

/** Without MinGW: a real small program whose last bytes, which are data, are replaced by a tag. */
async function taggedProgram(): Promise<Buffer[]> {
  const bytes = await readFile((await program('clipboard-x86.exe')).path);
  bytes.write(TAG, bytes.length - TAG.length, 'latin1');
  return [bytes];
}

/** `count` small programs, all ours and all different. */
export const many = (work: string, count: number): Promise<Corpus> =>
  corpus(work, `M${count}`, async (stage) => {
    const compiler = await run('x86_64-w64-mingw32-gcc', ['--version']).catch(() => null);
    const bases = compiler ? await buildPrograms(work) : await taggedProgram();
    const paths: string[] = [];
    for (let index = 0; index < count; index += 1) {
      const base = bases[index % bases.length] ?? Buffer.alloc(0);
      const at = base.indexOf(TAG);
      if (at < 0) throw new Error('a base program has no tag');
      const bytes = Buffer.from(base);
      bytes.write(
        createHash('sha256').update(String(index)).digest('hex').slice(0, TAG.length),
        at,
        'latin1',
      );
      const path = `product/bin/d${Math.floor(index / 50)}/part${index}.${index % 2 === 1 ? 'dll' : 'exe'}`;
      await mkdir(dirname(join(stage, path)), { recursive: true });
      await writeFile(join(stage, path), bytes);
      paths.push(path);
    }
    return paths;
  });
