/** A shared folder in which its owner puts links: nothing outside its root is read or written through them. */
import assert from 'node:assert/strict';
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import { BufferSource, type ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';

const CONTENT = Buffer.from('what is delivered');
const options = { size: CONTENT.length, sha256: sha256Hex(CONTENT) };

let base: string;
let root: string;
let outside: string;
let exchange: Exchange;

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'signpipe-links-')));
  root = join(base, 'share');
  outside = join(base, 'private');
  await Promise.all([mkdir(join(root, 'incoming'), { recursive: true }), mkdir(outside)]);
  await writeFile(join(outside, 'secret.zip'), 'correct horse');
  exchange = await openExchange({ url: `file://${root}` });
});
afterEach(async () => {
  await exchange.close();
  await rm(base, { recursive: true });
});

const fetch = (path: string): Promise<unknown> =>
  exchange.fetch(path, join(base, 'fetched'), { limit: 1000 });
const deliver = (path: string, more: { temporary?: string; content?: ByteSource } = {}): Promise<void> =>
  exchange.deliver(more.content ?? new BufferSource(CONTENT, 'content'), path, {
    ...options,
    ...(more.temporary === undefined ? {} : { temporary: more.temporary }),
  });

/** Asserts that the private folder is unchanged. */
async function assertUntouched(): Promise<void> {
  assert.deepEqual(await readdir(outside), ['secret.zip']);
  assert.equal(await readFile(join(outside, 'secret.zip'), 'utf8'), 'correct horse');
}

/** Asserts that every way of reading refuses a path. */
async function assertUnreadable(path: string): Promise<void> {
  const ways = [fetch, (name: string) => exchange.stat(name), (name: string) => exchange.openRead(name)];
  for (const read of ways) await assert.rejects(read(path), { code: 'exchange-link' }, path);
  await assert.rejects(readFile(join(base, 'fetched')), { code: 'ENOENT' });
}

describe('a link in a shared folder', () => {
  for (const [what, target] of [
    ['a file outside', '../../private/secret.zip'],
    ['a device', '/dev/zero'],
    ['a file about this process', '/proc/self/environ'],
    ['its own standard input', '/dev/stdin'],
    ['a missing file', '/nowhere/at/all.zip'],
    ['itself', 'a.zip'],
    ['another file of the share', 'b.zip'],
  ] as const)
    it(`exchange-link: instead of a file, to ${what}`, async () => {
      await writeFile(join(root, 'incoming', 'b.zip'), 'b');
      await symlink(target, join(root, 'incoming', 'a.zip'));
      await assertUnreadable('incoming/a.zip');
    });

  it('exchange-link: a link to a file outside does not reveal whether that exists', async () => {
    await symlink(join(outside, 'secret.zip'), join(root, 'there.zip'));
    await symlink(join(outside, 'nothing.zip'), join(root, 'gone.zip'));
    await symlink(join(outside), join(root, 'there'));
    await symlink(join(outside, 'nothing'), join(root, 'gone'));
    const failures = ['there.zip', 'gone.zip', 'there/secret.zip', 'gone/secret.zip'].map((path) =>
      fetch(path).then(
        () => '',
        (error: unknown) => String(error).replace(path.split('/')[0] ?? '', 'X'),
      ),
    );
    const [one, other, third, fourth] = await Promise.all(failures);
    assert.equal(one, other);
    assert.equal(third, fourth);
  });

  it('exchange-link: instead of a folder, at any depth, for reading and for writing', async () => {
    await rm(join(root, 'incoming'), { recursive: true });
    await symlink(outside, join(root, 'incoming'));
    await mkdir(join(root, 'signed', 'nightly'), { recursive: true });
    await symlink('../../../private', join(root, 'signed', 'nightly', 'linux'));
    for (const folder of ['incoming', 'signed/nightly/linux']) {
      await assertUnreadable(`${folder}/secret.zip`);
      const failure = { code: 'exchange-link', kind: 'unavailable' };
      await assert.rejects(deliver(`${folder}/secret.zip`), failure);
      await assert.rejects(deliver(`${folder}/new/folder/a.zip`), failure);
      await assert.rejects(deliver(`${folder}/a.zip`, { temporary: '0123456789ab' }), failure);
    }
    await assertUntouched();
  });

  it('exchange-link: instead of a folder to be created, to a missing folder', async () => {
    await symlink(join(outside, 'made-by-mistake'), join(root, 'signed'));
    await assert.rejects(deliver('signed/a.zip'), { code: 'exchange-link' });
    await assertUntouched();
  });

  it('under the target name is replaced, and the file that it points to is unchanged', async () => {
    await symlink(join(outside, 'secret.zip'), join(root, 'a.zip'));
    await deliver('a.zip');
    assert.equal(await readFile(join(root, 'a.zip'), 'utf8'), CONTENT.toString());
    await assertUntouched();
  });

  it('under the temporary name is removed, and the file that it points to is unchanged', async () => {
    await symlink(join(outside, 'secret.zip'), join(root, '.a.zip.0123456789ab.part'));
    await deliver('a.zip', { temporary: '0123456789ab' });
    assert.equal(await readFile(join(root, 'a.zip'), 'utf8'), CONTENT.toString());
    await assertUntouched();
  });

  it('a hard link under the target name is replaced, and the other name keeps its content', async () => {
    await link(join(outside, 'secret.zip'), join(root, 'a.zip'));
    await deliver('a.zip');
    await assertUntouched();
  });

  it('that replaces the folder during a delivery does not redirect it', async (t) => {
    if (process.platform !== 'linux') return t.skip('only Linux binds names to an open folder');
    await mkdir(join(root, 'signed'));
    const source = new BufferSource(CONTENT, 'content');
    const swapping: ByteSource = {
      size: source.size,
      name: source.name,
      read: async (offset, length) => {
        await rename(join(root, 'signed'), join(root, 'aside'));
        await symlink(outside, join(root, 'signed'));
        return source.read(offset, length);
      },
    };
    await deliver('signed/secret.zip', { content: swapping });
    assert.deepEqual(await readdir(join(root, 'aside')), ['secret.zip']);
    await assertUntouched();
  });
});

describe('the root of a shared folder', () => {
  it('may itself be a link, since the operator configures it', async () => {
    await symlink(root, join(base, 'link'));
    const other = await openExchange({ url: `file://${join(base, 'link')}` });
    try {
      await other.deliver(new BufferSource(CONTENT, 'content'), 'signed/new/a.zip', options);
      assert.equal((await other.stat('signed/new/a.zip'))?.size, CONTENT.length);
    } finally {
      await other.close();
    }
  });

  it('may contain folders that can be entered but not listed', async () => {
    await writeFile(join(root, 'incoming', 'a.zip'), 'abc');
    await chmod(join(root, 'incoming'), 0o311);
    try {
      assert.equal((await exchange.stat('incoming/a.zip'))?.size, 3);
      await fetch('incoming/a.zip');
    } finally {
      await chmod(join(root, 'incoming'), 0o755);
    }
  });
});
