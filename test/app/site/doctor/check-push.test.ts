import assert from 'node:assert/strict';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { checkControl } from '../../../../src/app/site/doctor/check-control.ts';
import type { CheckResult } from '../../../../src/app/site/doctor/check-result.ts';
import { out } from '../../../protocol/control/repositories.ts';
import { HookSite, type User } from '../../../pipeline/site.ts';

let site: HookSite;
before(async () => {
  site = await HookSite.start();
});
after(() => site.stop());

/** What doctor says about pushes, with the key of `user`, for a site that writes one branch and not another. */
async function pushes(user: User, writes: string | null, other = 'signed'): Promise<CheckResult> {
  const control = { url: site.url, requests: 'main', receipts: 'signed' };
  const ssh = { knownHosts: site.sshd.knownHosts, identity: site.keyOf(user) };
  const before = await out(site.repository, 'for-each-ref');
  const [branches, ...pushed] = await checkControl({ control }, { writes, others: [other] }, ssh);
  assert.equal(branches?.status, 'ok');
  assert.equal(await out(site.repository, 'for-each-ref'), before, 'nothing was changed');
  assert.equal(pushed.length, 1);
  return pushed[0] as CheckResult;
}

const hooks = (): string[] => ['update', 'pre-receive'].map((name) => join(site.repository, 'hooks', name));

/** What doctor says about heartbeats, with the key of `user`, for a site that writes a branch. */
async function heartbeats(user: User, writes: string): Promise<string[]> {
  const control = { url: site.url, requests: 'main', receipts: 'signed' };
  const ssh = { knownHosts: site.sshd.knownHosts, identity: site.keyOf(user) };
  const before = await out(site.repository, 'for-each-ref');
  const rights = { writes, others: ['other'], heartbeats: true };
  const [, , ...results] = await checkControl({ control }, rights, ssh);
  assert.equal(await out(site.repository, 'for-each-ref'), before, 'nothing was changed');
  return results.map(({ status, code }) => `${status} ${code ?? ''}`.trim());
}

/** Installs other hooks while `run` runs. */
async function withHooks<T>(content: string, run: () => Promise<T>): Promise<T> {
  const current = await readFile(hooks()[0] ?? '', 'utf8');
  for (const hook of hooks()) await writeFile(hook, content);
  try {
    return await run();
  } finally {
    for (const hook of hooks()) await writeFile(hook, current);
  }
}

describe('what a key may push', () => {
  it('a builder writes requests, and no receipts', async () => {
    assert.deepEqual(await pushes('alice', 'main'), {
      status: 'ok',
      message: 'the hook of the host lets alice (builder) write main, and not signed',
    });
  });

  it('a signer writes receipts, and no requests', async () => {
    const { status, message } = await pushes('signer', 'signed', 'main');
    assert.equal(
      `${status}: ${message}`,
      'ok: the hook of the host lets signer (signer) write signed, and not main',
    );
  });

  it('a voucher writes the branch with its name', async () => {
    assert.equal((await pushes('bob', 'vouch/bob')).status, 'ok');
    assert.equal((await pushes('carol', 'main')).status, 'ok', 'a builder who also vouches');
  });

  it('an auditor only reads', async () => {
    assert.deepEqual(await pushes('auditor', null, 'main'), {
      status: 'ok',
      message: 'the host lets this key only read',
    });
    assert.equal((await pushes('alice', null, 'main')).code, 'push-too-much');
  });

  it('push-not-allowed: the key has another role, or the branch another name', async () => {
    for (const [user, branch] of [
      ['signer', 'main'],
      ['alice', 'signed'],
      ['bob', 'vouch/robert'],
      ['courier', 'main'],
    ] as const) {
      const { status, code, message, hint } = await pushes(user, branch, 'other');
      assert.equal(`${status} ${code}`, 'bad push-not-allowed');
      assert.match(message, new RegExp(`does not let ${user} \\(\\w+\\) write ${branch}$`));
      assert.match(hint ?? '', /authorized_keys/);
    }
  });

  it('push-not-allowed: the key has no role', async () => {
    const { code, message } = await pushes('auditor', 'main');
    assert.equal(code, 'push-not-allowed');
    assert.match(message, /lets this key only read/);
  });

  it('push-too-much: the key may write a branch that only others should write', async () => {
    const { status, code, message } = await pushes('carol', 'vouch/carol', 'main');
    assert.equal(`${status} ${code}`, 'warning push-too-much');
    assert.match(message, /lets carol \(builder voucher\) write main too/);
  });

  it('hook-old: the hook does not know the question', async () => {
    const [path = ''] = hooks();
    const current = await readFile(path, 'utf8');
    const old = current.replace(/^ *"\$probe"\) answer_probe ;;\n/m, '');
    assert.notEqual(old, current);
    const { status, code } = await withHooks(old, () => pushes('alice', 'main'));
    assert.equal(`${status} ${code}`, 'warning hook-old');
  });

  it('without a hook only a real push can show it, and nothing is left on the host', async () => {
    for (const hook of hooks()) await rename(hook, `${hook}.away`);
    const { status, message } = await pushes('alice', 'main');
    for (const hook of hooks()) await rename(`${hook}.away`, hook);
    assert.equal(status, 'ok');
    assert.match(message, /has no hook of signpipe/);
  });

  it('a host with other rules refuses every other ref', async () => {
    const other = '#!/bin/sh\necho "refs of your own are forbidden" >&2\nexit 1\n';
    const { status, message } = await withHooks(other, () => pushes('alice', 'main'));
    assert.equal(status, 'ok');
    assert.match(message, /the host refuses other refs/);
  });
});

describe('whether heartbeats get through', () => {
  it('a signer may push them', async () => {
    assert.deepEqual(await heartbeats('signer', 'signed'), ['ok']);
  });

  it('heartbeats-refused: the key has another role', async () => {
    assert.deepEqual(await heartbeats('alice', 'main'), ['warning heartbeats-refused']);
  });

  it('nothing is said of them if the key may not even write its branch', async () => {
    assert.deepEqual(await heartbeats('auditor', 'signed'), []);
  });

  it('heartbeats-refused: the hook is older than heartbeats', async () => {
    const old = '#!/bin/sh\necho "signpipe: there is no place for refs/signpipe/probe in it" >&2\nexit 1\n';
    assert.deepEqual(await withHooks(old, () => heartbeats('signer', 'signed')), [
      'warning heartbeats-refused',
    ]);
  });

  it('a host with other rules may accept only these refs', async () => {
    const other = `#!/bin/sh
case \${1:-} in refs/signpipe/health/*) exit 0 ;; esac
[ $# = 0 ] && { read -r old new ref; case $ref in refs/signpipe/health/*) exit 0 ;; esac; }
exit 1
`;
    assert.deepEqual(await withHooks(other, () => heartbeats('signer', 'signed')), ['ok']);
  });
});
