import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packArchive } from '../../src/archive/pack.ts';
import { createTestPki, keyToPem, toPem } from '../../src/sandbox/certificates.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../src/sandbox/timestamp-authority.ts';
import { buildPe } from '../fixtures/pe.ts';
import { signpipe } from '../world/site.ts';

/**
 * What a command loads is most of the time that a small job takes. Held by names, not by a clock: a
 * static import in the wrong place would go unnoticed otherwise.
 */

let folder: string;
let authority: RunningAuthority;
const at = (name: string): string => join(folder, name);

/** Writes the address of every module that is loaded, by import or require, and whether the global fetch was. */
const RECORDER = `
import Module, { register } from 'node:module';
import { appendFileSync } from 'node:fs';
const hooks = \`
  import { appendFileSync } from 'node:fs';
  export async function load(url, context, next) {
    appendFileSync(process.env.LOADED, url + '\\\\n');
    return next(url, context);
  }\`;
register('data:text/javascript,' + encodeURIComponent(hooks));
process.once('exit', () => {
  const own = process.moduleLoadList.includes('NativeModule internal/deps/undici/undici');
  const fetched = own ? ['/node_modules/fetch/'] : [];
  appendFileSync(process.env.LOADED, [...Object.keys(Module._cache), ...fetched, ''].join('\\n'));
});`;

/** What a successful command loads: packages by name, our own folders as \`src/NAME\`, the global fetch as \`fetch\`. */
async function loadedBy(...args: string[]): Promise<Set<string>> {
  const list = at('loaded');
  await rm(list, { force: true });
  const recorder = `--import=data:text/javascript,${encodeURIComponent(RECORDER)}`;
  const ended = await signpipe(args, { cwd: folder, env: { LOADED: list, NODE_OPTIONS: recorder } });
  assert.equal(ended.status, 0, ended.stderr);
  const loaded = new Set<string>();
  for (const url of (await readFile(list, 'utf8')).split('\n')) {
    const { name, own } = /\/node_modules\/(?<name>[^/]+)\/|\/dist\/(?<own>[^/]+)\//.exec(url)?.groups ?? {};
    if (name !== undefined) loaded.add(name);
    else if (own !== undefined) loaded.add(`src/${own}`);
  }
  return loaded;
}

function assertWithout(loaded: ReadonlySet<string>, unwanted: readonly string[]): void {
  assert.ok(loaded.has('commander'), 'the recorder sees what is loaded');
  assert.deepEqual(
    [...loaded].filter((name) => unwanted.includes(name)),
    [],
  );
}

const HEAVY = [
  'node-forge',
  'zod',
  'yaml',
  'pino',
  'node-cron',
  'simple-git',
  'ssh2',
  'ssh2-sftp-client',
  'yauzl',
  'yazl',
  'picomatch',
  'cli-progress',
  'read',
  'fetch',
];
/** Floors of ours that a local command has nothing to do with. */
const FAR = ['src/ssh', 'src/sshsig', 'src/control', 'src/exchange', 'src/signer', 'src/builder'];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-loading-'));
  const pki = await createTestPki({ key: 'p256' });
  authority = await startTimestampAuthority({ identity: pki.timestamping });
  await writeFile(at('code.pem'), toPem(pki.codeSigning.chain));
  await writeFile(at('code.key'), keyToPem(pki.codeSigning.key));
  await writeFile(at('ca.pem'), toPem([pki.root.certificate]));
  await writeFile(at('tool.exe'), buildPe({}));
  await packArchive([{ path: at('tool.exe'), name: 'tool.exe' }], at('product.zip'));
});
after(async () => {
  await authority.close();
  await rm(folder, { recursive: true, force: true });
});

const KEY = ['--certificate', 'code.pem', '--key', 'code.key'];

describe('loads only what its work needs', () => {
  it('signpipe sign, for a program and a key in PEM', async () => {
    const loaded = await loadedBy('sign', 'tool.exe', ...KEY, '--output', 'signed.exe');
    assertWithout(loaded, [...HEAVY, ...FAR, 'p-limit']);
  });

  it('signpipe sign, with a timestamp', async () => {
    const stamp = ['--timestamp', authority.url];
    assertWithout(await loadedBy('sign', 'tool.exe', ...KEY, ...stamp, '--output', 'stamped.exe'), HEAVY);
  });

  it('signpipe sign, for a zip: what opens zips, and no more', async () => {
    const loaded = await loadedBy('sign', 'product.zip', ...KEY, '--output', 'signed.zip');
    assert.ok(loaded.has('yauzl') && loaded.has('picomatch'));
    assertWithout(
      loaded,
      HEAVY.filter((name) => name !== 'yauzl' && name !== 'picomatch'),
    );
  });

  it('signpipe verify and signpipe signature, for a program', async () => {
    assertWithout(await loadedBy('verify', 'signed.exe', '--ca', 'ca.pem'), HEAVY);
    assertWithout(await loadedBy('signature', 'extract', 'signed.exe', '--output', 'x.p7'), HEAVY);
    const attached = ['attach', 'tool.exe', '--signature', 'x.p7', '--output', 'again.exe'];
    assertWithout(await loadedBy('signature', ...attached), ['zod', 'simple-git', 'node-forge']);
  });

  it('signpipe --version and --help', async () => {
    for (const flag of ['--version', '--help']) {
      const loaded = await loadedBy(flag);
      assertWithout(loaded, [...HEAVY, 'src/archive', 'src/authenticode', 'src/keys']);
    }
  });
});
