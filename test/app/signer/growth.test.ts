import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { makeSample } from '../../../src/sandbox/sample-release.ts';
import { forge } from '../../lib/zip/zips.ts';
import { History } from '../../bench/history.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { signpipe, World } from '../../world/site.ts';

/** A git that logs its runs, and what is asked of the reader that stays open. */
const noting = (path: string, log: string): string => `#!/bin/sh
PATH='${path}'
echo "$*" >> '${log}'
case "$1" in cat-file) tee -a '${log}.reads' | exec git "$@" ;; *) exec git "$@" ;; esac
`;

describe('a request after a long history', () => {
  let world: World;
  let pinned: string;
  const path = process.env['PATH'] ?? '';
  before(async () => {
    world = await World.start({ ssh: false });
    await makeSample(world.at('product.zip'));
    await copyFile(world.at('product.zip'), world.exchange('incoming', 'product.zip'));
    pinned = createHash('sha256')
      .update(await readFile(world.at('product.zip')))
      .digest('hex');
    await mkdir(world.at('bin'));
    await writeFile(world.at('bin', 'git'), noting(path, world.at('log')));
    await chmod(world.at('bin', 'git'), 0o755);
  });
  after(async () => {
    process.env['PATH'] = path;
    await world.stop();
  });

  const ask = (word: string): Promise<string> => world.request(`# ${word}\n${pinned}  product.zip\n`);
  const linesOf = async (file: string): Promise<string[]> =>
    (await readFile(file, 'utf8').catch(() => '')).trim().split('\n');

  interface Cost {
    commands: string[];
    reads: number;
  }

  /** What is run and read to sign the next request: by a signer that has polled before, or by one that starts again. */
  async function costOfNext(word: string, again: boolean): Promise<Cost> {
    await rm(world.at('signer-state'), { recursive: true, force: true });
    process.env['PATH'] = `${world.at('bin')}:${path}`;
    let { signer, close } = await world.openSigner();
    try {
      await signer.poll();
      await ask(`${word}, to begin with`);
      assert.equal((await signer.poll()).answered, 1);
      await ask(word);
      if (again) await close();
      for (const log of ['log', 'log.reads']) await writeFile(world.at(log), '');
      if (again) ({ signer, close } = await world.openSigner());
      assert.equal((await signer.poll()).answered, 1);
    } finally {
      await close();
      process.env['PATH'] = path;
    }
    const commands = (await linesOf(world.at('log'))).map((line) =>
      line.replace(/^-c .*StrictHostKeyChecking=yes /, '').replace(/[0-9a-f]{40}/g, 'ID'),
    );
    const reads = (await linesOf(world.at('log.reads'))).filter((line) => line !== 'flush');
    return { commands, reads: reads.length };
  }

  it('needs the same git commands, and reads as many objects, as one after a short history', async () => {
    await ask('the model of all receipts');
    await world.poll();
    const history = await History.of(world);
    const costs: Cost[][] = [];
    for (const length of [3, 600]) {
      await history.replaceBy(length);
      costs.push([await costOfNext(`${length}`, false), await costOfNext(`${length}, again`, true)]);
    }
    const [few = [], many] = costs;
    assert.deepEqual(many, few);
    for (const { commands, reads } of few) assert.ok(commands.length > 3 && reads > 3, commands.join());
  });

  it('is found by a later submission of a file with the same name, which reads only the newest receipts', async () => {
    await (await History.of(world)).replaceBy(600);
    const pending = await ask('not answered yet');
    await writeFile(world.at('other.zip'), forge([{ name: 'other.exe', content: buildPe() }]));
    await writeFile(world.at('log'), '');
    const args = ['submit', '-c', world.site.builderConfig, world.at('other.zip'), '--as', 'product.zip'];
    const env = { PATH: `${world.at('bin')}:${path}` };
    const { status, stderr } = await signpipe(args, { env });
    assert.equal(status, 0, stderr);
    assert.match(stderr, new RegExp(`request ${pending.slice(0, 12)} .* names another product\\.zip`));
    // Looking for the root prints one id; it is done only if the signer has published none.
    const walks = (await linesOf(world.at('log'))).filter(
      (line) => line.includes('rev-list') && !line.includes('--max-parents=0'),
    );
    assert.ok(walks.length > 0);
    for (const walk of walks) assert.match(walk, /--max-count=|--not|\^[0-9a-f]{40}/);
  });
});
