import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { objectId } from '../../../src/lib/git/objects.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { git, hash, out, TestControl } from '../../protocol/control/repositories.ts';

const run = promisify(execFile);

/** Every file under a folder with its size and time of change. */
async function snapshot(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => join(entry.parentPath, entry.name)).sort();
  const lines: string[] = [];
  for (const path of paths) {
    const { size, mtimeMs } = await stat(path);
    lines.push(`${path} ${size} ${mtimeMs}`);
  }
  return lines;
}

const headsOf = async (folder: string): Promise<[string | null, string | null, string[]]> => {
  const repository = await ControlRepository.openExisting(folder);
  try {
    const { requests, receipts, vouches } = await repository.heads();
    return [requests, receipts, [...vouches.keys()]];
  } finally {
    repository.close();
  }
};

describe('reading an existing repository', () => {
  let world: TestControl;
  let first: string;
  let second: string;

  before(async () => {
    world = await TestControl.create();
    first = await world.commit('one', { zipname: `${hash('a')}  a.zip\n` });
    second = await world.commit('two', { zipname: `${hash('b')}  b.zip\n` });
    await world.push('main', `${first}:refs/heads/signed`, `${first}:refs/heads/vouch/second`);
    await world.git('fetch', '-q', 'origin');
  });
  after(() => world.close());

  it('takes the branches of a bare repository', async () => {
    assert.deepEqual(await headsOf(world.remote), [second, first, ['second']]);
  });

  it('takes the branches of the remote that an ordinary clone follows, not its own', async () => {
    const third = await world.commit('not pushed', { zipname: `${hash('c')}  c.zip\n` });
    assert.notEqual(third, second);
    assert.deepEqual(await headsOf(world.work), [second, first, ['second']]);
    assert.deepEqual(await headsOf(join(world.work, '.git')), [second, first, ['second']]);
    await world.git('reset', '-q', '--hard', second);
  });

  for (const place of ['packed-refs', 'refs/heads/main', 'objects/pack/x.idx', 'HEAD', 'config'])
    it(`not-a-file: at once, for a FIFO or a link to a device as ${place}`, async () => {
      for (const make of [
        (path: string) => run('mkfifo', [path]),
        (path: string) => symlink('/dev/zero', path),
      ]) {
        const folder = join(world.folder, 'strange');
        await run('cp', ['-R', world.remote, folder]);
        await rm(join(folder, place), { force: true });
        await make(join(folder, place));
        const since = performance.now();
        await assert.rejects(ControlRepository.openExisting(folder), { code: 'not-a-file', kind: 'usage' });
        assert.ok(performance.now() - since < 5000);
        await rm(folder, { recursive: true });
      }
    });

  it('control-damaged: git cannot read its configuration', async () => {
    const folder = join(world.folder, 'strange');
    await run('cp', ['-R', world.remote, folder]);
    await run('git', ['-C', folder, 'config', 'include.path', '/proc/self/environ']);
    await assert.rejects(ControlRepository.openExisting(folder), {
      code: 'control-damaged',
      kind: 'invalid',
    });
    await rm(folder, { recursive: true });
  });

  it('takes the branches of a linked work tree', async () => {
    const linked = join(world.folder, 'linked');
    await world.git('worktree', 'add', '-q', linked, 'HEAD');
    assert.deepEqual(await headsOf(linked), [second, first, ['second']]);
    await world.git('worktree', 'remove', linked);
  });

  it("takes the branches of the signer's own clone", async () => {
    const own = await world.repository({ clone: 'own' });
    await own.fetch();
    assert.deepEqual(await headsOf(own.path), [second, first, ['second']]);
  });

  it('reads history and files', async () => {
    const repository = await ControlRepository.openExisting(world.remote);
    try {
      assert.deepEqual(await repository.commitsBetween(second), [first, second]);
      const commit = await repository.readCommit(second);
      const bytes = await repository.readFileAt(commit, 'zipname', 1000);
      assert.equal(bytes?.toString(), `${hash('b')}  b.zip\n`);
    } finally {
      repository.close();
    }
  });

  it('writes nothing to it, and refuses to', async () => {
    const before = await snapshot(world.remote);
    const repository = await ControlRepository.openExisting(world.remote);
    try {
      await repository.heads();
      await repository.commitsBetween(second);
      await assert.rejects(repository.fetch(), { code: 'control-read-only' });
      await assert.rejects(repository.push('main', second, first), { code: 'control-read-only' });
      await assert.rejects(repository.writeObjects([]), { code: 'control-read-only' });
    } finally {
      repository.close();
    }
    assert.deepEqual(await snapshot(world.remote), before);
  });

  it('accepts branches with other names', async () => {
    await git(world.remote, ['branch', 'asked', 'main']);
    const repository = await ControlRepository.openExisting(world.remote, { requests: 'asked' });
    try {
      assert.equal((await repository.heads()).requests, second);
    } finally {
      repository.close();
    }
  });

  it('control-not-a-repository: a folder, or nothing', async () => {
    const folder = join(world.folder, 'empty');
    await mkdir(folder);
    for (const path of [folder, join(folder, 'none')])
      await assert.rejects(ControlRepository.openExisting(path), { code: 'control-not-a-repository' });
  });

  it('control-no-branches: another repository', async () => {
    const other = join(world.folder, 'other');
    await git(world.folder, ['init', '-q', '-b', 'trunk', other]);
    await assert.rejects(ControlRepository.openExisting(other), { code: 'control-no-branches' });
  });

  it('control-history-cut: a shallow clone, a partial one, or grafts', async () => {
    const shallow = join(world.folder, 'shallow');
    await git(world.folder, ['clone', '-q', '--depth=1', `file://${world.remote}`, shallow]);
    await assert.rejects(ControlRepository.openExisting(shallow), { code: 'control-history-cut' });
    const grafted = join(world.folder, 'grafted.git');
    await git(world.folder, ['clone', '-q', '--bare', world.remote, grafted]);
    await mkdir(join(grafted, 'info'), { recursive: true });
    await writeFile(join(grafted, 'info', 'grafts'), `${second}\n`);
    await assert.rejects(ControlRepository.openExisting(grafted), { code: 'control-history-cut' });
    await assert.rejects(ControlRepository.openExisting(await partialClone('cut.git')), {
      code: 'control-history-cut',
    });
  });

  it('object-damaged: an object whose content does not match its id', async () => {
    const damaged = join(world.folder, 'damaged.git');
    await git(world.folder, ['clone', '-q', '--bare', '--no-local', world.remote, damaged]);
    const blob = await out(damaged, 'rev-parse', 'main:zipname');
    // Git finds a loose object before the packed one.
    const packs = join(damaged, 'objects', 'pack');
    const [pack = ''] = (await readdir(packs)).filter((name) => name.endsWith('.pack'));
    const bytes = await readFile(join(packs, pack));
    await rm(packs, { recursive: true });
    await git(damaged, ['init', '-q', '--bare']);
    await writeFile(join(world.folder, 'x.pack'), bytes);
    await unpack(damaged, join(world.folder, 'x.pack'));
    const path = join(damaged, 'objects', blob.slice(0, 2), blob.slice(2));
    const other = Buffer.from(`${hash('f')}  b.zip\n`);
    await chmod(path, 0o600);
    await writeFile(path, deflateSync(Buffer.concat([Buffer.from(`blob ${other.length}\0`), other])));
    assert.notEqual(objectId('blob', other), blob);
    const repository = await ControlRepository.openExisting(damaged);
    try {
      const commit = await repository.readCommit(second);
      await assert.rejects(repository.readFileAt(commit, 'zipname', 1000), { code: 'object-damaged' });
    } finally {
      repository.close();
    }
  });

  it('does not fetch what a clone lacks, whatever program its configuration names', async () => {
    const partial = await partialClone('hiding.git');
    const ran = join(world.folder, 'ran');
    await git(partial, ['config', 'remote.origin.uploadpack', `touch ${ran}; git-upload-pack`]);
    await git(partial, ['config', 'core.sshCommand', `touch ${ran};`]);
    const packs = join(partial, 'objects', 'pack');
    for (const name of await readdir(packs))
      if (name.endsWith('.promisor')) await rm(join(packs, name), { force: true });
    const repository = await ControlRepository.openExisting(partial);
    try {
      const commit = await repository.readCommit(second);
      await assert.rejects(repository.readFileAt(commit, 'zipname', 1000), SignpipeError);
    } finally {
      repository.close();
    }
    await assert.rejects(stat(ran), { code: 'ENOENT' });
  });

  /** Commits and trees without the files, which the remote would provide on demand. */
  async function partialClone(name: string): Promise<string> {
    const path = join(world.folder, name);
    await git(world.remote, ['config', 'uploadpack.allowFilter', 'true']);
    const url = `file://${world.remote}`;
    await git(world.folder, ['clone', '-q', '--bare', '--filter=blob:none', url, path]);
    return path;
  }
});

async function unpack(gitDir: string, pack: string): Promise<void> {
  await git(gitDir, ['-c', 'alias.take=!git unpack-objects -q <"$PACK"', 'take'], { PACK: pack });
}
