/** What is delivered beside the signed files, judged by sha256sum and ssh-keygen. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { attachmentsOf, type Attachment } from '../../../../src/protocol/control/receipt-schema.ts';
import { assertRefused, signpipe } from '../../../world/site.ts';
import { program, sending, sha256, soundZip, TestSigner, refusesAll } from '../test-signer.ts';

const run = promisify(execFile);

/** A key whose signatures are random, so that a second one would differ. */
const KEY = 'keys/checksums_ecdsa';
const LINES = `checksums:\n  ssh: { key: ${KEY} }\n`;

const makeKey = async (signer: TestSigner['world']): Promise<void> => {
  await run('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-C', 'release', '-f', signer.at(KEY)]);
};

/** `ssh-keygen -Y verify` as a mirror's user runs it. */
async function verifySsh(signer: TestSigner, file: string): Promise<void> {
  const allowed = signer.world.at('checksum_signers');
  await writeFile(allowed, `release ${await readFile(signer.world.at(`${KEY}.pub`), 'utf8')}`);
  const args = ['-Y', 'verify', '-f', allowed, '-I', 'release', '-n', 'file', '-s', `${file}.sig`];
  const child = run('ssh-keygen', args);
  child.child.stdin?.end(await readFile(file));
  assert.match((await child).stdout, /^Good "file" signature for release/);
}

const kindsOf = (attachments: readonly Attachment[] | undefined): string[] =>
  (attachments ?? []).map(({ kind, name }) => `${kind} ${name}`);

describe('a channel with checksums', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open({
      ssh: false,
      lines: LINES,
      prepare: makeKey,
      change: (text) => text.replace(/^exchange:\n/m, "exchange:\n  delivered: '{request}/{name}'\n"),
    });
  });
  after(() => signer.close());

  it('delivers NAME.SHA256SUMS and its signature beside the file, and lists both in the receipt', async () => {
    const request = await signer.send('one.zip', soundZip(1));
    await signer.signs(request);
    const folder = signer.world.exchange('signed', request);
    assert.deepEqual((await readdir(folder)).sort(), [
      'one.zip',
      'one.zip.SHA256SUMS',
      'one.zip.SHA256SUMS.sig',
    ]);
    const { stdout } = await run('sha256sum', ['-c', '--strict', 'one.zip.SHA256SUMS'], { cwd: folder });
    assert.equal(stdout, 'one.zip: OK\n');
    await verifySsh(signer, join(folder, 'one.zip.SHA256SUMS'));
    const { receipt, commit } = await signer.receiptFor(request);
    assert.deepEqual(kindsOf(receipt.files[0]?.attachments), [
      'sha256sums one.zip.SHA256SUMS',
      'ssh one.zip.SHA256SUMS.sig',
    ]);
    for (const { name, sha256: digest, size } of attachmentsOf(receipt)) {
      const delivered = await readFile(join(folder, name));
      assert.deepEqual([sha256(delivered), delivered.length], [digest, size]);
      const stored = await signer.world.git('show', `${commit}:attachments/${digest}`);
      assert.equal(stored, delivered.toString().trimEnd());
    }
  });

  it('delivers REQUEST.SHA256SUMS over several files, with the folders in their names', async () => {
    await signer.put('a/one.zip', soundZip(2));
    await signer.put('two.exe', program(3));
    const request = await signer.ask(`${sha256(soundZip(2))}  a/one.zip\n${sha256(program(3))}  two.exe\n`);
    await signer.signs(request);
    const folder = signer.world.exchange('signed', request);
    const sums = `${request}.SHA256SUMS`;
    const { stdout } = await run('sha256sum', ['-c', '--strict', sums], { cwd: folder });
    assert.equal(stdout, 'a/one.zip: OK\ntwo.exe: OK\n');
    await verifySsh(signer, join(folder, sums));
    const inFolder = await run('sha256sum', ['-c', 'one.zip.SHA256SUMS'], { cwd: join(folder, 'a') });
    assert.equal(inFolder.stdout, 'one.zip: OK\n');
    const { receipt } = await signer.receiptFor(request);
    assert.deepEqual(kindsOf(receipt.attachments), [`sha256sums ${sums}`, `ssh ${sums}.sig`]);
  });

  it('fetches a zip whole that pins single programs, and says in policy.json that it does', async () => {
    const zip = soundZip(4);
    await signer.put('sparse.zip', zip);
    const request = await signer.ask(`${sha256(program(4))}  sparse.zip!/product/app.exe\n`);
    await signer.signs(request);
    const { receipt, commit } = await signer.receiptFor(request);
    assert.equal(receipt.files[0]?.seen, 'whole');
    const policy = JSON.parse(await signer.world.git('show', `${commit}:policy.json`)) as {
      channels: Record<string, { checksums?: string[]; sparse?: boolean }>;
    };
    assert.deepEqual(policy.channels['default']?.checksums, ['sha256sums', 'ssh']);
    assert.equal(policy.channels['default'].sparse, false);
  });

  for (const failing of [1, 2, 3])
    it(`delivers the same bytes after a crash at delivery ${failing} of 3`, async () => {
      const request = await signer.send(`crash-${failing}.zip`, soundZip(10 + failing));
      const { exchange } = signer.context;
      const deliver = exchange.deliver.bind(exchange);
      let count = 0;
      exchange.deliver = (content, path, options) => {
        count += 1;
        // An alarm stops the signer, as a crash does.
        if (count === failing) throw new SignpipeError('alarm', 'crash', 'stopped here');
        return deliver(content, path, options);
      };
      await assert.rejects(signer.poll(), { code: 'crash' });
      const journal = await readFile(signer.world.at('signer-state', 'journal.json'), 'utf8');
      await signer.restart();
      await signer.signs(request);
      const { receipt } = await signer.receiptFor(request);
      const [{ receipt: planned }] = (JSON.parse(journal) as { records: [{ receipt: typeof receipt }] })
        .records;
      assert.deepEqual(attachmentsOf(receipt), attachmentsOf(planned));
      const folder = signer.world.exchange('signed', request);
      for (const { name, sha256: digest } of attachmentsOf(receipt))
        assert.equal(sha256(await readFile(join(folder, name))), digest);
      assert.equal((await readdir(folder)).length, 3);
      await signer.assertIdle();
    });

  it('lists in a failed receipt only those that were delivered', async () => {
    const request = await signer.send('half.zip', soundZip(20));
    const { exchange } = signer.context;
    const deliver = exchange.deliver.bind(exchange);
    exchange.deliver = (content, path, options) => {
      if (path.endsWith('.sig')) throw new SignpipeError('local', 'exchange-closed', 'no more');
      return deliver(content, path, options);
    };
    await signer.poll();
    const { receipt, commit } = await signer.receiptFor(request);
    assert.equal(receipt.outcome, 'failed');
    assert.deepEqual(kindsOf(receipt.files[0]?.attachments), ['sha256sums half.zip.SHA256SUMS']);
    const stored = await signer.world.git('ls-tree', '--name-only', `${commit}:attachments`);
    assert.equal(stored.split('\n').length, 1);
    await signer.restart();
  });

  it('wait downloads them, and audit finds nothing wrong', async () => {
    const request = await signer.send('waited.zip', soundZip(5));
    await signer.signs(request);
    const ended = await signer.world.wait(request);
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /-> .*waited\.zip\.SHA256SUMS\.sig$/m);
    const out = signer.world.at('out');
    await run('sha256sum', ['-c', '--strict', 'waited.zip.SHA256SUMS'], { cwd: out });
    await verifySsh(signer, join(out, 'waited.zip.SHA256SUMS'));
    const allowed = ['--allowed-signers', signer.world.at('keys', 'audit_signers')];
    const audit = await signpipe(['audit', '--repo', signer.world.control, ...allowed]);
    assert.equal(audit.status, 0, audit.stdout + audit.stderr);
  });

  it('signed-file-differs: wait keeps no checksum file that was replaced', async () => {
    const request = await signer.send('swapped.zip', soundZip(6));
    await signer.signs(request);
    await writeFile(signer.world.exchange('signed', request, 'swapped.zip.SHA256SUMS'), 'other\n');
    assertRefused(await signer.world.wait(request), 3, 'signed-file-differs', /swapped\.zip\.SHA256SUMS/);
    assert.ok(!(await readdir(signer.world.at('out'))).includes('swapped.zip.SHA256SUMS'));
  });
});

