import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createZip } from '../../../src/lib/zip/create-zip.ts';
import { createTestPki, keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { signpipe } from '../../world/site.ts';

/**
 * Loading modules takes most of the time of a small job. Checked by name, not by time: a
 * static import in the wrong place would otherwise go unnoticed.
 */

let folder: string;
let authority: RunningAuthority;
const at = (name: string): string => join(folder, name);

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly {
      readonly ranges: readonly {
        readonly startOffset: number;
        readonly endOffset: number;
        readonly count: number;
      }[];
    }[];
  }[];
}

/** A part of the compiled program begins with the names of the modules in it. */
const PART = /^"[^"\n]+"\(exports, require, module, __url\) \{\n(?<modules>(?:\/\/ .*\n)+)/;

/** The address of every module that ran, in a file of its own or in the compiled program. */
async function ran({ result }: Coverage): Promise<string[]> {
  const modules = result.map(({ url }) => url);
  for (const { url, functions } of result) {
    if (!/\/dist\/signpipe-\w+\.js$/.test(url)) continue;
    const text = await readFile(new URL(url), 'latin1');
    for (const [range] of functions.map(({ ranges }) => ranges)) {
      if (!range || range.count === 0) continue;
      const part = PART.exec(text.slice(range.startOffset, range.endOffset));
      modules.push(...(part?.groups?.['modules']?.match(/[^ \n]+\.\w+$/gm) ?? []));
    }
  }
  return modules;
}

/** What a successful command loads: packages by name, our own folders as `src/LAYER/NAME`, the global fetch as `fetch`. */
async function loadedBy(...args: string[]): Promise<Set<string>> {
  const coverage = await mkdtemp(at('coverage-'));
  const ended = await signpipe(args, { cwd: folder, env: { NODE_V8_COVERAGE: coverage } });
  assert.equal(ended.status, 0, ended.stderr);
  const [report = ''] = await readdir(coverage);
  const modules = await ran(JSON.parse(await readFile(join(coverage, report), 'utf8')) as Coverage);
  const loaded = new Set<string>();
  for (const module of modules) {
    const { name, own } =
      /node_modules\/(?<name>[^/]+)\/|^(?<own>(?:app|cli|engine|lib|protocol)\/\w+)\/[^/]+\.ts$/.exec(module)
        ?.groups ?? {};
    if (module.endsWith('/dist/signpipe-far.js')) loaded.add(LARGER);
    else if (name !== undefined) loaded.add(name);
    else if (own !== undefined) loaded.add(`src/${own}`);
    else if (module === 'node:internal/deps/undici/undici') loaded.add('fetch');
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
/** The script that a short job does not need; `loadedBy` gives it this name. */
const LARGER = 'the larger script';
/** Source folders that a local command does not need. */
const FAR = [
  'src/lib/ssh',
  'src/lib/sshsig',
  'src/lib/git',
  'src/protocol/control',
  'src/protocol/exchange',
  'src/app/signer',
  'src/app/builder',
];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-loading-'));
  const pki = await createTestPki({ key: 'p256' });
  authority = await startTimestampAuthority({ identity: pki.timestamping });
  await writeFile(at('code.pem'), toPem(pki.codeSigning.chain));
  await writeFile(at('code.key'), keyToPem(pki.codeSigning.key));
  await writeFile(at('ca.pem'), toPem([pki.root.certificate]));
  await writeFile(at('tool.exe'), buildPe({}));
  await createZip([{ path: at('tool.exe'), name: 'tool.exe' }], at('product.zip'));
});
after(async () => {
  await authority.close();
  await rm(folder, { recursive: true, force: true });
});

const KEY = ['--certificate', 'code.pem', '--key', 'code.key'];

describe('loads only what its work needs', () => {
  it('signpipe sign, for a program and a key in PEM', async () => {
    const loaded = await loadedBy('sign', 'tool.exe', ...KEY, '--output', 'signed.exe');
    assertWithout(loaded, [...HEAVY, ...FAR, LARGER]);
  });

  it('signpipe sign, with a timestamp', async () => {
    const stamp = ['--timestamp', authority.url];
    const loaded = await loadedBy('sign', 'tool.exe', ...KEY, ...stamp, '--output', 'stamped.exe');
    assertWithout(loaded, [...HEAVY, LARGER]);
  });

  it('signpipe sign, for a zip: also what opens zips', async () => {
    const loaded = await loadedBy('sign', 'product.zip', ...KEY, '--output', 'signed.zip');
    assert.ok(loaded.has('yauzl') && loaded.has('picomatch') && loaded.has(LARGER));
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
      assertWithout(loaded, [...HEAVY, 'src/lib/zip', 'src/engine/authenticode', 'src/engine/keys', LARGER]);
    }
  });
});
