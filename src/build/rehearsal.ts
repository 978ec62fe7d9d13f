import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createZip } from '../lib/zip/create-zip.ts';
import { withTempFolder } from '../lib/bytes/temp-folder.ts';
import { createTestPki, keyToPem, toPem } from '../sandbox/certificates.ts';
import { toPfx } from '../sandbox/pkcs12-writer.ts';
import { smallProgram } from '../sandbox/sample-release.ts';
import { startTimestampAuthority } from '../sandbox/timestamp-authority.ts';
import { openProgram, SCRIPTS, Scripts, type ScriptName } from './program.ts';

const PASSPHRASE = 'rehearsal';

/** The arguments of small jobs that people wait for; other commands share most of their code. */
async function jobs(folder: string, authority: string): Promise<string[][]> {
  const at = (name: string): string => join(folder, name);
  const { codeSigning } = await createTestPki({ key: 'rsa2048' });
  await copyFile(await smallProgram(), at('tool.exe'));
  await createZip([{ path: at('tool.exe'), name: 'tool.exe' }], at('product.zip'));
  await writeFile(at('code.pem'), toPem(codeSigning.chain));
  await writeFile(at('code.key'), keyToPem(codeSigning.key));
  await writeFile(at('code.pfx'), toPfx(codeSigning, PASSPHRASE, 'code'));
  await writeFile(at('passphrase'), PASSPHRASE, { mode: 0o600 });
  const pem = ['--certificate', at('code.pem'), '--key', at('code.key')];
  const pfx = ['--pfx', at('code.pfx'), '--passphrase-file', at('passphrase')];
  const stamped = ['--timestamp', authority, '--quiet'];
  return [
    ['sign', at('tool.exe'), ...pem, ...stamped],
    ['sign', at('product.zip'), ...pfx, ...stamped],
  ];
}

async function run(scripts: Scripts, job: readonly string[]): Promise<void> {
  process.argv = [process.execPath, join(scripts.folder, 'main.js'), ...job];
  const { ended } = openProgram(scripts)('main.js') as { ended: Promise<void> };
  await ended;
  if (process.exitCode !== 0) throw new Error(`signpipe ${job.join(' ')}: exit status ${process.exitCode}`);
}

/**
 * Only for speed: runs small jobs with the compiled program in a folder, each from a fresh start, in this process, and
 * returns V8's code cache for each script.
 */
export async function rehearse(dist: string): Promise<[name: ScriptName, cache: Buffer][]> {
  const scripts = new Scripts(dist);
  const authority = await startTimestampAuthority();
  const originalArguments = process.argv;
  try {
    await withTempFolder(async (folder) => {
      for (const job of await jobs(folder, authority.url)) await run(scripts, job);
    });
  } finally {
    process.argv = originalArguments;
    await authority.close();
  }
  return SCRIPTS.map((name) => [name, scripts.script(name).createCachedData()]);
}
