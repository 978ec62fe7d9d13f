import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { unavailable, usage, type SignpipeError } from '../../../src/lib/errors.ts';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { RequestPoller } from '../../../src/app/signer/request/request-poller.ts';
import { NetworkProxy } from '../../bench/network-proxy.ts';
import { signpipe, World, type WorldOptions } from '../../world/site.ts';
import { openContext } from './test-signer.ts';
import { BALLAST, makeZip } from './product.ts';

const run = promisify(execFile);

/** A world whose exchange is reached through a proxy that counts bytes. */
async function startWorld(options: WorldOptions = {}): Promise<{ world: World; network: NetworkProxy }> {
  const world = await World.start(options);
  const network = await NetworkProxy.open({ port: world.sshd.port });
  const known = await readFile(world.at('keys', 'known_hosts'), 'utf8');
  await appendFile(
    world.at('keys', 'known_hosts'),
    known.replaceAll(`]:${world.sshd.port}`, `]:${network.port}`),
  );
  await world.reconfigure((text) =>
    text.replace(/(url: "?sftp:\/\/[^@]+@127\.0\.0\.1):\d+/, `$1:${network.port}`),
  );
  assert.match(await readFile(world.site.signerConfig, 'utf8'), new RegExp(`sftp://.*:${network.port}`));
  return { world, network };
}

describe('sparse signing, over a real sshd', () => {
  let world: World;
  let network: NetworkProxy;
  let zip: { ours: number; paths: string[] };
  let request = '';
  before(async () => {
    ({ world, network } = await startWorld());
    zip = await makeZip(world, 'product.zip');
  });
  after(async () => {
    await network.close();
    await world.stop();
  });

  it('transfers only the directory and the programs, and makes the same zip as with the whole file', async () => {
    request = await world.submit([world.at('product.zip')], '--sparse');
    const zipname = await world.git('show', 'main:zipname');
    assert.equal(zipname.split('\n').length, zip.paths.length);
    const before = network.total;
    await world.poll();
    const moved = network.total - before;
    assert.ok(moved <= zip.ours * 2 + 2_000_000, `${moved} bytes for ${zip.ours} of ours`);
    const receipt = await world.receipt();
    assert.equal(receipt.outcome, 'signed', receipt.reason?.message ?? '');
    assert.equal(receipt.request.id, request);
    const [file] = receipt.files;
    assert.equal(file?.seen, 'entries');
    assert.equal(file?.input.sha256, undefined);
    assert.equal(file?.input.size, (await stat(world.at('product.zip'))).size);
    const delivered = world.exchange('signed', 'product.zip');
    assert.deepEqual(file?.output, {
      name: 'product.zip',
      path: 'product.zip',
      size: (await stat(delivered)).size,
    });
    assert.deepEqual(await readdir(world.exchange('signed')), ['product.zip']);
    // The detached signatures, attached to the whole zip, produce the same zip as signing the whole file.
    const attached = await world.attach(world.at('product.zip'), request, world.at('whole.zip'));
    assert.equal(attached.status, 0, attached.stderr);
    assert.equal(await sha256OfFile(delivered), await sha256OfFile(world.at('whole.zip')));
    await run('unzip', ['-tq', delivered]);
  });

  it('claims no SHA-256 of bytes that the signer did not see', async () => {
    const trailers = await world.git('log', '-1', '--format=%(trailers:only)', 'signed');
    assert.doesNotMatch(trailers, /^(Input|Output)-SHA256:/m);
    assert.doesNotMatch(await world.git('ls-tree', '--name-only', 'signed'), /SHA256SUMS/);
  });

  it('original-needed: `wait` accepts no zip whose other bytes are not proved', async () => {
    const ended = await world.wait(request);
    assert.equal(ended.status, 3);
    assert.match(ended.stderr, /--original FILE/);
    await assert.rejects(stat(world.at('out', 'product.zip')));
  });

  it('lets `wait --original` prove the other bytes', async () => {
    const ended = await world.wait(request, '--original', world.at('product.zip'));
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, /proved/);
    assert.equal(
      await sha256OfFile(world.at('out', 'product.zip')),
      await sha256OfFile(world.exchange('signed', 'product.zip')),
    );
  });

  it('archive-differs: the exchange changed bytes that the signer did not see', async () => {
    const delivered = world.exchange('signed', 'product.zip');
    const bytes = await readFile(delivered);
    const at = bytes.indexOf('ballast.bin') + 100;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(delivered, bytes);
    await rm(world.at('out'), { recursive: true, force: true });
    const ended = await world.wait(request, '--original', world.at('product.zip'));
    assert.equal(ended.status, 3);
    assert.match(ended.stderr, /archive-differs|differs from/);
    assert.deepEqual(await readdir(world.at('out')), []);
  });

  it('submits, waits and proves with one command', async () => {
    const submitting = signpipe([
      ...['submit', '-c', world.site.builderConfig, world.at('product.zip'), '--sparse', '--wait'],
      ...['--output', world.at('out'), '--allow-test-certificate', '--timeout', '60s'],
    ]);
    const before = await world.git('rev-parse', 'main');
    for (let tries = 0; tries < 100 && (await world.git('rev-parse', 'main')) === before; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 100));
    await world.poll();
    const ended = await submitting;
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, /proved/);
  });

  it('entry-unpinned: a program of ours that no line pins, before anything is moved', async () => {
    const [first = ''] = zip.paths;
    const before = network.total;
    const pins = (await world.git('show', 'main:zipname')).split('\n').filter((each) => each.includes(first));
    await world.request(`${pins.join('\n')}\n`);
    await world.poll();
    const receipt = await world.receipt();
    assert.deepEqual([receipt.outcome, receipt.reason?.code], ['rejected', 'entry-unpinned']);
    assert.ok(network.total - before < 1_000_000);
  });

  it('entry-digest-differs: a program that is not the pinned one', async () => {
    await world.request(`${zip.paths.map((path) => `${'0'.repeat(64)}  product.zip!/${path}`).join('\n')}\n`);
    await world.poll();
    const receipt = await world.receipt();
    assert.deepEqual([receipt.outcome, receipt.reason?.code], ['rejected', 'entry-digest-differs']);
  });

  it('fetches a zip that is pinned as a whole, and sends back only its new bytes', async () => {
    const whole = await world.submit([world.at('product.zip')]);
    const [there, back] = [network.passed.there, network.passed.back];
    await world.poll();
    assert.ok(network.passed.back - back > BALLAST);
    assert.ok(
      network.passed.there - there <= zip.ours * 1.1 + 1_000_000,
      `${network.passed.there - there} sent`,
    );
    const [file] = (await world.receipt()).files;
    assert.equal(file?.seen, 'whole');
    assert.equal(file?.output?.sha256, await sha256OfFile(world.exchange('signed', 'product.zip')));
    await rm(world.at('out'), { recursive: true, force: true });
    assert.equal((await world.wait(whole, '--original', world.at('product.zip'))).status, 0);
  });

  it('transfers the whole file if the configuration says so', async () => {
    await world.reconfigure((text) => text.replace(/^exchange:\n/m, 'exchange:\n  sparse: never\n'));
    await world.submit([world.at('product.zip')], '--sparse');
    const [there, back] = [network.passed.there, network.passed.back];
    await world.poll();
    assert.ok(network.passed.there - there > BALLAST && network.passed.back - back > BALLAST);
    const [file] = (await world.receipt()).files;
    assert.equal(file?.seen, 'whole');
    assert.equal(file?.output?.sha256, await sha256OfFile(world.exchange('signed', 'product.zip')));
    await world.reconfigure((text) => text.replace('  sparse: never\n', ''));
  });

  it('continues after its connection was cut', async () => {
    await world.submit([world.at('product.zip')], '--sparse');
    network.cutAfter(zip.ours / 2);
    await world.poll();
    const receipt = await world.receipt();
    assert.equal(receipt.outcome, 'signed', receipt.reason?.message ?? '');
    assert.equal(receipt.files[0]?.seen, 'entries');
  });

  it('leaves no temporary files', async () => {
    assert.deepEqual(await readdir(world.at('signer-state', 'work')), []);
    assert.deepEqual(await readdir(world.exchange('signed')), ['product.zip']);
    assert.deepEqual(await readdir(world.exchange('incoming')), ['product.zip']);
  });
});

