import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, afterEach, describe, it } from 'node:test';
import { fetchLimit } from '../../../src/lib/git/fetch-limit.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { commitFile } from '../../../src/protocol/control/write-commit.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { gitSshCommand } from '../../../src/lib/ssh/git-ssh-command.ts';
import { makeKey, startSshd, type Sshd } from '../../world/sshd.ts';
import { git, out, TestControl } from './repositories.ts';

let world: TestControl;
beforeEach(async () => {
  world = await TestControl.create();
});
afterEach(() => world.close());

const identity = { name: 'signer', email: 'signer@example.org' };
const at = new Date('2026-01-02T03:04:05Z');
const change = (parent: string | null, content: string): Parameters<typeof commitFile>[1] => ({
  parent,
  name: 'zipname',
  content: Buffer.from(content),
  message: content,
  identity,
  at,
  signer: null,
});

/** Pushes main, and opens a new clone that has fetched it. */
async function pushed(): Promise<ControlRepository> {
  await world.push();
  const repository = await world.repository();
  await repository.fetch();
  return repository;
}

describe('a control repository', () => {
  it('is opened without the network, and again over the same clone', async () => {
    const first = await world.repository({ url: 'ssh://git@host.invalid/control.git' });
    first.close();
    await world.repository({ url: 'ssh://git@host.invalid/control.git' });
    assert.equal(await out(first.path, 'rev-parse', '--is-bare-repository'), 'true');
    assert.deepEqual(await readdir(first.path).then((names) => names.includes('hooks')), false);
  });

  it('is opened by several processes at once, also if none of them has made the clone yet', async () => {
    const opened = await Promise.all(Array.from({ length: 12 }, () => world.repository({ clone: 'shared' })));
    const [{ path } = assert.fail()] = opened;
    for (const each of opened) each.close();
    assert.equal(await out(path, 'rev-parse', '--is-bare-repository'), 'true');
  });

  it('is empty before the first push', async () => {
    const repository = await world.repository();
    assert.deepEqual(await repository.fetch(), { requests: null, receipts: null, vouches: new Map() });
  });

  it('fetches only its own branches, and no tags', async () => {
    const id = await world.commit('One\n', { zipname: 'a.zip\n' });
    await world.git('tag', 'v1');
    await world.push('main', 'main:signed', 'main:vouch/alice', 'main:vouch/bob', 'main:other', 'v1');
    const repository = await world.repository();
    const heads = await repository.fetch();
    assert.deepEqual(heads, {
      requests: id,
      receipts: id,
      vouches: new Map([
        ['alice', id],
        ['bob', id],
      ]),
    });
    assert.equal(
      await out(repository.path, 'for-each-ref', '--format=%(refname)'),
      'refs/remote/main\nrefs/remote/signed\nrefs/remote/vouch/alice\nrefs/remote/vouch/bob',
    );
  });

  it('accepts other names for its branches', async () => {
    const id = await world.commit('One\n', { zipname: 'a.zip\n' });
    await world.push('main:asks', 'main:answers', 'main:says/alice');
    const branches = { requests: 'asks', receipts: 'answers', vouches: 'says' };
    const repository = await world.repository({ branches });
    assert.deepEqual(await repository.fetch(), {
      requests: id,
      receipts: id,
      vouches: new Map([['alice', id]]),
    });
  });

  it('follows a rewritten and a removed branch, and keeps the old commits', async () => {
    const old = await world.commit('One\n', { zipname: 'a.zip\n' });
    await world.push('main', 'main:vouch/alice');
    const repository = await world.repository();
    await repository.fetch();
    await world.git('commit', '-q', '--amend', '-m', 'Other');
    await world.push('-f', 'main', ':vouch/alice');
    const heads = await repository.fetch();
    assert.equal(heads.requests, await world.git('rev-parse', 'HEAD'));
    assert.equal(heads.vouches.size, 0);
    assert.equal((await repository.readCommit(old)).message, 'One\n');
  });

  it('lists the remote without fetching', async () => {
    const id = await world.commit('One\n', { zipname: 'a.zip\n' });
    await world.push('main', 'main:other');
    const repository = await world.repository();
    assert.deepEqual(
      await repository.listRemote(),
      new Map([
        ['main', id],
        ['other', id],
      ]),
    );
    assert.equal((await repository.heads()).requests, null);
  });

  it('walks history oldest first, and knows ancestors', async () => {
    const ids = [await world.commit('0\n', {}), await world.commit('1\n', {}), await world.commit('2\n', {})];
    const [first = '', second = '', third = ''] = ids;
    const repository = await pushed();
    assert.deepEqual(await repository.commitsBetween(third), ids);
    assert.deepEqual(await repository.commitsBetween(third, [first]), [second, third]);
    assert.deepEqual(await repository.commitsBetween(third, ['0'.repeat(40)]), ids);
    assert.deepEqual(await repository.commitsBetween(third, [third]), []);
    assert.equal(await repository.isAncestor(first, third), true);
    assert.equal(await repository.isAncestor(third, third), true);
    assert.equal(await repository.isAncestor(third, first), false);
    assert.equal(await repository.isAncestor('0'.repeat(40), third), false);
    await assert.rejects(repository.isAncestor(first, '0'.repeat(40)), { code: 'object-missing' });
  });

  it('finds a commit by the first digits of its id', async () => {
    const id = await world.commit('One\n', {});
    const repository = await pushed();
    assert.equal(await repository.resolveCommit(id.slice(0, 8).toUpperCase()), id);
    assert.equal(await repository.resolveCommit(id), id);
    for (const text of ['HEAD', 'abc', '--all', `${id}^`])
      await assert.rejects(repository.resolveCommit(text), { code: 'request-id' });
    await assert.rejects(repository.resolveCommit('0000000'), { code: 'request-unknown' });
    // A folder made by git clone has the tags and branches of the host, whatever they are called.
    await git(repository.path, ['update-ref', 'refs/tags/0000000', id]);
    await assert.rejects(repository.resolveCommit('0000000'), { code: 'request-unknown' });
  });

  it('joins the packs of many fetches without losing an object', async () => {
    const repository = await world.repository();
    const blobs = Array.from({ length: 51 }, (_, i) => Buffer.from(`blob ${i}`));
    for (const content of blobs) await repository.writeObjects([{ type: 'blob', content }]);
    const packs = async (): Promise<number> =>
      (await readdir(join(repository.path, 'objects', 'pack'))).filter((n) => n.endsWith('.pack')).length;
    assert.equal(await packs(), 51);
    await repository.maintain();
    assert.equal(await packs(), 1);
    assert.match(await out(repository.path, 'count-objects', '-v'), /in-pack: 51/);
  });
});

