import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { git, out } from '../protocol/control/repositories.ts';
import { commit, HookSite, pipeline, type User } from './site.ts';

const run = promisify(execFile);
const hook = pipeline('hooks/update');
const MIB = 2 ** 20;

let site: HookSite;
let work = '';
let clones = 0;

before(async () => {
  site = await HookSite.start();
});
after(() => site.stop());

/** A fresh clone, so that no test builds on another's refused commits. */
beforeEach(async () => {
  clones += 1;
  work = await site.clone('auditor', `clone${clones}`);
});

const tip = (branch: string): Promise<string> =>
  out(site.repository, 'rev-parse', '--verify', '--quiet', `refs/heads/${branch}`).catch(() => 'none');

const isStored = (id: string): Promise<boolean> =>
  git(site.repository, ['cat-file', '-e', id]).then(
    () => true,
    () => false,
  );

async function allowed(user: User, refspec: string): Promise<void> {
  const { ok, said } = await site.push(user, work, [refspec]);
  assert.ok(ok, said);
}

async function refused(user: User, refspecs: string | string[], why: RegExp): Promise<void> {
  const before = await out(site.repository, 'for-each-ref');
  const { ok, said } = await site.push(user, work, [refspecs].flat());
  assert.ok(!ok, 'the push went through');
  assert.match(said.replace(/^remote: ?/gm, '').replace(/ +$/gm, ''), why);
  assert.equal(await out(site.repository, 'for-each-ref'), before);
}

describe('each role writes its own branch', () => {
  it('a builder writes main, a signer writes signed, a voucher the branch with that name', async () => {
    const id = await commit(work, 'zipname', 'a.zip\n');
    await allowed('alice', 'HEAD:main');
    await allowed('signer', 'HEAD:signed');
    await allowed('bob', 'HEAD:vouch/bob');
    for (const branch of ['main', 'signed', 'vouch/bob']) assert.equal(await tip(branch), id);
  });

  it('a key may have two roles', async () => {
    await commit(work, 'zipname', 'carol.zip\n');
    await allowed('carol', 'HEAD:main');
    await allowed('carol', 'HEAD:vouch/carol');
  });

  it('a key without a role can only read', async () => {
    await commit(work, 'zipname', 'auditor.zip\n');
    await refused('auditor', 'HEAD:main', /^signpipe: this key has no role here$/m);
  });

  const others: [User, string, RegExp][] = [
    ['alice', 'signed', /signed is written by the signer, and alice is builder/],
    ['alice', 'vouch/alice', /vouch\/alice is written by the voucher of that name, and alice is builder/],
    ['signer', 'main', /main is written by builders, and signer is signer/],
    ['signer', 'vouch/signer', /vouch\/signer is written by the voucher/],
    ['bob', 'main', /main is written by builders, and bob is voucher/],
    ['bob', 'vouch/carol', /vouch\/carol is written by the voucher of that name/],
    ['bob', 'vouch/bob/more', /written by the voucher of that name|there is no place/],
    ['carol', 'signed', /signed is written by the signer, and carol is builder voucher/],
  ];
  for (const [user, branch, why] of others)
    it(`${user} may not write ${branch}`, async () => {
      await commit(work, 'zipname', `${user} ${branch}\n`);
      await refused(user, `HEAD:refs/heads/${branch}`, why);
    });

  it('there are no other branches, no tags and no other references', async () => {
    await commit(work, 'zipname', 'other.zip\n');
    await git(work, ['tag', '-a', '-m', 'a tag', 'v1']);
    await refused(
      'alice',
      'HEAD:refs/heads/feature',
      /no place for refs\/heads\/feature .*\n.*main, signed and vouch/,
    );
    await refused('alice', 'v1', /tags have no place .*refs\/tags\/v1/);
    await refused('alice', 'HEAD:refs/notes/commits', /no place for refs\/notes\/commits/);
    await refused('alice', 'HEAD:refs/heads/main2', /no place for refs\/heads\/main2/);
  });

  it('a client cannot give itself a role, even if sshd accepts its environment', async () => {
    await commit(work, 'zipname', 'forged.zip\n');
    for (const user of ['alice', 'auditor'] as const) {
      const environment = site.environment(user, '"SetEnv=SIGNPIPE_ROLE=signer SIGNPIPE_USER=signer"');
      await assert.rejects(
        git(work, ['push', site.url, 'HEAD:signed'], environment),
        /signed is written by the signer, and alice is builder|this key has no role here/,
      );
    }
  });

  it('a key grants no shell', async () => {
    for (const command of ['id', 'sh', `git-shell -c id`, `git-upload-pack '${site.repository}'; id`]) {
      const { ok, said } = await site.ssh('alice', command);
      assert.ok(!ok && !/uid=/.test(said), said);
    }
  });
});

