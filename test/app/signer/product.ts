import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { makeSample } from '../../../src/sandbox/sample-release.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { forge } from '../../lib/zip/zips.ts';
import type { World } from '../../world/site.ts';

const run = promisify(execFile);

/** Bytes beside our programs, which must not be moved. */
export const BALLAST = 12_000_000;

/** Makes a zip with our programs and much else; returns the number of our compressed bytes. */
export async function makeZip(world: World, name: string): Promise<{ ours: number; paths: string[] }> {
  const zip = world.at(name);
  await makeSample(zip);
  await writeFile(world.at('ballast.bin'), randomBytes(BALLAST));
  await run('zip', ['-q', '-0', zip, 'ballast.bin'], { cwd: world.at() });
  const script =
    'import sys, zipfile, json\nz = [i for i in zipfile.ZipFile(sys.argv[1]).infolist() if i.filename.lower().endswith((".exe", ".dll"))]\nprint(json.dumps(dict(ours=sum(i.compress_size for i in z), paths=[i.filename for i in z])))';
  const { stdout } = await run('python3', ['-c', script, zip]);
  return JSON.parse(stdout) as { ours: number; paths: string[] };
}

/** Makes a small zip with two of our programs and other bytes, for tests in which nothing depends on sizes. */
export async function makeSmallZip(world: World, name: string): Promise<void> {
  const ballast = randomBytes(50_000);
  await writeFile(world.at('ballast.bin'), ballast);
  const program = (): Buffer => buildPe({ sections: [{ name: '.text', data: randomBytes(8000) }] });
  const zip = forge([
    { name: 'product/app.exe', content: program() },
    { name: 'product/tool.dll', content: program() },
    { name: 'ballast.bin', content: ballast, method: 0 },
  ]);
  await writeFile(world.at(name), zip);
}