describe('nothing in a control repository runs or is followed', () => {
  it('not hooks in the clone, nor configuration of the account', async () => {
    await world.commit('One\n', { zipname: 'a.zip\n' });
    await world.push();
    const repository = await world.repository();
    const mark = join(world.folder, 'mark');
    await mkdir(join(repository.path, 'hooks'), { recursive: true });
    for (const hook of ['pre-push', 'reference-transaction', 'post-update', 'pre-auto-gc']) {
      await writeFile(join(repository.path, 'hooks', hook), `#!/bin/sh\necho ${hook} >> ${mark}\n`);
      await chmod(join(repository.path, 'hooks', hook), 0o755);
    }
    const home = process.env['HOME'];
    await writeFile(
      join(world.folder, '.gitconfig'),
      `[core]\n\thooksPath = ${join(repository.path, 'hooks')}\n[url "/nowhere"]\n\tinsteadOf = /\n`,
    );
    process.env['HOME'] = world.folder;
    process.env['GIT_SSH_COMMAND'] = `sh -c 'echo ssh >> ${mark}'`;
    try {
      const { requests } = await repository.fetch();
      const id = await commitFile(repository, change(requests, 'b.zip\n'));
      assert.equal(await repository.push('main', id, requests), 'pushed');
    } finally {
      process.env['HOME'] = home;
      delete process.env['GIT_SSH_COMMAND'];
    }
    await assert.rejects(readFile(mark), { code: 'ENOENT' });
  });

  for (const url of [
    'ext::sh -c id',
    '--upload-pack=id',
    'https://example.org/x.git',
    'ssh://-oProxyCommand=id/x',
    'git://h/x',
    '-h:x',
    'a\nb',
  ])
    it(`control-url: ${JSON.stringify(url)}`, async () => {
      const opened = world.repository({ url });
      if (url.startsWith('ssh:')) await assert.rejects((await opened).listRemote(), SignpipeError);
      else await assert.rejects(opened, { code: 'control-url', kind: 'usage' });
    });

  for (const name of ['--force', 'a..b', 'a b', 'refs/../x', 'x.lock', 'a/.b', ''])
    it(`control-branch: ${JSON.stringify(name)}`, async () => {
      await assert.rejects(world.repository({ branches: { requests: name } }), { code: 'control-branch' });
    });

  it('control-clone-unusable', async () => {
    await mkdir(join(world.folder, 'mine'));
    await writeFile(join(world.folder, 'mine', 'thesis.txt'), 'x');
    await assert.rejects(world.repository({ clone: 'mine' }), {
      code: 'control-clone-unusable',
      kind: 'usage',
    });
    await assert.rejects(world.repository({ clone: 'mine/thesis.txt' }), { code: 'control-clone-unusable' });
  });
});

