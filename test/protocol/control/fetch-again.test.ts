import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { RemoteHeads } from '../../../src/lib/git/remote-heads.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { gitSshCommand } from '../../../src/lib/ssh/git-ssh-command.ts';
import { gitEnvironment } from '../../world/site.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';

describe('a clone that is fetched again and again', () => {
  let sshd: Sshd;
  let path: string;
  let repository: ControlRepository;
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', path, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      env: gitEnvironment(),
      input: '',
    })
      .toString()
      .trim();
  const commit = (message: string, ...parents: string[]): string =>
    git('commit-tree', '-m', message, ...parents.flatMap((id) => ['-p', id]), git('mktree'));

  before(async () => {
    sshd = await startSshd();
    path = join(sshd.folder, 'control.git');
    execFileSync('git', ['init', '--quiet', '--bare', '--initial-branch=main', path], {
      env: gitEnvironment(),
    });
    git('update-ref', 'refs/heads/main', commit('first'));
    const options = { identity: sshd.clientKey, knownHosts: sshd.knownHosts };
    const url = sshd.url(path, 'ssh');
    repository = await ControlRepository.open({
      url,
      path: join(sshd.folder, 'clone.git'),
      sshCommand: gitSshCommand(options),
      remoteHeads: new RemoteHeads(url, options),
    });
  });
  after(async () => {
    repository.close();
    await sshd.stop();
  });

  it('returns the same heads while nothing moved, without another login', async () => {
    const heads = await repository.fetch();
    const logins = (await sshd.sessions()).length;
    for (let looks = 0; looks < 5; looks += 1) assert.equal(await repository.fetch(), heads);
    assert.equal((await sshd.sessions()).length, logins);
  });

  it('sees what others pushed, and what it pushed itself', async () => {
    const before = (await repository.fetch()).requests ?? '';
    const second = commit('second', before);
    git('update-ref', 'refs/heads/main', second);
    assert.equal((await repository.fetch()).requests, second);
    assert.equal((await repository.readCommit(second)).parents[0], before);
    assert.equal(await repository.push('signed', before, null), 'pushed');
    assert.equal((await repository.fetch()).receipts, before);
  });

  it('sees a branch rewritten, and a branch gone', async () => {
    const other = commit('other');
    git('update-ref', 'refs/heads/main', other);
    assert.equal((await repository.fetch()).requests, other);
    git('update-ref', '-d', 'refs/heads/signed');
    assert.equal((await repository.fetch()).receipts, null);
  });

  it('reports git’s reason when the kept connection fails', async () => {
    const url = sshd.url(join(sshd.folder, 'none.git'), 'ssh');
    const options = { identity: sshd.clientKey, knownHosts: sshd.knownHosts };
    const lost = await ControlRepository.open({
      url,
      path: join(sshd.folder, 'lost.git'),
      sshCommand: gitSshCommand(options),
      remoteHeads: new RemoteHeads(url, options),
    });
    await assert.rejects(lost.fetch(), { code: 'git-no-repository' });
    lost.close();
  });
});
