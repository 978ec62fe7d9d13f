import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import type { Exchange, ListedEntry } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import { hostKeys } from '../../world/shared-keys.ts';
import { startSshd, type Sshd } from '../../world/sshd.ts';

const OLD = new Date('2026-01-01T00:00:00Z');

describe('removal on the exchange', () => {
  let sshd: Sshd;
  before(async () => {
    sshd = await startSshd({ keysFrom: await hostKeys() });
  });
  after(() => sshd.stop());

  for (const scheme of ['file', 'sftp'] as const)
    describe(scheme, () => {
      let root: string;
      let exchange: Exchange;
      before(async () => {
        root = join(sshd.folder, scheme);
        await mkdir(join(root, 'incoming'), { recursive: true });
        const url = scheme === 'file' ? `file://${root}` : sshd.url(root, 'sftp');
        exchange = await openExchange({
          url,
          ssh: { identity: sshd.clientKey, knownHosts: sshd.knownHosts },
        });
      });
      after(() => exchange.close());

      /** A file of last year; returns how the exchange lists it. */
      const write = async (name: string, content: string): Promise<ListedEntry> => {
        await writeFile(join(root, 'incoming', name), content);
        await utimes(join(root, 'incoming', name), OLD, OLD);
        const entry = (await exchange.list('incoming', 100))?.find((each) => each.name === name);
        assert.ok(entry);
        return entry;
      };
      const isThere = (name: string): boolean => existsSync(join(root, 'incoming', name));

      it('lists files, folders and links as what they are, and no more than allowed', async () => {
        await mkdir(join(root, 'kinds', 'folder'), { recursive: true });
        await writeFile(join(root, 'kinds', 'file'), '12345');
        await symlink('file', join(root, 'kinds', 'link'));
        const listed = (await exchange.list('kinds', 100)) ?? [];
        const kinds = listed.map(({ name, kind }) => `${name}: ${kind}`).sort();
        assert.deepEqual(kinds, ['file: file', 'folder: folder', 'link: other']);
        assert.equal(listed.find(({ name }) => name === 'file')?.size, 5);
        assert.equal((await exchange.list('kinds', 2))?.length, 2);
        assert.deepEqual(await exchange.list('missing', 100), []);
      });

      it('removes the expected file', async () => {
        const entry = await write('a.zip', 'signed');
        assert.equal(
          await exchange.removeFile('incoming/a.zip', { ...entry, sha256: sha256Hex('signed') }),
          true,
        );
        assert.ok(!isThere('a.zip'));
      });

      for (const [what, change] of [
        ['of another size', { size: 7 }],
        ['of another time', { modified: new Date('2026-01-02T00:00:00Z') }],
        ['with another digest', { sha256: sha256Hex('another') }],
      ] as const)
        it(`keeps a file ${what}`, async () => {
          const entry = await write('b.zip', 'signed');
          assert.equal(await exchange.removeFile('incoming/b.zip', { ...entry, ...change }), false);
          assert.equal(await readFile(join(root, 'incoming', 'b.zip'), 'utf8'), 'signed');
        });

      it('removes nothing that is missing, and nothing through a link', async () => {
        const entry = await write('c.zip', 'signed');
        await symlink('c.zip', join(root, 'incoming', 'link.zip'));
        assert.equal(await exchange.removeFile('incoming/missing.zip', entry), false);
        assert.equal(await exchange.removeFile('incoming/link.zip', entry), false);
        assert.ok(isThere('c.zip') && isThere('link.zip'));
      });

      it('refuses a path outside of the exchange: exchange-path-outside', async () => {
        const entry = await write('d.zip', 'signed');
        for (const path of ['../d.zip', 'incoming/../../d.zip', '/etc/passwd'])
          await assert.rejects(
            async () => exchange.removeFile(path, entry),
            ({ code }: { code: string }) => code === 'exchange-path-outside',
          );
      });

      it('removes a folder only if it is empty', async () => {
        await mkdir(join(root, 'full'), { recursive: true });
        await writeFile(join(root, 'full', 'x'), '');
        await mkdir(join(root, 'empty'), { recursive: true });
        assert.equal(await exchange.removeFolder('full'), false);
        assert.equal(await exchange.removeFolder('empty'), true);
      });
    });
});