describe('history only grows', () => {
  it('a forced push is refused', async () => {
    await git(work, ['commit', '-q', '--amend', '--allow-empty', '-m', 'Rewritten']);
    await refused(
      'alice',
      '+HEAD:main',
      /main cannot be rewritten: the push lacks commits that the branch has/,
    );
  });

  it('an unrelated history is refused', async () => {
    await git(work, ['checkout', '-q', '--orphan', 'strange']);
    await git(work, ['commit', '-q', '-m', 'Strange']);
    await refused('alice', '+HEAD:main', /main cannot be rewritten/);
  });

  it('a deletion is refused', async () => {
    await refused('alice', ':main', /main cannot be deleted/);
  });

  it('one refused branch refuses the whole push', async () => {
    await commit(work, 'zipname', 'whole.zip\n');
    await refused('alice', ['HEAD:main', 'HEAD:signed'], /signed is written by the signer/);
  });
});

describe('timestamps by courier', () => {
  const refOf = (kind: string, id = 'a'): string =>
    `refs/signpipe/timestamps/${kind}/${'0'.repeat(16)}/1800000000-${id.repeat(64)}`;
  const [queries, answers] = [refOf('queries'), refOf('answers')];

  /** A commit without parents and with one file; its id. */
  async function orphan(name: string, content: string | Buffer): Promise<string> {
    await git(work, ['checkout', '-q', '--orphan', `batch-${name}`]);
    await git(work, ['rm', '-rfq', '--ignore-unmatch', '.']);
    return commit(work, name, content);
  }

  it('the signer writes queries, the courier answers; the signer removes both', async () => {
    const id = await orphan('queries.json', '{}');
    await allowed('signer', `${id}:${queries}`);
    await allowed('courier', `${id}:${answers}`);
    const { ok, said } = await site.push('signer', work, [`:${queries}`, `:${answers}`]);
    assert.ok(ok, said);
    assert.equal(await out(site.repository, 'for-each-ref', 'refs/signpipe'), '');
  });

  it('the courier removes an answer', async () => {
    const id = await orphan('answers.json', '{}');
    await allowed('courier', `${id}:${answers}`);
    await allowed('courier', `:${answers}`);
  });

  it('no other role may write or remove them, nor one of the two in place of the other', async () => {
    const id = await orphan('queries.json', '{}');
    for (const user of ['alice', 'bob', 'carol', 'courier'] as const)
      await refused(
        user,
        `${id}:${queries}`,
        /is written by the signer \(queries\) or the courier \(answers\)/,
      );
    for (const user of ['alice', 'bob', 'carol', 'signer'] as const)
      await refused(user, `${id}:${answers}`, /is written by the signer \(queries\) or the courier/);
    await allowed('signer', `${id}:${queries}`);
    for (const user of ['alice', 'courier'] as const)
      await refused(user, `:${queries}`, /is removed by the signer or the courier/);
    await allowed('signer', `:${queries}`);
  });

  it('the courier writes nothing else', async () => {
    await commit(work, 'zipname', 'courier.zip\n');
    await refused('courier', 'HEAD:main', /main is written by builders, and courier is courier/);
    await refused('courier', 'HEAD:signed', /signed is written by the signer/);
  });

  it('none is changed once it exists, also by force', async () => {
    const first = await orphan('queries.json', '{}');
    await allowed('signer', `${first}:${queries}`);
    await git(work, ['commit', '-q', '--amend', '--allow-empty', '-m', 'Changed']);
    await refused('signer', `+HEAD:${queries}`, /exists, and is never changed/);
    await allowed('signer', `:${queries}`);
  });

  it('none has a history, another name or large content', async () => {
    await commit(work, 'zipname', 'history.zip\n');
    await refused('signer', `HEAD:${queries}`, /the commit has parents/);
    const id = await orphan('queries.json', Buffer.alloc(MIB + 1, 7));
    await refused('signer', `${id}:${queries}`, /has 1048577 bytes/);
    await allowed('courier', `${id}:${answers}`);
    await allowed('courier', `:${answers}`);
    const small = await orphan('small.json', '{}');
    for (const name of [
      'x',
      `${'0'.repeat(16)}/x`,
      `${'0'.repeat(16)}/1-${'g'.repeat(64)}`,
      `${'0'.repeat(16)}/01-${'a'.repeat(64)}`,
      `${'0'.repeat(16)}/1/2-${'a'.repeat(64)}`,
    ])
      await refused('signer', `${small}:refs/signpipe/timestamps/queries/${name}`, /not the name of a batch/);
    await refused('signer', `${small}:refs/signpipe/other`, /no place for refs\/signpipe\/other/);
  });
});

