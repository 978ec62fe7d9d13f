import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { makeSample } from '../../../src/sandbox/sample-release.ts';
import { World } from '../../world/site.ts';

const run = promisify(execFile);

/** The output of osslsigncode for a program; its exit status alone proves nothing. */
async function osslsigncode(world: World, program: string): Promise<string> {
  const roots = ['-CAfile', world.at('ca.pem'), '-TSA-CAfile', world.at('tsa.pem')];
  const { stdout, stderr } = await run('osslsigncode', ['verify', ...roots, '-in', program]);
  return stdout + stderr;
}

describe('the main job, over a real sshd with SFTP', () => {
  let world: World;
  before(async () => {
    world = await World.start();
    await makeSample(world.at('product.zip'));
  });
  after(() => world.stop());

  it('turns a committed zip name into a signed, timestamped zip and a receipt', async () => {
    const request = await world.submit([world.at('product.zip')], '--revision', 'abc123');
    const watched = await world.watchOnce();
    assert.equal(watched.status, 0, watched.stdout);
    const waited = await world.wait(request);
    assert.equal(waited.status, 0, waited.stderr);
    const receipt = await world.receipt();
    assert.equal(receipt.outcome, 'signed');
    assert.equal(await sha256OfFile(world.at('out', 'product.zip')), receipt.files[0]?.output?.sha256);
    assert.equal(
      await sha256OfFile(world.exchange('signed', 'product.zip')),
      receipt.files[0]?.output?.sha256,
    );
  });

  it('names signer, identity, format, scheme and digest in the receipt', async () => {
    const receipt = await world.receipt();
    const { subject, issuer } = world.site.pki.codeSigning.certificate;
    assert.deepEqual(receipt.identity, { subject, issuer });
    const { stdout } = await run('ssh-keygen', ['-lf', world.at('keys', 'receipts_ed25519.pub')]);
    assert.equal(receipt.signer?.key, stdout.split(' ')[1]);
    const [file] = receipt.files;
    assert.deepEqual(file?.attachments, []);
    for (const { format, scheme, inside, digest, authenticode } of file?.signed ?? []) {
      assert.deepEqual([format, scheme, inside], ['pe', 'authenticode', []]);
      assert.deepEqual(digest, { algorithm: authenticode.algorithm, value: authenticode.digest });
    }
  });

  it('made signatures and timestamps that osslsigncode accepts, in a zip that unzip accepts', async () => {
    const folder = world.at('unpacked');
    await run('unzip', ['-q', '-o', world.at('out', 'product.zip'), '-d', folder]);
    const receipt = await world.receipt();
    const paths = receipt.files[0]?.signed.map(({ path }) => path) ?? [];
    assert.equal(paths.length, 4);
    for (const path of paths) {
      const said = await osslsigncode(world, join(folder, path));
      assert.match(said, /^Signature verification: ok/m, path);
      assert.match(said, /^Timestamp Server Signature verification: ok/m, path);
    }
    await run('zip', ['-T', world.at('out', 'product.zip')]);
    await run('python3', [
      '-c',
      'import sys, zipfile; assert zipfile.ZipFile(sys.argv[1]).testzip() is None',
      world.at('out', 'product.zip'),
    ]);
  });

  it('left a receipt commit that git verifies, with two parents and its trailers', async () => {
    await world.git('fsck', '--strict');
    const [, first, second] = (await world.git('rev-list', '--parents', '-1', 'signed')).split(' ');
    assert.equal(second, await world.git('rev-parse', 'main'));
    assert.equal(first, await world.git('rev-parse', 'signed~1'));
    const signers = `gpg.ssh.allowedSignersFile=${world.at('keys', 'receipt_signers')}`;
    await world.git('-c', 'gpg.format=ssh', '-c', signers, 'verify-commit', 'signed');
    const trailers = await world.git('log', '-1', '--format=%(trailers:only)', 'signed');
    assert.match(trailers, new RegExp(`^Request: ${second}$`, 'm'));
    assert.match(trailers, /^Outcome: signed$/m);
    assert.match(trailers, /^Certificate-SHA256: [0-9a-f]{64}$/m);
    assert.match(await world.git('show', 'signed:SHA256SUMS'), /^[0-9a-f]{64} {2}product\.zip$/);
  });

  it('can be repeated by anyone: the detached signatures turn the unsigned zip into the signed one', async () => {
    const request = await world.git('rev-parse', 'main');
    const ended = await world.attach(world.at('product.zip'), request, world.at('again.zip'));
    assert.equal(ended.status, 0, ended.stderr);
    assert.equal(
      await sha256OfFile(world.at('again.zip')),
      await sha256OfFile(world.at('out', 'product.zip')),
    );
    const proof = await world.verify(world.at('again.zip'), world.at('product.zip'));
    assert.equal(proof.status, 0, proof.stdout);
    assert.match(proof.stdout, /plus 4 signatures, and nothing else/);
  });

  it('answers three requests that were pushed between two polls, in their order', async () => {
    const ids: string[] = [];
    for (const name of ['one', 'two', 'three']) {
      await copyFile(world.at('product.zip'), world.at(`${name}.zip`));
      ids.push(await world.submit([world.at(`${name}.zip`)]));
    }
    assert.equal((await world.watchOnce()).status, 0);
    const answered = [await world.receipt(2), await world.receipt(1), await world.receipt(0)];
    assert.deepEqual(
      answered.map(({ request }) => request.id),
      ids,
    );
    assert.deepEqual(
      answered.map(({ outcome }) => outcome),
      ['signed', 'signed', 'signed'],
    );
  });

  it('signs a lone program, recognised by its content', async () => {
    const program = (await readdir(world.at('unpacked', 'product-1.0-windows64', 'bin')))[0] ?? '';
    await run('unzip', ['-q', '-o', '-j', world.at('product.zip'), `*/${program}`, '-d', world.at('lone')]);
    const request = await world.submit([world.at('lone', program)]);
    assert.equal((await world.watchOnce()).status, 0);
    assert.equal((await world.wait(request)).status, 0);
    assert.match(await osslsigncode(world, world.at('out', program)), /^Signature verification: ok/m);
  });

  it('signs a program once that is in two files of a request, so that its one receipt proves both', async () => {
    const program = (await readdir(world.at('lone')))[0] ?? '';
    const files = [world.at('product.zip'), world.at('lone', program)];
    const lines = files.map(async (file) => {
      await copyFile(file, world.exchange('incoming', basename(file)));
      return `${await sha256OfFile(file)}  ${basename(file)}\n`;
    });
    const request = await world.request((await Promise.all(lines)).join(''));
    assert.equal((await world.watchOnce()).status, 0);
    assert.equal((await world.wait(request)).status, 0);
    for (const file of files) {
      const again = world.at(`again-${basename(file)}`);
      const ended = await world.attach(file, request, again);
      assert.equal(ended.status, 0, ended.stderr);
      assert.equal(await sha256OfFile(again), await sha256OfFile(world.at('out', basename(file))));
    }
  });

  it('receipt-of-several: the name says which of its files is meant', async () => {
    const [request, other] = [await world.git('rev-parse', 'main'), world.at('other.zip')];
    await copyFile(world.at('product.zip'), other);
    const ended = await world.attach(other, request, world.at('never.zip'));
    assert.equal(ended.status, 2);
    assert.match(
      ended.stderr,
      /\[receipt-of-several\]\n.*give the file the name that it has there: product\.zip, /,
    );
  });

  it('packs loose files into the zip that is uploaded', async () => {
    const folder = world.at('loose');
    await mkdir(folder, { recursive: true });
    for (const name of await readdir(world.at('lone')))
      await copyFile(world.at('lone', name), join(folder, name));
    await writeFile(join(folder, 'notes.txt'), 'notes');
    const request = await world.submit([folder]);
    assert.equal((await world.watchOnce()).status, 0);
    const waited = await world.wait(request, '--json');
    assert.equal(waited.status, 0, waited.stderr);
    await run('unzip', ['-tq', world.at('out', 'loose.zip')]);
  });

  it('answers a request that was made with git and scp alone', async () => {
    const sha256 = await sha256OfFile(world.at('product.zip'));
    await copyFile(world.at('product.zip'), world.exchange('incoming', 'by-hand.zip'));
    const request = await world.request(`${sha256}  by-hand.zip\n`);
    assert.equal((await world.watchOnce()).status, 0);
    assert.equal((await world.receipt()).request.id, request);
    assert.equal((await world.receipt()).outcome, 'signed');
  });

  it('signs the same bytes again for a second request', async () => {
    const before = await world.git('rev-list', '--count', '--first-parent', 'signed');
    const request = await world.submit([world.at('product.zip')]);
    const again = await world.submit([world.at('product.zip')]);
    assert.notEqual(again, request);
    assert.equal((await world.watchOnce()).status, 0);
    assert.equal(
      Number(await world.git('rev-list', '--count', '--first-parent', 'signed')),
      Number(before) + 2,
    );
  });

  it('leaves no temporary files', async () => {
    assert.deepEqual(await readdir(world.at('signer-state', 'work')), []);
    assert.deepEqual(
      (await readdir(world.exchange('signed'))).filter(
        (name) => name.startsWith('.') || name.endsWith('.part'),
      ),
      [],
    );
    assert.ok(!(await readdir(world.at('signer-state'))).includes('journal.json'));
  });

  it('has nothing to do at the next poll', async () => {
    const tip = await world.git('rev-parse', 'signed');
    assert.equal((await world.watchOnce()).status, 0);
    assert.equal(await world.git('rev-parse', 'signed'), tip);
  });
});

