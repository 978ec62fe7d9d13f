import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { Hostile } from '../../world/hostile.ts';
import { gitEnvironment, signpipe, startWorld } from '../../world/site.ts';

const world = await startWorld();

describe('a control repository with SHA-256 object ids', () => {
  before(async () => {
    await new Hostile(world).release('a.zip');
    await rm(world.control, { recursive: true });
    execFileSync('git', ['init', '-q', '--bare', '-b', 'main', '--object-format=sha256', world.control], {
      env: gitEnvironment(),
    });
  });

  for (const [name, args] of [
    ['watch', () => ['watch', '-c', world.site.signerConfig, '--once']],
    ['doctor', () => ['doctor', '-c', world.site.signerConfig]],
    ['submit', () => ['submit', '-c', world.site.builderConfig, world.exchange('incoming', 'a.zip')]],
  ] as const)
    it(`git-object-format: ${name} reports it`, async () => {
      const ended = await signpipe(args());
      assert.match(ended.stdout + ended.stderr, /SHA-256 object ids, which signpipe does not support/);
      assert.match(ended.stdout + ended.stderr, /git-object-format/);
      assert.equal(ended.status, name === 'doctor' ? 1 : 2, ended.stderr);
    });
});
