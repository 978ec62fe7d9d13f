/** SFTP servers other than OpenSSH: a delivery works, or a rehearsal shows beforehand that it cannot. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { openExchange } from '../../../src/protocol/exchange/open-exchange.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { startOddSftp, type Oddities, type OddServer } from '../../world/odd-sftp.ts';

const TOKEN = '0123456789ab';

async function withServer(
  odd: Oddities,
  use: (exchange: Exchange, server: OddServer) => Promise<void>,
): Promise<void> {
  const server = await startOddSftp(odd);
  try {
    const exchange = await openExchange({ url: server.url, ssh: server.ssh, stallTimeoutMs: 5000 });
    try {
      await use(exchange, server);
    } finally {
      await exchange.close();
    }
  } finally {
    await server.stop();
  }
}

const deliver = (exchange: Exchange, path: string, bytes: Buffer, temporary?: string): Promise<void> =>
  exchange.deliver(new BufferSource(bytes, path), path, {
    size: bytes.length,
    sha256: sha256Hex(bytes),
    ...(temporary === undefined ? {} : { temporary }),
  });

async function fetched(exchange: Exchange, server: OddServer, path: string): Promise<Buffer> {
  const destination = join(server.root, '..', 'fetched');
  await exchange.fetch(path, destination, { limit: 10_000_000 });
  return readFile(destination);
}

const everything = async (server: OddServer): Promise<string[]> =>
  (await readdir(server.root, { recursive: true })).sort();

const WORKING: readonly [what: string, odd: Oddities][] = [
  ['that has no extensions', {}],
  ['whose attributes have no permissions', { attributes: 'no-permissions' }],
  ['whose permissions do not say what kind of file it is', { attributes: 'no-kind' }],
  ['that reports only the size of an open file', { attributes: 'size' }],
  ['without FSTAT', { unsupported: ['FSTAT'] }],
  ['without FSTAT and permissions', { unsupported: ['FSTAT'], attributes: 'no-permissions' }],
  ['without LSTAT, SETSTAT and FSETSTAT', { unsupported: ['LSTAT', 'SETSTAT', 'FSETSTAT'] }],
  ['without STAT', { unsupported: ['STAT'] }],
  ['without STAT, FSTAT and permissions', { unsupported: ['STAT', 'FSTAT'], attributes: 'no-permissions' }],
  ['without OPENDIR', { unsupported: ['OPENDIR'] }],
  ['that denies removing a missing file', { remove: 'denied-if-missing' }],
  ['that renames over existing files', { renamesOver: true }],
  ['whose reads are short', { shortReads: 1000 }],
];

for (const [what, odd] of WORKING)
  describe(`an SFTP server ${what}`, () => {
    it('receives and sends files, replaces old ones, and keeps no other files', () =>
      withServer(odd, async (exchange, server) => {
        const bytes = randomBytes(300_000);
        await deliver(exchange, 'signed/new/folder/a.zip', bytes, TOKEN);
        assert.ok(bytes.equals(await fetched(exchange, server, 'signed/new/folder/a.zip')));
        const other = randomBytes(200_000);
        await deliver(exchange, 'signed/new/folder/a.zip', other, TOKEN);
        await deliver(exchange, 'signed/new/folder/a.zip', other, TOKEN);
        assert.ok(other.equals(await readFile(join(server.root, 'signed/new/folder/a.zip'))));
        assert.equal((await exchange.stat('signed/new/folder/a.zip'))?.size, other.length);
        assert.equal(await exchange.stat('signed/b.zip'), null);
        const file = await exchange.openRead('signed/new/folder/a.zip');
        assert.ok((await file?.read(100, 5000))?.equals(other.subarray(100, 5100)));
        await file?.close();
        assert.deepEqual(await everything(server), [
          'incoming',
          'signed',
          'signed/new',
          'signed/new/folder',
          'signed/new/folder/a.zip',
        ]);
      }));

    it('is rehearsed without a trace', () =>
      withServer(odd, async (exchange, server) => {
        const tried = await exchange.rehearse('signed', { make: false });
        assert.equal(tried?.left, null);
        assert.equal(tried.deletes, odd.remove === undefined);
        assert.equal(await exchange.rehearse('later', { make: false }), null);
        assert.deepEqual(await everything(server), ['incoming', 'signed']);
      }));

    it('exchange-not-a-file, exchange-file-missing: a folder, and no file', () =>
      withServer(odd, async (exchange, server) => {
        await assert.rejects(fetched(exchange, server, 'incoming/a.zip'), { code: 'exchange-file-missing' });
        // Without kinds and OPENDIR a folder cannot be recognised; opening it fails with the server's own error.
        if (odd.unsupported?.includes('OPENDIR') && odd.attributes) return;
        await assert.rejects(fetched(exchange, server, 'incoming'), { code: 'exchange-not-a-file' });
      }));
  });

describe('an SFTP server that deletes nothing', () => {
  it('receives files, also after a crash that left a temporary one', () =>
    withServer({ remove: 'denied' }, async (exchange, server) => {
      await writeFile(join(server.root, 'signed', `.a.zip.${TOKEN}.part`), 'left by a crash');
      const bytes = randomBytes(1000);
      await deliver(exchange, 'signed/a.zip', bytes, TOKEN);
      assert.ok(bytes.equals(await readFile(join(server.root, 'signed/a.zip'))));
    }));

  it('is rehearsed without writing anything', () =>
    withServer({ remove: 'denied' }, async (exchange, server) => {
      const tried = await exchange.rehearse('signed', { make: false });
      assert.deepEqual([tried?.written, tried?.deletes, tried?.left], [false, false, null]);
      assert.deepEqual(await everything(server), ['incoming', 'signed']);
    }));

  it('exchange-no-rename: it does not rename either, which a rehearsal shows without writing', () =>
    withServer({ remove: 'denied', unsupported: ['RENAME'] }, async (exchange, server) => {
      const code = 'exchange-no-rename';
      await assert.rejects(exchange.rehearse('signed', { make: false }), { code, kind: 'usage' });
      assert.deepEqual(await everything(server), ['incoming', 'signed']);
    }));
});

describe('an SFTP server without posix-rename', () => {
  it('restores the old file if a crash came between the two steps', () =>
    withServer({}, async (exchange, server) => {
      const old = join(server.root, 'signed', 'a.zip');
      await writeFile(old, 'old');
      await rename(old, join(server.root, 'signed', `.a.zip.${TOKEN}.old`));
      const bytes = Buffer.from('new');
      await assert.rejects(
        exchange.deliver(new BufferSource(Buffer.from('bad'), 'a'), 'signed/a.zip', {
          size: 3,
          sha256: sha256Hex(bytes),
          temporary: TOKEN,
        }),
        { code: 'exchange-local-file' },
      );
      assert.equal(await readFile(old, 'utf8'), 'old');
      await deliver(exchange, 'signed/a.zip', bytes, TOKEN);
      assert.equal(await readFile(old, 'utf8'), 'new');
      assert.deepEqual(await readdir(join(server.root, 'signed')), ['a.zip']);
    }));

  it('does not replace a folder of the target name', () =>
    withServer({}, async (exchange, server) => {
      await mkdir(join(server.root, 'signed', 'a.zip'));
      await assert.rejects(deliver(exchange, 'signed/a.zip', Buffer.from('x'), TOKEN), {
        kind: 'unavailable',
      });
      assert.deepEqual(await everything(server), ['incoming', 'signed', 'signed/a.zip']);
    }));
});

describe('an SFTP server to which nothing can be delivered', () => {
  for (const [what, odd, code, kind] of [
    ['does not rename', { unsupported: ['RENAME'] }, 'exchange-no-rename', 'usage'],
    ['denies writing', { readOnly: true }, 'exchange-permission-denied', 'unavailable'],
  ] as const)
    it(`${code}: it ${what}, which a rehearsal shows without a trace`, () =>
      withServer(odd, async (exchange, server) => {
        await assert.rejects(exchange.rehearse('signed', { make: false }), { code, kind });
        await assert.rejects(deliver(exchange, 'signed/a.zip', Buffer.from('x')), { code, kind });
        assert.deepEqual(await everything(server), ['incoming', 'signed']);
      }));

  it('exchange-folder-missing: it does not create folders, which a rehearsal shows', () =>
    withServer({ unsupported: ['MKDIR'] }, async (exchange) => {
      await assert.rejects(exchange.rehearse('signed/new', { make: true }), {
        code: 'exchange-folder-missing',
        kind: 'unavailable',
      });
    }));
});

describe('a read that fails', () => {
  it('exchange-refused: is not reported as an error of the local disk, and works at the next attempt', () =>
    withServer({ failingReads: 1 }, async (exchange, server) => {
      const bytes = randomBytes(100_000);
      await writeFile(join(server.root, 'incoming', 'a.zip'), bytes);
      await assert.rejects(fetched(exchange, server, 'incoming/a.zip'), (error) => {
        assert.ok(error instanceof SignpipeError);
        assert.deepEqual(
          [error.code, error.kind, error.retryable],
          ['exchange-refused', 'unavailable', true],
        );
        assert.match(error.message, /^incoming\/a\.zip: .*read error/);
        return true;
      });
      assert.ok(bytes.equals(await fetched(exchange, server, 'incoming/a.zip')));
    }));

  it('exchange-file-changed: the file ends before its announced size', () =>
    withServer({ earlyEof: 5000 }, async (exchange, server) => {
      await writeFile(join(server.root, 'incoming', 'a.zip'), randomBytes(10_000));
      await assert.rejects(fetched(exchange, server, 'incoming/a.zip'), { code: 'exchange-file-changed' });
    }));
});
