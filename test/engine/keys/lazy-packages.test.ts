import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { createTestPki, keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { inFolder } from '../authenticode/tools.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../../..');

/** Notes each package that is loaded. */
const HOOK = `
const { appendFileSync } = require('node:fs');
const Module = require('node:module');
const load = Module._load;
Module._load = function (name, ...rest) {
  if (!name.startsWith('node:') && !name.startsWith('.')) appendFileSync(process.env.LOADED, name + '\\n');
  return load.call(this, name, ...rest);
};
`;

describe('signing with a key in a file', () => {
  it('loads none of the packages of other kinds of keys', async () => {
    const { codeSigning } = await createTestPki({ key: 'p256' });
    const loaded = await inFolder(async (folder) => {
      const at = (name: string): string => join(folder, name);
      await writeFile(at('chain.pem'), toPem(codeSigning.chain));
      await writeFile(at('key.pem'), keyToPem(codeSigning.key), { mode: 0o600 });
      await writeFile(at('program.exe'), buildPe());
      await writeFile(at('hook.cjs'), HOOK);
      await writeFile(at('loaded'), '');
      const command = ['-r', at('hook.cjs'), join(root, 'dist/main.js'), 'sign', at('program.exe'), '-q'];
      const key = ['--certificate', at('chain.pem'), '--key', at('key.pem')];
      await run(process.execPath, [...command, ...key], { env: { ...process.env, LOADED: at('loaded') } });
      return (await readFile(at('loaded'), 'utf8')).split('\n');
    });
    const others = loaded.filter((name) => /aws|azure|google|pkcs11|openpgp/.test(name));
    assert.deepEqual(others, []);
  });
});