describe('sparse signing on a server without copy-data', () => {
  it('transfers the whole file without being asked to, and says so in the log and the receipt', async () => {
    const world = await World.start({ sshd: { sftpCommand: 'internal-sftp -P copy-data' } });
    try {
      await makeZip(world, 'product.zip');
      const request = await world.submit([world.at('product.zip')], '--sparse');
      await world.poll();
      const receipt = await world.receipt();
      assert.equal(receipt.outcome, 'signed', receipt.reason?.message ?? '');
      assert.equal(receipt.files[0]?.seen, 'whole');
      // The signer saw the whole file, but only the builder knows whether it is the submitted one.
      assert.match((await world.wait(request)).stderr, /\[original-needed\]/);
      assert.ok(world.logged.some(({ msg }) => /does not copy within itself/.test(String(msg))));
      assert.equal((await world.wait(request, '--original', world.at('product.zip'))).status, 0);
    } finally {
      await world.stop();
    }
  });
});

/** Why an exchange fails to assemble a file when asked. */
const REFUSALS: readonly [string, string, SignpipeError][] = [
  ['announces copy-data and will not do it', '--sparse', usage('exchange-no-copy', 'it will not copy')],
  ['announces copy-data and will not do it', '', usage('exchange-no-copy', 'it will not copy')],
  ['copied other bytes than were fetched', '', unavailable('exchange-verify-failed', 'it differs')],
];
for (const [what, flag, refusal] of REFUSALS)
  describe(`submit ${flag}, on a server that ${what}`, () => {
    it('transfers the whole file instead, with the same result', async () => {
      const world = await World.start();
      try {
        await makeZip(world, 'product.zip');
        const request = await world.submit([world.at('product.zip')], ...(flag === '' ? [] : [flag]));
        const opened = await openContext(world);
        opened.exchange.assemble = () => Promise.reject(refusal);
        try {
          assert.equal((await new RequestPoller(opened).poll()).answered, 1);
        } finally {
          await opened.close();
        }
        const receipt = await world.receipt();
        const seen = flag === '' ? 'whole' : 'entries';
        assert.deepEqual([receipt.outcome, receipt.files[0]?.seen], ['signed', seen]);
        const ended = await world.wait(request, '--original', world.at('product.zip'));
        assert.equal(ended.status, 0, ended.stderr);
        assert.deepEqual(await readdir(world.exchange('signed')), ['product.zip']);
      } finally {
        await world.stop();
      }
    });
  });
