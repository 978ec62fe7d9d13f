import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { before, describe, it } from 'node:test';
import { buildPe } from '../../fixtures/pe.ts';
import { until } from '../../until.ts';
import { signpipe, startWorld } from '../../world/site.ts';

const main = resolve(import.meta.dirname, '../../../dist/main.js');

const world = await startWorld({ ssh: false });

describe('a builder that waits', () => {
  let request = '';
  before(async () => {
    await writeFile(world.at('program.exe'), buildPe());
    request = await world.submit([world.at('program.exe')]);
  });

  it('reads that the request is not answered yet, and how to continue after Ctrl-C', async () => {
    const args = ['wait', '-c', world.site.builderConfig, request.slice(0, 12)];
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (data: Buffer) => {
      said += data.toString();
      if (said.includes('waiting for the signer to answer')) child.kill('SIGINT');
    });
    const [, signal] = (await once(child, 'close')) as [number | null, string | null];
    assert.equal(signal, 'SIGINT');
    assert.ok(
      said.includes(`To continue: signpipe wait -c ${world.site.builderConfig} ${request.slice(0, 12)}`),
      said,
    );
  });

  it('wait-timeout: asks whether the signer is running if nothing is known to delay the request', async () => {
    const { status, stderr } = await world.wait(request, '--timeout', '1s');
    assert.equal(status, 4);
    assert.match(stderr, /was not answered in time \[wait-timeout\]\n {2}.*is the signer running\?/);
  });

  it('wait-timeout: says what the request waits for, and does not ask about the signer', async () => {
    const hold = (folder: string): Promise<void> => writeFile(join(folder, 'HOLD'), 'a bug in the release\n');
    const held = await world.request(`${'0'.repeat(64)}  held.exe\n`, { change: hold });
    const { status, stderr } = await world.wait(held, '--timeout', '1s');
    assert.equal(status, 4);
    assert.match(stderr, /was not answered in time: on hold .*a bug in the release.* \[wait-timeout\]/);
    assert.doesNotMatch(stderr, /is the signer running/);
  });

  it('wait-timeout: says why the removal of a HOLD does not count, and how to lift it', async () => {
    const merged = await world.request(`${'0'.repeat(64)}  lifted.exe\n`, {
      change: (folder) => rm(join(folder, 'HOLD')),
    });
    const { stderr } = await world.wait(merged, '--timeout', '1s');
    const short = merged.slice(0, 12);
    assert.match(stderr, new RegExp(`; ${short} does not lift it: it changes other files too; to lift it, `));
    assert.match(
      stderr,
      /put HOLD back in a commit, then remove HOLD .*git commit -S; put there by an author /,
    );
  });
});

describe('a builder that is stopped while it pushes its request', () => {
  it('prints the id, so that the request, which arrives, can be withdrawn', async () => {
    const hook = join(world.control, 'hooks/pre-receive');
    const reached = world.at('reached');
    await writeFile(hook, `#!/bin/sh\ntouch ${reached}\nsleep 0.5\n`, { mode: 0o755 });
    const args = ['submit', '-c', world.site.builderConfig, world.at('program.exe'), '--as', 'stopped.exe'];
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    let printed = '';
    child.stdout.on('data', (data: Buffer) => (printed += data.toString()));
    await until('the push has begun', () => existsSync(reached));
    child.kill('SIGTERM');
    const [, signal] = (await once(child, 'close')) as [number | null, string | null];
    assert.equal(signal, 'SIGTERM');
    await until(
      'the request is there',
      async () => (await world.git('rev-parse', 'main')) === printed.trim(),
    );
    await rm(hook);
    const ended = await signpipe(['cancel', '-c', world.site.builderConfig, printed.trim()]);
    assert.equal(ended.status, 0, ended.stderr);
  });
});