describe('reading a file of a commit', () => {
  it('returns a regular file, executable or not, and null if there is none', async () => {
    const id = await world.commit('One\n', { zipname: 'a.zip\n', 'dir/x': 'y' });
    const repository = await pushed();
    const commit = await repository.readCommit(id);
    assert.equal(String(await repository.readFileAt(commit, 'zipname', 100)), 'a.zip\n');
    assert.equal(String(await repository.readFileAt(commit, 'dir/x', 100)), 'y');
    assert.equal(await repository.readFileAt(commit, 'other', 100), null);
    assert.equal(await repository.readFileAt(commit, 'zipname/x', 100), null);
    await assert.rejects(repository.readFileAt(commit, 'dir', 100), { code: 'dir-not-a-file' });
  });

  it('object-too-large: a blob of 70 MB is not loaded', async () => {
    const id = await world.commit('Big\n', { zipname: Buffer.alloc(70_000_000) });
    const repository = await pushed();
    const rss = process.memoryUsage().rss;
    await assert.rejects(repository.readFileAt(await repository.readCommit(id), 'zipname', 65536), {
      code: 'object-too-large',
      kind: 'invalid',
    });
    assert(process.memoryUsage().rss - rss < 30_000_000);
  });

  it('object-missing, object-type, object-id', async () => {
    const id = await world.commit('One\n', { zipname: 'a.zip\n' });
    const repository = await pushed();
    await assert.rejects(repository.readCommit('0'.repeat(40)), { code: 'object-missing' });
    await assert.rejects(repository.readTree(id), { code: 'object-type' });
    await assert.rejects(repository.readCommit(`${id}\ninfo`), { code: 'object-id' });
  });

  it('continues after the reader died', async () => {
    const id = await world.commit('One\n', { zipname: 'a.zip\n' });
    const repository = await pushed();
    await repository.readCommit(id);
    repository.close();
    assert.equal((await repository.readCommit(id)).id, id);
  });

  it('answers many at once, in order', async () => {
    const id = await world.commit('One\n', { big: Buffer.alloc(300_000, 'x'), small: 'y' });
    const repository = await pushed();
    const commit = await repository.readCommit(id);
    const names = Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? 'big' : 'small'));
    const sizes = await Promise.all(
      names.map(async (n) => (await repository.readFileAt(commit, n, 1_000_000))?.length),
    );
    assert.deepEqual(
      sizes,
      names.map((n) => (n === 'big' ? 300_000 : 1)),
    );
  });
});

