/** Two requests for files with the same name: where their signed files go, and what each builder reads. */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { Hostile, receiptFor } from '../../world/hostile.ts';
import { assertRefused, signpipe, World, type Ended, type WorldOptions } from '../../world/site.ts';

async function delivering(template: string, options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  await world.reconfigure((text) =>
    text.replace(/(exchange:\n {2}url: .*\n)/, `$1  delivered: '${template}'\n`),
  );
  return world;
}

for (const [what, prepare] of [
  ['sftp://', (): Promise<World> => delivering('{request}/{name}')],
  [
    'sftp:// without copy-data',
    (): Promise<World> =>
      delivering('{request}/{name}', { sshd: { sftpCommand: 'internal-sftp -P copy-data' } }),
  ],
  ['scp://', (): Promise<World> => delivering('{request}/{name}', { exchangeScheme: 'scp' })],
  [
    'file://',
    async (): Promise<World> => {
      const world = await delivering('{request}/{name}');
      await world.withoutSsh();
      return world;
    },
  ],
] as const)
  describe(`files delivered to {request}/{name} over ${what}`, () => {
    let world: World;
    let host: Hostile;
    before(async () => {
      world = await prepare();
      host = new Hostile(world);
    });
    after(() => world.stop());

    it('are kept apart by request, and each wait downloads its own', async () => {
      const first = await host.request('nightly/a.zip');
      await world.poll();
      const second = await host.request('nightly/a.zip');
      await world.poll();
      for (const request of [first, second]) {
        const receipt = await receiptFor(world, request);
        assert.equal(receipt.version, 2);
        const { output } = receipt.files[0] ?? {};
        assert.equal(output?.name, 'nightly/a.zip');
        assert.equal(output.path, `${request}/nightly/a.zip`);
        assert.equal(await sha256OfFile(world.exchange('signed', output.path)), output.sha256);
        const ended = await world.wait(request);
        assert.equal(ended.status, 0, ended.stderr);
        assert.equal(await sha256OfFile(world.at('out', 'nightly/a.zip')), output.sha256);
      }
      assert.deepEqual((await readdir(world.exchange('signed'))).sort(), [first, second].sort());
    });

    it('stay together if one request names several', async () => {
      const lines = [await host.release('one.zip'), await host.release('two.zip')].join('');
      const request = await host.commit({ files: { zipname: lines } });
      await world.poll();
      assert.deepEqual((await readdir(world.exchange('signed', request))).sort(), ['one.zip', 'two.zip']);
      assert.equal((await world.wait(request)).status, 0);
    });
  });

describe('a file delivered to {request}/{name}, signed sparsely', () => {
  it('is assembled in its own folder on the exchange, and the unsigned file stays', async () => {
    const world = await delivering('{request}/{name}');
    try {
      const host = new Hostile(world);
      await mkdir(world.at('build'));
      await writeFile(world.at('build', 'a.zip'), await host.zip(7));
      const before = await sha256OfFile(world.at('build', 'a.zip'));
      const request = await world.submit([world.at('build', 'a.zip')], '--sparse');
      await world.poll();
      const [file] = (await receiptFor(world, request)).files;
      assert.equal(file?.seen, 'entries');
      assert.equal(file.output?.path, `${request}/a.zip`);
      assert.equal(await sha256OfFile(world.exchange('incoming', 'a.zip')), before);
      const ended = await world.wait(request, '--original', world.at('build', 'a.zip'));
      assert.equal(ended.status, 0, ended.stderr);
    } finally {
      await world.stop();
    }
  });
});