describe('the main job over the legacy SCP protocol', () => {
  let world: World;
  before(async () => {
    world = await World.start({ sshd: { sftp: false }, exchangeScheme: 'scp' });
    await makeSample(world.at('product.zip'));
  });
  after(() => world.stop());

  it('signs a zip on a host whose SFTP is switched off', async () => {
    const request = await world.submit([world.at('product.zip')]);
    const watched = await world.watchOnce();
    assert.equal(watched.status, 0, watched.stdout);
    const waited = await world.wait(request);
    assert.equal(waited.status, 0, waited.stderr);
    await run('unzip', ['-tq', world.at('out', 'product.zip')]);
  });
});

describe('the main job if the signed zip replaces the unsigned one', () => {
  let world: World;
  before(async () => {
    world = await World.start();
    await world.reconfigure((text) =>
      text.replace(/^exchange:\n/m, 'exchange:\n  incoming: incoming\n  outgoing: incoming\n'),
    );
    await makeSample(world.at('product.zip'));
  });
  after(() => world.stop());

  it('puts it back under the same name', async () => {
    await world.submit([world.at('product.zip')]);
    assert.equal((await world.watchOnce()).status, 0);
    const receipt = await world.receipt();
    assert.equal(receipt.outcome, 'signed');
    assert.equal(
      await sha256OfFile(world.exchange('incoming', 'product.zip')),
      receipt.files[0]?.output?.sha256,
    );
    await rm(world.exchange('incoming', 'product.zip'));
    assert.ok((await readFile(world.site.signerConfig, 'utf8')).includes('outgoing: incoming'));
  });
});
