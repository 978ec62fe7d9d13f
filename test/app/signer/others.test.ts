/** Files that cannot be signed, on a channel that delivers checksums of them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { forge } from '../../lib/zip/zips.ts';
import { assertRefused, signpipe } from '../../world/site.ts';
import { program, refusesAll, sending, sha256, soundZip, TestSigner, type Case } from './test-signer.ts';

const run = promisify(execFile);

/** Lets files that cannot be signed pass, with unsigned checksum files. */
const change = (text: string): string =>
  text.replace(/^signing:\n/m, 'signing:\n  others: checksum\n').concat('checksums: {}\n');

/** The beginning of an xz file, and what might follow. */
const tarball = (seed = 1): Buffer =>
  Buffer.concat([Buffer.from('fd377a585a0000', 'hex'), Buffer.alloc(3000, seed), randomBytes(100)]);

const texts = forge([{ name: 'docs/readme.txt', content: 'read me' }]);

describe('a channel with signing.others: checksum', () => {
  let signer: TestSigner;
  before(async () => {
    // Over SFTP, which copies such a file within the exchange.
    signer = await TestSigner.open({ change });
  });
  after(() => signer.close());

  it('delivers a file that cannot be signed as it came, with its checksum file', async () => {
    const bytes = tarball();
    const request = await signer.send('blender.tar.xz', bytes);
    await signer.signs(request);
    const folder = signer.world.exchange('signed');
    assert.deepEqual(await readFile(join(folder, 'blender.tar.xz')), bytes);
    await run('sha256sum', ['-c', '--strict', 'blender.tar.xz.SHA256SUMS'], { cwd: folder });
    const { receipt, message, commit } = await signer.receiptFor(request);
    const [file] = receipt.files;
    assert.deepEqual([file?.signed, file?.entries, file?.seen], [[], 1, 'whole']);
    assert.equal(file?.output?.sha256, file?.input.sha256);
    assert.equal(receipt.certificate, undefined);
    assert.match(message, /^checksummed blender\.tar\.xz\n/);
    assert.match(await signer.world.git('show', `${commit}:policy.json`), /"others": "checksum"/);
    await signer.assertIdle();
  });

  it('is planned so by submit --dry-run, and by plan with its configuration, which leave no trace', async () => {
    const { world } = signer;
    const folder = world.at('planned');
    await mkdir(folder);
    const write = async (name: string, bytes: Buffer): Promise<string> => {
      await writeFile(join(folder, name), bytes);
      return join(folder, name);
    };
    const files = [
      await write('product.zip', soundZip(2)),
      await write('planned.tar.xz', tarball()),
      await write('cut.exe', program(1).subarray(0, 100)),
    ];
    const heads = await world.git('show-ref');
    const before = await readdir(world.exchange('incoming'));
    const { builderConfig, signerConfig } = world.site;
    const dry = ['submit', '-c', builderConfig, '--dry-run', '--no-pack', ...files];
    const submitted = await signpipe([...dry, '--json']);
    const answer = JSON.parse(submitted.stdout) as { published: boolean; files: Record<string, unknown>[] };
    assert.deepEqual(
      answer.files.map(({ name, kind, refused }) => [name, kind ?? (refused as { code: string }).code]),
      [
        ['product.zip', 'zip'],
        ['planned.tar.xz', 'other'],
        ['cut.exe', 'pe-truncated'],
      ],
    );
    assert.deepEqual([answer.published, submitted.status], [true, 3]);
    assert.equal(await world.git('show-ref'), heads);
    assert.deepEqual(await readdir(world.exchange('incoming')), before);
    assertRefused(await signpipe([...dry, '--wait']), 2, 'dry-run-wait');
    const planned = await signpipe(['plan', '-c', signerConfig, ...files.slice(0, 2)]);
    assert.match(planned.stdout, /product\.zip: 1 signature in a zip of 2 files\n/);
    assert.match(planned.stdout, /planned\.tar\.xz: stays as it is: nothing in it can be signed\n$/);
    const elsewhere = await signpipe(['plan', '-c', signerConfig, '--channel', 'none', 'x']);
    assertRefused(elsewhere, 2, 'channel-not-configured');
  });

  it('signs programs beside such files, and lists all of them in REQUEST.SHA256SUMS', async () => {
    const files = new Map([
      ['mixed.zip', soundZip(1)],
      ['mixed.AppImage', Buffer.concat([Buffer.from('7f454c46', 'hex'), randomBytes(2000)])],
      ['texts.zip', texts],
    ]);
    for (const [name, bytes] of files) await signer.put(name, bytes);
    const lines = [...files].map(([name, bytes]) => `${sha256(bytes)}  ${name}\n`);
    const request = await signer.ask(lines.join(''));
    await signer.signs(request);
    const { receipt } = await signer.receiptFor(request);
    assert.deepEqual(
      receipt.files.map(({ signed, entries }) => [signed.length, entries]),
      [
        [1, 2],
        [0, 1],
        [0, 1],
      ],
    );
    assert.ok(receipt.certificate);
    const folder = signer.world.exchange('signed');
    const { stdout } = await run('sha256sum', ['-c', `${request}.SHA256SUMS`], { cwd: folder });
    assert.equal(stdout, 'mixed.zip: OK\nmixed.AppImage: OK\ntexts.zip: OK\n');
  });

  it('submit --no-pack requests them as they are, wait accepts them, audit finds nothing wrong', async () => {
    const { world } = signer;
    const path = world.at('original', 'suite.tar.xz');
    const bytes = tarball(7);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    const submitted = await signpipe(['submit', '-c', world.site.builderConfig, '--no-pack', path]);
    assert.equal(submitted.status, 0, submitted.stderr);
    const request = submitted.stdout.trim();
    await signer.signs(request);
    const ended = await world.wait(request, '--original', path);
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /^checksummed: request/);
    assert.match(ended.stdout, /suite\.tar\.xz: unchanged: nothing in it can be signed/);
    assert.deepEqual(await readFile(world.at('out', 'suite.tar.xz')), bytes);
    const audit = await signpipe([
      ...['audit', '--repo', world.control],
      ...['--allowed-signers', world.at('keys', 'audit_signers')],
    ]);
    assert.equal(audit.status, 0, audit.stdout + audit.stderr);
  });

  it('submit says that the channel takes such files as they are, if it packs them', async () => {
    const { world } = signer;
    const path = world.at('packed.tar.xz');
    await writeFile(path, tarball(8));
    const submitted = await signpipe(['submit', '-c', world.site.builderConfig, path]);
    assert.match(submitted.stderr, /packed 1 file into packed\.tar\.zip/);
    assert.match(submitted.stderr, /to request them as they are, give --no-pack/);
    await signer.signs(submitted.stdout.trim());
  });

  it('names zips in a zip without programs: nobody looked into them', async () => {
    const inner = forge([{ name: 'app.exe', content: program(4) }]);
    const outer = forge([
      { name: 'readme.txt', content: 'read me' },
      { name: 'inner.zip', content: inner, method: 0 },
    ]);
    const request = await signer.send('nested.zip', outer);
    await signer.signs(request);
    const [file] = (await signer.receiptFor(request)).receipt.files;
    assert.deepEqual([file?.entries, file?.leftAlone], [2, [{ path: 'inner.zip', why: 'nested-zip' }]]);
    const ended = await signer.world.wait(request);
    assert.match(ended.stdout, /nested\.zip: unchanged: nothing that was examined can be signed/);
    assert.match(ended.stdout, /inner\.zip {2}not examined: a zip inside the zip/);
  });

  it('signature attach takes a rebuilt file as it is, and no other', async () => {
    const { world } = signer;
    for (const [name, bytes] of [
      ['rebuilt.tar.xz', tarball(12)],
      ['rebuilt.zip', texts],
    ] as const) {
      const request = await signer.send(name, bytes);
      await signer.signs(request);
      const path = world.at(name);
      const attach = (): ReturnType<typeof signpipe> =>
        signpipe([
          ...['signature', 'attach', path, '--receipt', request, '--repo', world.control],
          ...['--output', world.at(`attached-${name}`), '--force'],
        ]);
      await writeFile(path, Buffer.concat([bytes, Buffer.of(0)]));
      assertRefused(await attach(), 3, 'rebuild-differs');
      await writeFile(path, bytes);
      const ended = await attach();
      assert.equal(ended.status, 0, ended.stderr);
      assert.deepEqual(await readFile(world.at(`attached-${name}`)), bytes);
    }
  });

  it('signed-file-differs: wait keeps no such file that was replaced', async () => {
    const request = await signer.send('swapped.tar.xz', tarball(9));
    await signer.signs(request);
    await writeFile(signer.world.exchange('signed', 'swapped.tar.xz'), tarball(9));
    assertRefused(await signer.world.wait(request), 3, 'signed-file-differs');
  });

  it('checks for a HOLD directly before it delivers, though no key is used', async () => {
    const request = await signer.send('held.tar.xz', tarball(11));
    const { exchange } = signer.context;
    const fetch = exchange.fetch.bind(exchange);
    exchange.fetch = async (...args) => {
      exchange.fetch = fetch;
      await signer.ask('# nothing\n', { change: (folder) => writeFile(join(folder, 'HOLD'), 'stop\n') });
      return fetch(...args);
    };
    await signer.poll();
    assert.deepEqual(await signer.receiptsFor(request), []);
    assert.ok(!(await readdir(signer.world.exchange('signed'))).includes('held.tar.xz'));
  });
});