describe('a second request under one name, delivered to {name}', () => {
  let world: World;
  let host: Hostile;
  before(async () => {
    world = await World.start({ ssh: false });
    host = new Hostile(world);
  });
  after(() => world.stop());

  it('signed-file-replaced: the earlier wait names the request whose file replaced it', async () => {
    const first = await host.request('a.zip');
    await world.poll();
    const second = await host.request('a.zip');
    await world.poll();
    assertRefused(await world.wait(first), 3, 'signed-file-replaced', new RegExp(second.slice(0, 12)));
    assert.equal((await world.wait(second)).status, 0);
  });

  it('signed-file-differs: a file that no later request explains is not called replaced', async () => {
    const request = await host.request('b.zip');
    await world.poll();
    await cp(world.exchange('signed', 'a.zip'), world.exchange('signed', 'b.zip'));
    assert.match((await world.wait(request)).stderr, /\[(signed-file-differs|exchange-file-too-large)\]/);
  });

  it('digest-differs: the earlier wait names the request whose upload replaced its own', async () => {
    const first = await host.request('c.zip');
    const second = await host.request('c.zip');
    await world.poll();
    const ended = await world.wait(first);
    assertRefused(
      ended,
      3,
      'digest-differs',
      new RegExp(`request ${second.slice(0, 12)}, made after this one`),
    );
    assert.match(ended.stderr, /--as NAME/);
  });

  it('submit warns about it while the first is pending, unless both pin the same bytes', async () => {
    const first = await host.request('d.zip');
    await mkdir(world.at('build'), { recursive: true });
    await cp(world.exchange('incoming', 'd.zip'), world.at('build', 'd.zip'));
    const submit = (): Promise<Ended> =>
      signpipe(['submit', '-c', world.site.builderConfig, world.at('build', 'd.zip')]);
    const same = await submit();
    assert.equal(same.status, 0, same.stderr);
    assert.doesNotMatch(same.stderr, /warning/);
    await writeFile(world.at('build', 'd.zip'), await host.zip(900));
    const other = await submit();
    assert.equal(other.status, 0, other.stderr);
    assert.match(other.stderr, new RegExp(`warning: request ${first.slice(0, 12)} .* names another d\\.zip`));
    await world.poll();
    assert.doesNotMatch((await submit()).stderr, /warning/);
  });

  it('receipt-name: a receipt whose output is outside the outgoing folder', async () => {
    const request = await host.request('e.zip');
    await world.poll();
    const real = await world.git('rev-parse', 'signed');
    const receipt = await receiptFor(world, request);
    const [file] = receipt.files;
    assert.ok(file?.output);
    for (const path of ['../incoming/e.zip', '/etc/passwd', 'x/../../e.zip', '-rf', 'a\\b', '']) {
      const forged = { ...receipt, files: [{ ...file, output: { ...file.output, path } }] };
      await host.commit({
        branch: 'signed',
        parents: [await world.git('rev-parse', `${real}^1`), request],
        files: { 'receipt.json': JSON.stringify(forged) },
        key: world.at('keys', 'receipts_ed25519'),
      });
      assertRefused(await world.wait(request), 3, 'receipt-name', /the receipt names a file that/);
    }
    await host.set('signed', real);
  });
});

describe('submit --wait and wait', () => {
  let world: World;
  before(async () => {
    world = await World.start({ ssh: false });
    await mkdir(world.at('build'));
    await writeFile(world.at('build', 'a.zip'), await new Hostile(world).zip(1));
  });
  after(() => world.stop());

  const inBuild = (...args: string[]): Promise<Ended> =>
    signpipe([...args, '-c', world.site.builderConfig, '--allow-test-certificate', '--timeout', '20s'], {
      cwd: world.at('build'),
    });

  it('leave the submitted files alone: signed files go to ./signed', async () => {
    const unsigned = await readFile(world.at('build', 'a.zip'));
    const { signer, close } = await world.openSigner();
    const submitting = inBuild('submit', 'a.zip', '--wait');
    const state: { ended?: Ended } = {};
    void submitting.then((result) => (state.ended = result));
    while (!state.ended) {
      await signer.poll();
      await sleep(100);
    }
    await close();
    assert.equal(state.ended.status, 0, state.ended.stderr);
    assert.ok(unsigned.equals(await readFile(world.at('build', 'a.zip'))));
    const { files, request } = await world.receipt();
    assert.equal(await sha256OfFile(world.at('build', 'signed', 'a.zip')), files[0]?.output?.sha256);
    await rm(world.at('build', 'signed'), { recursive: true });
    assert.equal((await inBuild('wait', request.id)).status, 0);
    assert.deepEqual(await readdir(world.at('build', 'signed')), ['a.zip']);
  });

  it('output-is-input: submit --wait uploads nothing if a signed file would replace an input', async () => {
    await rm(world.exchange('incoming', 'a.zip'));
    for (const output of ['.', '../build', world.at('build')]) {
      const ended = await inBuild('submit', 'a.zip', '--wait', '--output', output);
      assertRefused(ended, 2, 'output-is-input');
    }
    assert.deepEqual(await readdir(world.exchange('incoming')), []);
  });

  it('output-not-a-folder: submit --wait uploads nothing if the output is a file', async () => {
    const ended = await inBuild('submit', 'a.zip', '--wait', '--output', 'a.zip');
    assertRefused(ended, 2, 'output-not-a-folder');
    assert.deepEqual(await readdir(world.exchange('incoming')), []);
  });

  it('output-is-input: wait if a signed file would replace the original', async () => {
    const { request } = await world.receipt();
    const ended = await inBuild('wait', request.id, '--original', 'a.zip', '--output', '.');
    assertRefused(ended, 2, 'output-is-input');
  });
});
