import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { lockState } from '../../../../src/app/signer/state/lock.ts';

const MODULE = fileURLToPath(new URL('../../../../src/app/signer/state/lock.ts', import.meta.url));

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-lock-'));
});
beforeEach(async () => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
});
after(() => rm(folder, { recursive: true, force: true }));

const file = (): string => join(folder, 'lock');

/** Another process that asks for the lock, prints `held` or the error's code, and then sleeps. */
async function holder(): Promise<{ child: ChildProcess; said: string }> {
  const program = `
    import { lockState } from ${JSON.stringify(MODULE)};
    const said = await lockState(${JSON.stringify(folder)}).then(() => 'held', (error) => error.code);
    process.stdout.write(said + '\\n');
    setTimeout(() => {}, 60_000);`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', program];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  return { child, said: said.toString().trim() };
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Whether util-linux finds the lock free. */
const isFreeToFlock = (): boolean => spawnSync('flock', ['-n', file(), 'true']).status === 0;

/** Asserts that the lock is refused; returns the message. */
async function refusal(code: string): Promise<SignpipeError> {
  const error: unknown = await lockState(folder).then(
    () => assert.fail('it was locked twice'),
    (thrown: unknown) => thrown,
  );
  assert(error instanceof SignpipeError);
  assert.equal(error.code, code);
  assert.equal(error.kind, 'usage');
  return error;
}

describe('the lock of a state folder', () => {
  it('is a lock of the kernel, as flock(1) confirms, and leaves no file', async () => {
    const unlock = await lockState(folder);
    assert.equal(isFreeToFlock(), false);
    await unlock();
    await unlock();
    assert.deepEqual(await readdir(folder), []);
    assert.equal(isFreeToFlock(), true);
  });

  it('state-in-use: names the process that has it, and since when', async () => {
    const unlock = await lockState(folder);
    const { message, hint } = await refusal('state-in-use');
    assert.match(message, new RegExp(`\\(process ${process.pid}\\)`));
    assert.match(hint ?? '', /it began on \S+ at 20\d\d-.*stop it first/);
    await unlock();
  });

  it('state-in-use: held by another program that locks the file', async () => {
    const other = spawn('flock', [file(), 'sleep', '60'], { detached: true, stdio: 'ignore' });
    while (isFreeToFlock()) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.match((await refusal('state-in-use')).message, /process unknown/);
    process.kill(-(other.pid ?? 0), 'SIGKILL');
  });

  it('is free at once after its holder was killed', async () => {
    const { child, said } = await holder();
    assert.equal(said, 'held');
    assert.match((await refusal('state-in-use')).message, new RegExp(`\\(process ${child.pid}\\)`));
    await kill(child);
    assert.match(await readFile(file(), 'utf8'), new RegExp(`^${child.pid} `));
    const unlock = await lockState(folder);
    assert.match(await readFile(file(), 'utf8'), new RegExp(`^${process.pid} `));
    await unlock();
  });

  for (const [what, text] of [
    ['names this very process, as after a reboot', `${process.pid} 1\n`],
    ['names process 1, which lives', '1 2026-11-29T00:00:00.000Z elsewhere\n'],
    ['is empty, as after a full disk', ''],
    ['is not ours', 'x'.repeat(100_000)],
  ] as const)
    it(`is free if its file ${what}`, async () => {
      await writeFile(file(), text);
      await (
        await lockState(folder)
      )();
    });

  it('goes to exactly one of many processes that ask at the same time on a stale file', async () => {
    for (let round = 0; round < 10; round += 1) {
      await writeFile(file(), '999999 1\n');
      const asked = await Promise.allSettled(Array.from({ length: 12 }, () => lockState(folder)));
      const unlocks = asked.filter((each) => each.status === 'fulfilled').map(({ value }) => value);
      assert.equal(unlocks.length, 1);
      await unlocks[0]?.();
    }
  });

  it('goes to exactly one of many processes while holders release it', async () => {
    let holders = 0;
    const one = async (): Promise<void> => {
      for (let tries = 0; tries < 15; tries += 1) {
        const unlock = await lockState(folder).catch((error: unknown) => {
          assert.equal((error as SignpipeError).code, 'state-in-use');
          return null;
        });
        if (!unlock) continue;
        holders += 1;
        assert.equal(holders, 1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        holders -= 1;
        await unlock();
      }
    };
    await Promise.all(Array.from({ length: 6 }, one));
  });

  it('is not inherited by programs that are run meanwhile', async () => {
    const { child } = await holder();
    const { child: other, said } = await holder();
    assert.equal(said, 'state-in-use');
    await kill(child);
    const sleeper = spawn('sleep', ['60'], { stdio: 'ignore' });
    const unlock = await lockState(folder);
    const late = spawn('sleep', ['60'], { stdio: 'ignore' });
    await unlock();
    await (
      await lockState(folder)
    )();
    for (const each of [other, sleeper, late]) await kill(each);
  });

  it('lock-unavailable: flock is not installed', async () => {
    const { PATH } = process.env;
    process.env['PATH'] = folder;
    try {
      const { message, hint } = await refusal('lock-unavailable');
      assert.match(message, /flock does not start: .*ENOENT/);
      assert.match(hint ?? '', /install util-linux/);
    } finally {
      process.env['PATH'] = PATH;
    }
  });

  it('lock-unavailable: the file system has no locks', async () => {
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await writeFile(join(bin, 'flock'), '#!/bin/sh\necho "flock: 3: No locks available" >&2; exit 71\n', {
      mode: 0o755,
    });
    const { PATH } = process.env;
    process.env['PATH'] = `${bin}:${PATH}`;
    try {
      const { message, hint } = await refusal('lock-unavailable');
      assert.match(message, /No locks available/);
      assert.match(hint ?? '', /local disk/);
    } finally {
      process.env['PATH'] = PATH;
    }
  });

  it('does not follow a link', async () => {
    await writeFile(join(folder, 'victim'), 'kept');
    await symlink(join(folder, 'victim'), file());
    await assert.rejects(lockState(folder), { code: 'ELOOP' });
    assert.equal(await readFile(join(folder, 'victim'), 'utf8'), 'kept');
  });
});