describe('pushing', () => {
  it('begins a branch, and goes forward', async () => {
    const repository = await world.repository();
    const first = await commitFile(repository, change(null, 'a.zip\n'));
    assert.equal(await repository.push('main', first, null), 'pushed');
    const second = await commitFile(repository, change(first, 'b.zip\n'));
    assert.equal(await repository.push('main', second, first), 'pushed');
    assert.equal((await repository.heads()).requests, second);
    assert.equal(await out(world.remote, 'rev-parse', 'main'), second);
    assert.equal(await out(world.remote, 'show', 'main:zipname'), 'b.zip');
    assert.match(await out(world.remote, 'fsck', '--strict'), /^$/);
  });

  it('keeps the other files of the parent, and can remove one', async () => {
    const parent = await world.commit('One\n', { 'README.md': 'r', 'dir/ÿ': 'x', zipname: 'a.zip\n' });
    const repository = await pushed();
    const changed = await commitFile(repository, change(parent, 'b.zip\n'));
    assert.equal(await out(repository.path, 'diff', '--name-status', parent, changed), 'M\tzipname');
    const removed = await commitFile(repository, { ...change(changed, ''), content: null });
    assert.equal(await out(repository.path, 'diff', '--name-status', changed, removed), 'D\tzipname');
  });

  it('loses a race without harm: the branch has moved, or was begun by another', async () => {
    const mine = await world.repository({ clone: 'mine' });
    const theirs = await world.repository({ clone: 'theirs' });
    const first = await commitFile(theirs, change(null, 'theirs\n'));
    await theirs.push('signed', first, null);
    const rival = await commitFile(mine, change(null, 'mine\n'));
    assert.equal(await mine.push('signed', rival, null), 'lost-race');
    await mine.fetch();
    const second = await commitFile(theirs, change(first, 'second\n'));
    const late = await commitFile(mine, change(first, 'late\n'));
    assert.equal(await theirs.push('signed', second, first), 'pushed');
    assert.equal(await mine.push('signed', late, first), 'lost-race');
    assert.equal(await out(world.remote, 'rev-parse', 'signed'), second);
    const again = await commitFile(mine, change((await mine.fetch()).receipts, 'late\n'));
    assert.equal(await mine.push('signed', again, second), 'pushed');
  });

  it('push-not-forward: only to descendants', async () => {
    const repository = await world.repository();
    const first = await commitFile(repository, change(null, 'a\n'));
    await repository.push('main', first, null);
    const other = await commitFile(repository, change(null, 'b\n'));
    await assert.rejects(repository.push('main', other, first), { code: 'push-not-forward' });
  });

  it('git-refused: a hook on the host refuses it', async () => {
    const repository = await world.repository();
    const hook = join(world.remote, 'hooks', 'pre-receive');
    await mkdir(join(world.remote, 'hooks'), { recursive: true });
    await writeFile(hook, '#!/bin/sh\nprintf "signers \\033[31monly\\n" >&2\nexit 1\n', { mode: 0o755 });
    const id = await commitFile(repository, change(null, 'a\n'));
    await assert.rejects(repository.push('main', id, null), (error: SignpipeError) => {
      assert.equal(error.code, 'git-refused');
      assert.equal(error.kind, 'not-allowed');
      assert.match(error.message, /signers \\u\{1b\}\[31monly/);
      return true;
    });
  });
});

describe('what the host sends is bounded', () => {
  it('git-objects-refused: objects that fsck refuses do not get in', async () => {
    const id = await world.commit('One\n', { a: '1' });
    const raw = (await git(world.work, ['cat-file', 'commit', id])).stdout.replace(/author .*\n/, '');
    const file = join(world.folder, 'bad');
    await writeFile(file, raw);
    const bad = await out(world.work, 'hash-object', '-t', 'commit', '--literally', '-w', file);
    await git(world.work, ['push', '-q', 'origin', `${bad}:refs/heads/main`]);
    const repository = await world.repository();
    await assert.rejects(repository.fetch(), { code: 'git-objects-refused', kind: 'invalid' });
    assert.equal((await repository.heads()).requests, null);
  });

  it('to half of the free disk space, and at least 512 MiB', async () => {
    const most = await fetchLimit(world.folder);
    const { bavail, bsize } = await statfs(world.folder);
    assert.ok(most >= 512 * 1024 * 1024);
    assert.ok(Math.abs(most - Math.max(512 * 1024 * 1024, (bavail * bsize) / 2)) < 1e9);
  });

  it('git-too-large: a pack over the limit is abandoned, and leaves no files', async () => {
    await world.git('config', 'core.compression', '0');
    await world.commit('Big\n', { blob: randomBytes(60_000_000) });
    await world.push();
    const repository = await world.repository({ receiveLimit: 1_000_000 });
    await assert.rejects(repository.fetch(), { code: 'git-too-large', kind: 'unavailable' });
    assert.deepEqual(await readdir(join(repository.path, 'objects', 'pack')), []);
  });
});

describe('a branch that git cannot take as the host lists it', () => {
  async function pushed(files: Record<string, string>): Promise<string> {
    const id = await world.commit('Sign it', files);
    await world.push();
    return id;
  }

  it('git-branch-elsewhere: the repository there is shallow, at the first fetch or later', async () => {
    const first = await pushed({ zipname: 'a.zip\n' });
    for (const earlier of [false, true]) {
      const clone = await world.repository({ clone: `shallow-${earlier}`, url: `file://${world.remote}` });
      if (earlier) await clone.fetch();
      const tip = await pushed({ zipname: `b-${earlier}.zip\n` });
      await writeFile(join(world.remote, 'shallow'), `${tip}\n`);
      await assert.rejects(clone.fetch(), { kind: 'unavailable', code: 'git-branch-elsewhere' });
      assert.ok(!existsSync(join(clone.path, 'shallow')));
      await rm(join(world.remote, 'shallow'));
      assert.equal((await clone.fetch()).requests, tip);
      assert.ok(await clone.isAncestor(first, tip));
    }
  });

  it('but one that only moved between list and fetch is read again', async () => {
    const before = await pushed({ zipname: 'c.zip\n' });
    let looks = 0;
    const remoteHeads = {
      list: (): Promise<Map<string, string>> =>
        out(world.remote, 'rev-parse', 'main').then(
          (id) => new Map([['main', (looks += 1) === 1 ? before : id]]),
        ),
      close: (): void => {},
    };
    const tip = await pushed({ zipname: 'd.zip\n' });
    const clone = await world.repository({ clone: 'moved-on', remoteHeads });
    assert.equal((await clone.fetch()).requests, tip);
  });

  it('git-object-format: a repository with SHA-256 ids, read, pushed to, and as a folder', async () => {
    const path = join(world.folder, 'sha256.git');
    await git(world.folder, ['init', '-q', '--bare', '-b', 'main', '--object-format=sha256', path]);
    const clone = await world.repository({ clone: 'of-sha256', url: `file://${path}` });
    const refused = { kind: 'usage', code: 'git-object-format' };
    assert.deepEqual((await clone.fetch()).requests, null);
    await pushed({ zipname: 'e.zip\n' });
    const other = await world.repository({ clone: 'with-a-commit' });
    const { requests } = await other.fetch();
    const pushing = await world.repository({ clone: 'with-a-commit', url: `file://${path}` });
    await assert.rejects(pushing.push('signed', requests ?? '', null), refused);
    const tree = await out(path, 'hash-object', '-t', 'tree', '-w', '/dev/null');
    await git(path, ['update-ref', 'refs/heads/main', await out(path, 'commit-tree', '-m', 'first', tree)]);
    await assert.rejects(clone.fetch(), refused);
    await assert.rejects(ControlRepository.openExisting(path), refused);
  });
});

describe('over a real sshd', () => {
  let sshd: Sshd;
  before(async () => {
    sshd = await startSshd();
  });
  after(() => sshd.stop());

  const open = (
    options: { identity?: string; knownHosts?: string; url?: string } = {},
  ): Promise<ControlRepository> =>
    world.repository({
      url: options.url ?? sshd.url(world.remote, 'ssh'),
      sshCommand: gitSshCommand({
        identity: options.identity ?? sshd.clientKey,
        knownHosts: options.knownHosts ?? sshd.knownHosts,
      }),
    });

  it('fetches and pushes', async () => {
    const first = await world.commit('One\n', { zipname: 'a.zip\n' });
    await world.push();
    const repository = await open();
    assert.equal((await repository.fetch()).requests, first);
    const second = await commitFile(repository, change(first, 'b.zip\n'));
    assert.equal(await repository.push('main', second, first), 'pushed');
    assert.equal((await repository.listRemote()).get('main'), second);
  });

  it('git-auth-refused: the host does not know the key', async () => {
    const identity = join(world.folder, 'stranger');
    await makeKey(identity);
    await assert.rejects((await open({ identity })).fetch(), { code: 'git-auth-refused', kind: 'usage' });
  });

  it('host-key-unknown: no line for the host', async () => {
    const knownHosts = join(world.folder, 'known_hosts');
    await writeFile(knownHosts, '');
    await assert.rejects((await open({ knownHosts })).fetch(), { code: 'host-key-unknown', kind: 'usage' });
  });

  it('host-key-changed: another key than the line has', async () => {
    const knownHosts = join(world.folder, 'known_hosts');
    const line = await makeKey(join(world.folder, 'otherhost'));
    await writeFile(knownHosts, `[127.0.0.1]:${sshd.port} ${line}\n`);
    await assert.rejects((await open({ knownHosts })).fetch(), { code: 'host-key-changed', kind: 'alarm' });
  });

  it('host-key-revoked: a line revokes the key', async () => {
    const knownHosts = join(world.folder, 'known_hosts');
    const lines = (await readFile(sshd.knownHosts, 'utf8')).trim().split('\n');
    await writeFile(knownHosts, lines.map((line) => `@revoked ${line}\n`).join(''));
    await assert.rejects((await open({ knownHosts })).fetch(), { code: 'host-key-revoked', kind: 'alarm' });
  });

  it('git-no-repository: nothing at that path', async () => {
    const url = sshd.url('/no/such.git', 'ssh');
    await assert.rejects((await open({ url })).fetch(), { code: 'git-no-repository', kind: 'usage' });
  });

  it('git-unreachable: no server listens', async () => {
    const url = `ssh://${sshd.user}@127.0.0.1:1/x.git`;
    await assert.rejects((await open({ url })).fetch(), { code: 'git-unreachable', kind: 'unavailable' });
  });

  /** Runs what ssh would run on the host, and limits the bytes per second of its output. */
  const slowly = async (rate: number): Promise<string> => {
    const throttle = join(world.folder, 'throttle.mjs');
    await writeFile(
      throttle,
      `import { setTimeout as sleep } from 'node:timers/promises';
for await (const chunk of process.stdin)
  for (let at = 0; at < chunk.length; at += ${rate / 10}) {
    process.stdout.write(chunk.subarray(at, at + ${rate / 10}));
    await sleep((100 * Math.min(chunk.length - at, ${rate / 10})) / ${rate / 10});
  }`,
    );
    return `sh -c 'for last; do :; done; eval "$last" | ${process.execPath} ${throttle}' --`;
  };

  it('waits for a long history over a slow line while bytes arrive', async () => {
    await world.commit('Much\n', { blob: randomBytes(3_000_000) });
    await world.push();
    const url = `ssh://git@127.0.0.1${world.remote}`;
    const repository = await world.repository({ url, sshCommand: await slowly(1_000_000), silenceMs: 1500 });
    const begun = Date.now();
    assert.notEqual((await repository.fetch()).requests, null);
    assert.ok(Date.now() - begun > 2 * 1500);
  });

  it('git-too-large: the host sends without end', async () => {
    const repository = await world.repository({
      url: 'ssh://git@127.0.0.1/x.git',
      // Git first asks which ssh it is, without a command.
      sshCommand: `sh -c 'for last; do :; done; case "$last" in git-*) yes | head -c 30000000 >&2 ;; esac' --`,
    });
    await assert.rejects(repository.fetch(), { code: 'git-too-large', kind: 'unavailable' });
  });

  it('git-timeout: the host accepts and sends nothing', async () => {
    const repository = await world.repository({
      url: `ssh://git@127.0.0.1/x.git`,
      sshCommand: `sleep 5; true`,
      silenceMs: 300,
    });
    await assert.rejects(repository.fetch(), { code: 'git-timeout', kind: 'unavailable' });
  });
});
