import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { RefsConversation, splitPackets } from '../../../src/lib/git/ls-refs.ts';
import { RemoteHeads } from '../../../src/lib/git/remote-heads.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { gitEnvironment } from '../../world/site.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';

const isBroken = (error: unknown): boolean => error instanceof SignpipeError && error.code === 'git-protocol';

/** Branches as `git ls-remote` lists them. */
function lsRemote(path: string): Map<string, string> {
  const said = execFileSync('git', ['ls-remote', '--heads', path], { env: gitEnvironment() })
    .toString()
    .trim();
  return new Map(
    said === '' ? [] : said.split('\n').map((line): [string, string] => [line.slice(52), line.slice(0, 40)]),
  );
}

const git = (...args: string[]): string =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
    env: gitEnvironment(),
    input: '',
  })
    .toString()
    .trim();

/** A first commit on `main`; its id. */
function begin(path: string): string {
  const commit = git('-C', path, 'commit-tree', '-m', 'first', git('-C', path, 'mktree'));
  git('-C', path, 'update-ref', 'refs/heads/main', commit);
  return commit;
}

function makeRepository(path: string): void {
  git('init', '--quiet', '--bare', '--initial-branch=main', path);
  const commit = begin(path);
  for (const branch of ['main', 'signed', 'vouch/alice'])
    git('-C', path, 'update-ref', `refs/heads/${branch}`, commit);
  git('-C', path, 'tag', 'v1', commit);
}

for (const version of [0, 2]) {
  describe(`branches over one open connection, protocol v${version}`, () => {
    let sshd: Sshd;
    let heads: RemoteHeads;
    let path: string;
    before(async () => {
      sshd = await startSshd({ config: version === 2 ? ['AcceptEnv GIT_PROTOCOL'] : [] });
      path = join(sshd.folder, 'control.git');
      makeRepository(path);
      heads = new RemoteHeads(sshd.url(path, 'ssh'), {
        identity: sshd.clientKey,
        knownHosts: sshd.knownHosts,
      });
    });
    after(async () => {
      heads.close();
      await sshd.stop();
    });

    it('lists the same branches as git ls-remote, and no tags', async () => {
      assert.deepEqual(await heads.list(), lsRemote(path));
      assert.equal((await heads.list()).size, 3);
    });

    it('sees a branch move, over the same connection', async () => {
      const [session] = await sshd.sessions();
      execFileSync('git', ['-C', path, 'update-ref', '-d', 'refs/heads/signed'], { env: gitEnvironment() });
      assert.deepEqual([...(await heads.list()).keys()], ['main', 'vouch/alice']);
      assert.deepEqual(await sshd.sessions(), [session]);
    });

    it('connects again after the connection was cut', async () => {
      for (const pid of await sshd.sessions()) process.kill(pid, 'SIGKILL');
      await heads.list().catch(() => {});
      assert.equal((await heads.list()).size, 2);
    });

    it('lists no branches of an empty repository', async () => {
      const empty = join(sshd.folder, 'empty.git');
      execFileSync('git', ['init', '--quiet', '--bare', empty], { env: gitEnvironment() });
      const other = new RemoteHeads(sshd.url(empty, 'ssh'), {
        identity: sshd.clientKey,
        knownHosts: sshd.knownHosts,
      });
      assert.equal((await other.list()).size, 0);
      other.close();
    });

    it('git-unreachable: no such repository', async () => {
      const other = new RemoteHeads(sshd.url(join(sshd.folder, 'none.git'), 'ssh'), {
        identity: sshd.clientKey,
        knownHosts: sshd.knownHosts,
      });
      await assert.rejects(
        other.list(),
        (error) => error instanceof SignpipeError && error.code === 'git-unreachable' && error.retryable,
      );
      other.close();
    });

    it('git-object-format: a repository with SHA-256 ids, with branches or without', async () => {
      // In v0 an empty repository does not report its format; a push does.
      for (const [name, prepare] of [
        ['empty', (): void => {}],
        ['full', (at: string): void => void begin(at)],
      ].slice(version === 0 ? 1 : 0) as [string, (at: string) => void][]) {
        const at = join(sshd.folder, `${name}-256.git`);
        execFileSync('git', ['init', '--quiet', '--bare', '--object-format=sha256', at], {
          env: gitEnvironment(),
        });
        prepare(at);
        const others = new RemoteHeads(sshd.url(at, 'ssh'), {
          identity: sshd.clientKey,
          knownHosts: sshd.knownHosts,
        });
        await assert.rejects(others.list(), { kind: 'usage', code: 'git-object-format' });
        others.close();
      }
    });
  });
}

describe('the conversation', () => {
  it('login-shell-prints: text instead of a length', () => {
    assert.throws(() => splitPackets(Buffer.from('Welcome to build host\n000eversion 2\n')), {
      code: 'login-shell-prints',
      kind: 'usage',
      message: /"Welcome to build host/,
    });
  });

  it('understands an answer that arrives one byte at a time', () => {
    const id = 'a'.repeat(40);
    const line = `${id} refs/heads/main\n`;
    const answer = Buffer.from(
      `000eversion 2\n0000${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`,
    );
    const conversation = new RefsConversation();
    for (const byte of answer) conversation.receive(Buffer.from([byte]));
    assert.deepEqual(conversation.result, new Map([['main', id]]));
  });

  it('asks only for what is wanted, and lists nothing else that the host sends', () => {
    const id = 'a'.repeat(40);
    const packet = (text: string): string => (text.length + 4).toString(16).padStart(4, '0') + text;
    const conversation = new RefsConversation('refs/x/', ['a/', 'b/']);
    const request = conversation.receive(Buffer.from(`${packet('version 2\n')}0000`))?.toString() ?? '';
    assert.deepEqual(request.match(/ref-prefix \S+/g), ['ref-prefix refs/x/a/', 'ref-prefix refs/x/b/']);
    const refs = ['refs/x/a/1', 'refs/x/c/1', 'refs/heads/a/1', 'refs/x/b/2'];
    conversation.receive(Buffer.from(`${refs.map((ref) => packet(`${id} ${ref}\n`)).join('')}0000`));
    assert.deepEqual(
      [...(conversation.result ?? [])].map(([name]) => name),
      ['a/1', 'b/2'],
    );
  });

  it('git-protocol: no length, an impossible length, an error, an endless answer', () => {
    assert.throws(() => splitPackets(Buffer.from([0x7a, 0xff, 0, 1])), isBroken);
    assert.throws(() => splitPackets(Buffer.from('0003')), isBroken);
    assert.throws(() => new RefsConversation().receive(Buffer.from('000cERR no\n\n')), isBroken);
    const endless = new RefsConversation();
    assert.throws(() => {
      for (;;) endless.receive(Buffer.from('0008abcd'.repeat(10_000)));
    }, isBroken);
  });
});
