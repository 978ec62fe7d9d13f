import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { checkMetrics } from '../../../../src/app/site/doctor/check-metrics.ts';
import { checkNotify } from '../../../../src/app/site/doctor/check-notify.ts';
import type { CheckResult } from '../../../../src/app/site/doctor/check-result.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-'));
});
after(() => rm(folder, { recursive: true }));

const brief = (results: readonly CheckResult[]): string[] =>
  results.map(({ status, code }) => `${status} ${code ?? ''}`.trim());

async function program(name: string, mode = 0o755): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, '#!/bin/sh\nexit 1\n');
  await chmod(path, mode);
  return path;
}

describe('metrics.file', () => {
  it('can be written, whether or not it exists', async () => {
    const file = join(folder, 'there.prom');
    await writeFile(file, '');
    assert.deepEqual(brief(await checkMetrics(file)), ['ok']);
    assert.deepEqual(brief(await checkMetrics(join(folder, 'new.prom'))), ['ok']);
  });

  it('metrics-not-writable: the folder does not exist, or is none', async () => {
    const [missing] = await checkMetrics(join(folder, 'none', 'x.prom'));
    assert.match(
      `${missing?.code} ${missing?.message}`,
      /^metrics-not-writable .*there is no folder \S+none$/,
    );
    const [file] = await checkMetrics(join(await program('file'), 'x.prom'));
    assert.match(`${file?.code} ${file?.message}`, /^metrics-not-writable .*file is not a folder$/);
  });

  it('metrics-not-writable: a folder has its name', async () => {
    await mkdir(join(folder, 'folder.prom'));
    assert.deepEqual(brief(await checkMetrics(join(folder, 'folder.prom'))), [
      'warning metrics-not-writable',
    ]);
  });
});

describe('notify.command', () => {
  it('is found, by its path or in PATH, and not run', async () => {
    assert.deepEqual(brief(await checkNotify([await program('notify'), 'argument'])), ['ok']);
    assert.deepEqual(brief(await checkNotify(['sh', '-c', 'exit 1'])), ['ok']);
  });

  it('notify-missing: no such program, a folder, or not executable', async () => {
    for (const [path, why] of [
      [join(folder, 'none'), 'there is no such file'],
      [folder, 'is a folder'],
      [await program('plain', 0o644), 'is not executable by this user'],
      ['signpipe-no-such-program', 'is in no folder of PATH'],
    ] as const) {
      const [result, ...others] = await checkNotify([path]);
      assert.deepEqual(others, []);
      assert.equal(`${result?.status} ${result?.code}`, 'warning notify-missing');
      assert.ok(result?.message.startsWith(`${path}: ${why}`), result?.message);
    }
  });

  it('notify-writable: every user may change the program, or what a link leads to', async () => {
    const open = await program('open', 0o777);
    const [, result] = await checkNotify([open]);
    assert.equal(`${result?.status} ${result?.code}`, 'warning notify-writable');
    assert.match(result?.message ?? '', /open: every user of this machine may change the program/);
    await symlink(open, join(folder, 'link'));
    assert.deepEqual(brief(await checkNotify([join(folder, 'link')])), ['ok', 'warning notify-writable']);
  });

  it('notify-writable: its group may change it', async () => {
    const [, result] = await checkNotify([await program('shared', 0o775)]);
    assert.match(`${result?.code} ${result?.message}`, /^notify-writable .*another user or its group/);
  });
});
