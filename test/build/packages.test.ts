import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { buildDeb, type DebianPackage } from '../../src/build/packages/build-deb.ts';
import { addUnits } from '../../src/build/packages/debian-package.ts';
import type { FileTree } from '../../src/build/packages/file-tree.ts';
import { newestSymbol } from '../../src/build/packages/pkcs11-package.ts';

const root = resolve(import.meta.dirname, '../..');

describe('what is compiled in', () => {
  it('is not installed again: each package of the notices is a development dependency or of one', async () => {
    const notices = await readFile(join(root, 'dist/THIRD-PARTY-NOTICES.txt'), 'utf8');
    const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const bundled = [...notices.matchAll(/^ {2}(\S+) \d/gm)].map(([, name = '']) => name);
    assert.ok(bundled.includes('zod') && bundled.includes('ssh2-sftp-client'));
    assert.deepEqual(
      bundled.filter((name) => Object.hasOwn(manifest.dependencies, name)),
      [],
    );
    for (const name of bundled) assert.ok(notices.includes(`\n${name} `), name);
  });
});

describe('a Debian package', () => {
  it('has every unit of the pipeline, which runs the program of the package, and whose service it restarts and stops', async () => {
    const files: FileTree = new Map();
    await addUnits(files, join(root, 'pipeline'));
    const names = [...files.keys()].map((path) => basename(path)).sort();
    assert.deepEqual(
      names,
      ['auditor', 'courier', 'signer'].map((role) => `signpipe-${role}.service`),
    );
    for (const unit of files.values())
      assert.match('content' in unit ? String(unit.content) : '', /^ExecStart=\/usr\/bin\/signpipe /m);
    for (const script of ['postinst', 'prerm']) {
      const text = await readFile(join(root, 'pipeline/packages/debian', script), 'utf8');
      for (const name of names) assert.ok(text.includes(` ${name} `), `${script} ${name}`);
    }
  });

  const deb: DebianPackage = {
    control: {
      Package: 'a',
      Version: '1',
      Architecture: 'all',
      Maintainer: 'A <a@example.org>',
      Description: 'a',
    },
    files: new Map([
      ['usr/lib/a/run', { content: '#!/bin/sh\n', executable: true }],
      ['usr/bin/a', { linkTo: '../lib/a/run' }],
    ]),
    scripts: new Map(),
  };

  it('is the same bytes whenever it is built, with root as owner', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'signpipe-deb-'));
    try {
      const path = join(folder, await buildDeb(deb, folder, 1_700_000_000));
      const first = await readFile(path);
      await buildDeb(deb, folder, 1_700_000_000);
      assert.ok(first.equals(await readFile(path)));
      const { stdout } = await promisify(execFile)('dpkg-deb', ['-c', path], {
        env: { ...process.env, TZ: 'UTC' },
      });
      assert.match(stdout, /^-rwxr-xr-x root\/root +10 2023-11-14 22:13 \.\/usr\/lib\/a\/run$/m);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

it('the newest symbol of a library is compared by number', () => {
  const module = Buffer.from('\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.4\0GLIBCXX_3.4.21\0');
  assert.equal(newestSymbol(module, 'GLIBC'), '2.34');
  assert.equal(newestSymbol(module, 'GLIBCXX'), '3.4.21');
});