describe('heartbeats', () => {
  const ref = `refs/signpipe/health/${'0a'.repeat(8)}`;

  /** A commit without parents and files; its id. */
  async function beat(message: string): Promise<string> {
    const tree = (await git(work, ['hash-object', '-t', 'tree', '-w', '/dev/null'])).stdout.trim();
    await writeFile(join(work, '.git/message'), message);
    return out(work, 'commit-tree', tree, '-F', '.git/message');
  }

  it('the signer writes its heartbeat, replaces it by force, and removes it', async () => {
    await allowed('signer', `${await beat('signpipe health 1')}:${ref}`);
    const second = await beat('signpipe health 2');
    await allowed('signer', `+${second}:${ref}`);
    assert.equal(await out(site.repository, 'rev-parse', ref), second);
    await allowed('signer', `:${ref}`);
  });

  it('no other role may write or remove them', async () => {
    const id = await beat('signpipe health');
    await allowed('signer', `${id}:${ref}`);
    for (const user of ['alice', 'bob', 'carol', 'courier', 'auditor'] as const)
      for (const refspec of [`+${await beat(user)}:${ref}`, `:${ref}`])
        await refused(user, refspec, /is written by the signer, and \w+ is|this key has no role here/);
    await allowed('signer', `:${ref}`);
  });

  it('has no history and no files, is small, and has the name of a signer', async () => {
    await commit(work, 'zipname', 'heartbeat.zip\n');
    await refused('signer', `HEAD:${ref}`, /the commit has parents/);
    const tree = await out(work, 'rev-parse', 'HEAD^{tree}');
    const full = await out(work, 'commit-tree', tree, '-m', 'with files');
    await refused('signer', `${full}:${ref}`, /the commit has files/);
    await refused('signer', `${tree}:${ref}`, /a tree was pushed/);
    await refused('signer', `${await beat('x'.repeat(98_304))}:${ref}`, /larger than any heartbeat/);
    const id = await beat('signpipe health');
    for (const name of ['x', '0A'.repeat(8), `${'0'.repeat(16)}/x`, '0'.repeat(17)])
      await refused('signer', `${id}:refs/signpipe/health/${name}`, /not the name of a signer's heartbeat/);
  });

  it('no branch becomes forceable by that', async () => {
    await refused('signer', `+${await beat('signpipe health')}:signed`, /cannot be rewritten|lacks commits/);
  });
});

describe('nothing large is accepted', () => {
  it('a file of 1 MiB is accepted; one byte more is not, and is not even stored', async () => {
    await commit(work, 'notes', Buffer.alloc(MIB));
    await allowed('alice', 'HEAD:main');
    const id = await commit(work, 'notes', Buffer.alloc(MIB + 1, 1));
    await refused('alice', 'HEAD:main', /blob \w+ \(notes\) has 1048577 bytes, more than 1048576/);
    assert.equal(await isStored(id), false);
  });

  it('a large file that a later commit removes again is found', async () => {
    await commit(work, 'hidden', Buffer.alloc(2 * MIB, 2));
    await commit(work, 'hidden', null);
    await commit(work, 'zipname', 'hidden.zip\n');
    await refused('alice', 'HEAD:main', /\(hidden\) has 2097152 bytes/);
  });

  it('a large commit message is refused', async () => {
    await git(work, ['commit', '-q', '--allow-empty', '-F', hook]);
    await allowed('alice', 'HEAD:main');
    const message = join(site.folder, 'message');
    await run('sh', ['-c', `yes 'a long message' | head -c ${MIB + 1} > ${message}`]);
    await git(work, ['commit', '-q', '--allow-empty', '-F', message]);
    await refused('alice', 'HEAD:main', /commit \w+ has \d+ bytes/);
  });

  it('a receipt for thousands of programs fits, up to 16 MiB', async () => {
    await git(work, ['fetch', '-q', site.url, 'signed'], site.environment('auditor'));
    await git(work, ['checkout', '-q', 'FETCH_HEAD']);
    await commit(work, 'receipt.json', Buffer.alloc(16 * MIB));
    await allowed('signer', 'HEAD:signed');
    await commit(work, 'receipt.json', Buffer.alloc(16 * MIB + 1));
    await refused('signer', 'HEAD:signed', /has 16777217 bytes, more than 16777216/);
  });
});

describe('a repository reached as a folder', () => {
  it('is read-only unless signpipe.local is set', async () => {
    await commit(work, 'zipname', 'local.zip\n');
    const closed = await site.push('alice', work, ['HEAD:main'], `file://${site.repository}`);
    assert.match(closed.said, /this key has no role here/);
    await git(site.repository, ['config', 'signpipe.local', 'true']);
    try {
      for (const branch of ['main', 'vouch/dave']) {
        const open = await site.push(
          'alice',
          work,
          [`HEAD:refs/heads/${branch}`],
          `file://${site.repository}`,
        );
        assert.ok(open.ok, open.said);
      }
      for (const [refspec, why] of [
        ['HEAD:refs/heads/vouch/-x', /no place|voucher/],
        ['HEAD:refs/heads/else', /no place/],
        [':main', /cannot be deleted/],
      ] as const)
        assert.match((await site.push('alice', work, [refspec], `file://${site.repository}`)).said, why);
      await commit(work, 'zipname', 'over-ssh.zip\n');
      await refused('auditor', 'HEAD:main', /this key has no role here/);
    } finally {
      await git(site.repository, ['config', '--unset', 'signpipe.local']);
    }
  });
});

describe('the hook file', () => {
  it('is installed twice, byte for byte, and can be run', async () => {
    for (const name of ['update', 'pre-receive']) {
      assert.deepEqual(await readFile(join(site.repository, 'hooks', name)), await readFile(hook));
      await run('test', ['-x', join(site.repository, 'hooks', name)]);
    }
  });

  it('refuses the same as the update hook alone', async () => {
    const [kept, aside] = [join(site.repository, 'hooks/pre-receive'), join(site.repository, 'aside')];
    await rename(kept, aside);
    try {
      await commit(work, 'big', Buffer.alloc(2 * MIB, 3));
      await refused('alice', 'HEAD:main', /\(big\) has 2097152 bytes/);
      await refused('bob', 'HEAD:main', /main is written by builders/);
      await refused('alice', ':main', /deletion|cannot be deleted/);
      await git(work, ['reset', '-q', '--hard', 'HEAD~1']);
      await commit(work, 'zipname', 'update-alone.zip\n');
      await allowed('alice', 'HEAD:main');
    } finally {
      await rename(aside, kept);
    }
  });

  it('follows the branch names that its repository is configured with', async () => {
    await git(site.repository, ['config', 'signpipe.requests', 'requests']);
    try {
      await commit(work, 'zipname', 'renamed.zip\n');
      await allowed('alice', 'HEAD:refs/heads/requests');
      await refused('alice', 'HEAD:main', /no place for refs\/heads\/main .*\n.*requests, signed and vouch/);
    } finally {
      await git(site.repository, ['config', '--unset', 'signpipe.requests']);
    }
  });

  it('is plain POSIX: every installed shell runs it, with the same results', async () => {
    const bare = join(site.folder, 'bare.git');
    await git(site.folder, ['clone', '-q', '--bare', site.repository, bare]);
    const head = await out(bare, 'rev-parse', 'main');
    const zero = '0'.repeat(40);
    const env = { ...process.env, GIT_DIR: bare, SIGNPIPE_USER: 'bob', SIGNPIPE_ROLE: 'voucher' };
    for (const shell of [['sh'], ['dash'], ['bash', '--posix']]) {
      const [program = '', ...flags] = shell;
      await run(program, [...flags, '-n', hook]);
      await run(program, [...flags, hook, 'refs/heads/vouch/bob', zero, head], { env });
      await assert.rejects(
        run(program, [...flags, hook, 'refs/heads/main', zero, head], { env }),
        /signpipe: main is written by builders, and bob is voucher/,
      );
    }
  });

  const badRoles: [string, Record<string, string>, RegExp][] = [
    ['an unknown role', { SIGNPIPE_ROLE: 'admin', SIGNPIPE_USER: 'x' }, /no role "admin"/],
    ['a voucher without a name', { SIGNPIPE_ROLE: 'voucher' }, /needs a plain SIGNPIPE_USER/],
    [
      'a name with a slash',
      { SIGNPIPE_ROLE: 'voucher', SIGNPIPE_USER: 'a/b' },
      /needs a plain SIGNPIPE_USER/,
    ],
    ['a pattern for a name', { SIGNPIPE_ROLE: 'voucher', SIGNPIPE_USER: '*' }, /needs a plain SIGNPIPE_USER/],
    ['a pattern for a role', { SIGNPIPE_ROLE: '*', SIGNPIPE_USER: 'x' }, /no role "\*"/],
  ];
  for (const [what, roles, why] of badRoles)
    it(`refuses ${what}`, async () => {
      const env = { ...process.env, GIT_DIR: site.repository, ...roles };
      await assert.rejects(run('sh', [hook, 'refs/heads/vouch/b', '0'.repeat(40), 'HEAD'], { env }), why);
    });

  it('refuses what it cannot read', async () => {
    const broken = join(site.folder, 'broken.git');
    await git(site.folder, ['init', '-q', '--bare', '-b', 'main', broken]);
    await mkdir(join(broken, 'hooks'), { recursive: true });
    await copyFile(hook, join(broken, 'hooks/update'));
    await chmod(join(broken, 'hooks/update'), 0o755);
    const env = { ...process.env, GIT_DIR: broken, SIGNPIPE_USER: 'alice', SIGNPIPE_ROLE: 'builder' };
    const head = await tip('main');
    await assert.rejects(
      run('sh', [hook, 'refs/heads/main', '0'.repeat(40), head], { env }),
      /what was pushed cannot be read/,
    );
  });
});
