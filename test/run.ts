/**
 * What `npm test` runs: node --import tsx test/run.ts [--systems] [PATTERN...]
 *
 * Runs every test/**\/*.test.ts, or those whose path contains one of the patterns, with Node's test runner, after
 * providing the tools and fixtures that they need. With `--systems` it runs test/**\/*.systems.ts instead, which take
 * minutes: clocks that jump, several versions of Node. The exit status is the runner's; its totals are the last lines.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileTests, type CompiledTests } from './compile-tests.ts';
import { programs } from './fixtures/programs.ts';
import { provideNativePackages } from './native-packages.ts';
import { provideTools } from './tools.ts';

/** Test files that run at the same time: most tests wait for other programs much of the time. */
const AT_ONCE = 2 * availableParallelism();

/** The time limit of a test file, in ms; the slowest takes far less. */
const FILE_LIMIT = 300_000;

/** The two kinds of test files: the ending of their names, and their time limit in ms. */
const QUICK = { ending: '.test.ts', limit: FILE_LIMIT };
const SYSTEMS = { ending: '.systems.ts', limit: 4 * FILE_LIMIT };
type Kind = typeof QUICK;

const root = fileURLToPath(new URL('..', import.meta.url));

async function testFiles({ ending }: Kind, patterns: readonly string[]): Promise<string[]> {
  const entries = await readdir(join(root, 'test'), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => patterns.length === 0 || patterns.some((pattern) => path.includes(pattern)))
    .sort();
}

/** The environment without proxies, which could not reach the tests' authorities on the loopback. */
const withoutProxies = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !/^(?:https?|no|all)_proxy$/i.test(name)));

/** Runs the files; the runner prints `spec` output, and writes TAP to the file `report`. */
function runFiles({ limit }: Kind, { files, options }: CompiledTests, report: string): Promise<number> {
  const limits = [`--test-concurrency=${AT_ONCE}`, `--test-timeout=${limit}`];
  const forPeople = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  const asTap = ['--test-reporter=tap', `--test-reporter-destination=${report}`];
  const args = [...options, '--test', ...limits, ...forPeople, ...asTap, ...files];
  return new Promise((resolve, reject) => {
    const runner = spawn(process.execPath, args, {
      cwd: root,
      env: withoutProxies(process.env),
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    runner.on('error', reject);
    runner.on('exit', (status) => resolve(status ?? 1));
  });
}

/** The last lines of the TAP: `# tests 7`, `# pass 7` and so on. */
async function totals(report: string): Promise<string[]> {
  const lines = (await readFile(report, 'utf8').catch(() => '')).trimEnd().split('\n');
  const last = lines.findLastIndex((line) => !line.startsWith('# '));
  return lines.slice(last + 1);
}

async function main(args: readonly string[]): Promise<number> {
  const kind = args.includes('--systems') ? SYSTEMS : QUICK;
  const patterns = args.filter((arg) => arg !== '--systems');
  const problem = provideTools() ?? provideNativePackages();
  if (problem !== null) {
    console.error(problem);
    return 1;
  }
  const files = await testFiles(kind, patterns);
  if (files.length === 0) {
    console.error(`no test file's path contains ${patterns.join(' or ')}`);
    return 1;
  }
  // Fetched once here, so that test files that run at the same time find them.
  await programs();
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-run-'));
  try {
    const report = join(folder, 'report.tap');
    const compiled = join(folder, 'tests');
    await mkdir(compiled);
    const status = await runFiles(kind, await compileTests(root, files, compiled), report);
    const summary = await totals(report);
    console.log(['', ...summary].join('\n'));
    return status === 0 && summary.length === 0 ? 1 : status;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