const reserved = { code: 'name-reserved', says: /the signer itself delivers/, hint: /another name/ };

const withKey = { ssh: false, lines: LINES, prepare: makeKey };

refusesAll('names that belong to the signer, and those that leave no room for them', withKey, [
  { ...reserved, what: 'a checksum file', make: sending('x.zip.SHA256SUMS', soundZip(1)) },
  { ...reserved, what: 'a signature in another case', make: sending('x.zip.sha256sums.ASC', soundZip(2)) },
  {
    ...reserved,
    what: 'a folder in whose place a checksum file belongs',
    make: sending('y.zip.SHA256SUMS/b.zip', soundZip(4)),
  },
  {
    ...reserved,
    what: 'a name with dots that Windows drops',
    make: sending('x.zip.SHA256SUMS..', soundZip(5)),
  },
  {
    code: 'names-alike',
    what: 'in upper and lower case',
    make: async (signer) => {
      await signer.put('A.zip', soundZip(6));
      await signer.put('a.zip', soundZip(7));
      return signer.ask(`${sha256(soundZip(6))}  A.zip\n${sha256(soundZip(7))}  a.zip\n`);
    },
    says: /A\.zip and a\.zip are one name/,
    hint: /another name/,
  },
  { ...reserved, what: 'a provenance', make: sending('x.zip.intoto.jsonl', soundZip(3)) },
  {
    code: 'name-too-long',
    what: 'for the names beside it',
    make: (signer) => signer.ask(`${'0'.repeat(64)}  ${'n'.repeat(240)}.zip\n`),
    says: /too long for the checksum files/,
    hint: /shorter/,
  },
]);
