/**
 * What `npm run vectors` runs: node --import tsx test/vectors/run.ts [--passphrase TEXT] FOLDER...
 *
 * Judges the formats on files that others signed. A folder of twins holds `signed/PATH`, `unsigned/PATH` and perhaps
 * `pki/*.pfx` with the key; any other folder is searched for signed files. For each file: both have the digest that the
 * signature states (`digest`), verification finds it intact (`verify`), signing the twin gives the same bytes (`bytes`),
 * the extracted signature attached to the twin does (`attach`, with the proof that only it was added), and removing it
 * gives the twin (`remove`). Without a twin, what is left after removal takes its place. Prints each fault, and a table by format. The exit status is 1 if a check failed that
 * `declared.ts` does not list.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { openPfxKey } from '../../src/engine/keys/pfx.ts';
import type { SigningKey } from '../../src/engine/keys/signing-key.ts';
import { withFile, type ByteSource } from '../../src/lib/bytes/byte-source.ts';
import { hasCode, messageOf } from '../../src/lib/errors.ts';
import { checkFile, CHECKS, type Check, type Outcomes } from './check-file.ts';
import { declaredFor, hasTwin } from './declared.ts';

/** The passphrase of the key in psign's test files, which is published with them. */
const PASSPHRASE = 'CodeSign123!';

/** One file, and what came of it: text if no check could be made. */
interface Result {
  readonly path: string;
  readonly format: string;
  readonly outcomes: Outcomes | string;
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => null))?.isDirectory() ?? false;

async function keysIn(folder: string, passphrase: string): Promise<SigningKey[]> {
  if (!(await isFolder(folder))) return [];
  const files = (await filesBelow(folder)).filter((path) => /\.(?:pfx|p12)$/i.test(path));
  const keys: SigningKey[] = [];
  for (const path of files)
    try {
      keys.push(await openPfxKey({ path: join(folder, path), passphrase }));
    } catch (error) {
      console.log(`${path}: not used: ${messageOf(error)}`);
    }
  return keys;
}

const withTwin = async <T>(path: string, use: (twin: ByteSource | null) => Promise<T>): Promise<T> =>
  (await stat(path).catch(() => null))?.isFile() ? withFile(path, use) : use(null);

/** Checks one file of a folder of signed files; `unsigned` is where its twin may lie. */
async function judge(
  path: string,
  folders: { readonly signed: string; readonly unsigned: string | null },
  keys: readonly SigningKey[],
): Promise<Result> {
  const unknown = { path, format: `(${extname(path) || basename(path)})` };
  const twinPath = folders.unsigned === null || !hasTwin(path) ? '' : join(folders.unsigned, path);
  try {
    return await withFile(join(folders.signed, path), (signed) =>
      withTwin(twinPath, async (twin) => ({ path, ...(await checkFile({ signed, twin, keys })) })),
    );
  } catch (error) {
    if (hasCode(error, 'not-signable')) return { ...unknown, outcomes: 'not supported' };
    return { ...unknown, outcomes: { verify: messageOf(error) } };
  }
}

async function judgeFolder(folder: string, passphrase: string): Promise<Result[]> {
  const twins = await isFolder(join(folder, 'signed'));
  const signed = twins ? join(folder, 'signed') : folder;
  const unsigned = twins ? join(folder, 'unsigned') : null;
  const keys = await keysIn(join(folder, 'pki'), passphrase);
  const results: Result[] = [];
  for (const path of await filesBelow(signed)) results.push(await judge(path, { signed, unsigned }, keys));
  return results;
}

/** Prints the faults of a file; returns how many were not declared. */
function report({ path, outcomes }: Result): number {
  if (typeof outcomes === 'string') return 0;
  const faults = CHECKS.flatMap((check) => {
    const fault = outcomes[check];
    return fault ? [{ check, fault, declared: declaredFor(path, check) }] : [];
  });
  for (const { check, fault, declared } of faults)
    console.log(`${path}: ${check}: ${fault}${declared === undefined ? '' : ` [declared: ${declared}]`}`);
  return faults.filter(({ declared }) => declared === undefined).length;
}

/** `7/8`: of the files with this check, those that passed. */
function cell(results: readonly Result[], check: Check): string {
  const all = results.flatMap(({ outcomes }) =>
    typeof outcomes !== 'string' && check in outcomes ? [outcomes[check] ?? null] : [],
  );
  return all.length === 0 ? '-' : `${all.filter((fault) => fault === null).length}/${all.length}`;
}

function row(name: string, results: readonly Result[]): string {
  const cells = CHECKS.map((check) => cell(results, check).padStart(8));
  const texts = results.map(({ outcomes }) => outcomes).filter((each) => typeof each === 'string');
  const others = [...new Set(texts)];
  return `${name.padEnd(14)}${`${results.length}`.padStart(6)}${cells.join('')}  ${others.join(', ')}`.trimEnd();
}

function printTable(results: readonly Result[]): void {
  const formats = [...new Set(results.map(({ format }) => format))].sort();
  console.log(
    `\n${'format'.padEnd(14)}${'files'.padStart(6)}${CHECKS.map((each) => each.padStart(8)).join('')}`,
  );
  for (const format of formats)
    console.log(
      row(
        format,
        results.filter((each) => each.format === format),
      ),
    );
  console.log(
    row(
      'total',
      results.filter(({ outcomes }) => typeof outcomes !== 'string'),
    ),
  );
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { passphrase: { type: 'string', default: PASSPHRASE } },
    allowPositionals: true,
  });
  if (positionals.length === 0) {
    console.error('usage: npm run vectors -- [--passphrase TEXT] FOLDER...');
    return 2;
  }
  const results: Result[] = [];
  for (const folder of positionals) results.push(...(await judgeFolder(resolve(folder), values.passphrase)));
  let faults = 0;
  for (const result of results) faults += report(result);
  printTable(results);
  console.log(faults === 0 ? 'no undeclared fault' : `${faults} undeclared faults`);
  return faults === 0 ? 0 : 1;
}

process.exitCode = await main();