const notSignable = { code: 'not-signable', says: /neither a zip nor a file that can be signed/, hint: /./ };
const nothing = { code: 'nothing-to-sign', says: /nothing to sign/, hint: /signing\.files/ };

/** A program without its header. */
const cut = program(5).subarray(200);

const damaged: readonly Case[] = [
  { ...notSignable, what: 'a program that is damaged', make: sending('setup.exe', cut) },
  { ...notSignable, what: 'a program whose kind signing.files does not name', make: sending('a.sys', cut) },
  { ...notSignable, what: 'a zip that is cut short', make: sending('a.zip', soundZip(1).subarray(4, -30)) },
  { ...notSignable, what: 'an empty file', make: sending('a.tar.xz', Buffer.alloc(0)) },
  { ...nothing, what: 'a program with another name', make: sending('tool.bin', program(2)) },
  {
    ...nothing,
    what: 'a zip with a program that signing.files does not name',
    make: sending('drivers.zip', forge([{ name: 'a.sys', content: program(3) }])),
  },
  {
    code: 'digest-differs',
    what: 'other bytes than were pinned',
    make: async (signer) => {
      await signer.put('pinned.tar.xz', tarball(1));
      return signer.ask(`${sha256(tarball(2))}  pinned.tar.xz\n`);
    },
    says: /zipname says/,
    hint: /./,
  },
  {
    code: 'pinned-entry-missing',
    what: 'a pinned program in a zip without programs',
    make: async (signer) => {
      await signer.put('pins.zip', texts);
      return signer.ask(`${sha256(program(1))}  pins.zip!/product/app.exe\n`);
    },
    says: /./,
    hint: /./,
  },
];

refusesAll(
  'signing.others: checksum refuses what may have been meant to be signed',
  { ssh: false, change },
  damaged,
);
