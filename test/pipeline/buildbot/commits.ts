import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gitEnvironment, type World } from '../../world/site.ts';

const run = promisify(execFile);

/** A commit to the request branch by the builder, which is no request. `script` changes files of a clone. */
export async function commitByHand(world: World, script: string): Promise<void> {
  const clone = await mkdtemp(join(tmpdir(), 'signpipe-by-hand-'));
  const settings = ['user.name=By Hand', 'user.email=hand@example.org', 'gpg.format=ssh'];
  const key = `user.signingkey=${world.at('keys', 'builder_ed25519')}`;
  const git = `git ${[...settings, key].map((setting) => `-c '${setting}'`).join(' ')}`;
  await run(
    'sh',
    [
      '-euc',
      `git clone -q ${world.control} . 2>/dev/null; git checkout -q -B main\n${script}\ngit add -A; ${git} commit -q -S -m 'By hand'; git push -q origin main`,
    ],
    { cwd: clone, env: gitEnvironment() },
  );
  await rm(clone, { recursive: true });
}
