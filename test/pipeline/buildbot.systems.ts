import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { buildPe } from '../fixtures/pe.ts';
import { requireTools } from '../tools.ts';
import { World } from '../world/site.ts';
import { commitByHand } from './buildbot/commits.ts';
import { Buildbot, RESULTS } from './buildbot/master.ts';
import { pipeline } from './site.ts';

const run = promisify(execFile);

/** Zips a program in a folder of the world. */
async function zipOf(world: World, name: string, content: Buffer): Promise<string> {
  const folder = world.at('product');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'program.exe'), content);
  await writeFile(join(folder, 'readme.txt'), 'read me\n');
  await run('zip', ['-q', '-r', world.at(name), '.'], { cwd: folder });
  await rm(folder, { recursive: true });
  return world.at(name);
}

before(() =>
  requireTools({
    '/usr/bin/buildbot': 'buildbot',
    '/usr/bin/buildbot-worker': 'buildbot-worker',
    '/usr/bin/pyflakes3': 'pyflakes3',
    '/usr/bin/mypy': 'mypy',
  }),
);

describe('the module for Buildbot', () => {
  it('is Python that pyflakes and mypy accept', async () => {
    const module = pipeline('builder/buildbot/signpipe_buildbot.py');
    await run('/usr/bin/pyflakes3', [module, pipeline('builder/buildbot/master.cfg')]).catch(
      (error: { stdout: string }) => {
        // Buildbot defines it while it reads master.cfg.
        for (const line of error.stdout.trim().split('\n')) assert.match(line, /undefined name 'basedir'/);
      },
    );
    const { stdout } = await run('/usr/bin/mypy', [
      '--ignore-missing-imports',
      '--cache-dir=/dev/null',
      module,
    ]);
    assert.match(stdout, /no issues found/);
  });
});

/** A second product and a second signing builder, as a site with several platforms has them. */
const SECOND = `
second = util.BuildFactory()
second.addStep(steps.FileDownload(mastersrc=os.path.join(basedir, "second.zip"), workerdest="build.zip"))
second.addStep(steps.FileUpload(workersrc="build.zip", masterdest=unsigned, haltOnFailure=True))
second.addStep(signpipe.TriggerSigning(unsigned, schedulerNames=["sign second"]))
c["builders"].append(util.BuilderConfig(name="second one", workernames=["product"], factory=second))
c["builders"].append(util.BuilderConfig(name="sign second", workernames=["signing"], factory=signpipe.signing_factory(SITE)))
c["schedulers"].append(schedulers.ForceScheduler(name="force-second", builderNames=["second one"]))
c["schedulers"].append(schedulers.Triggerable(name="sign second", builderNames=["sign second"]))
`;

describe('Buildbot, with builds that wait for their signatures', () => {
  let world: World;
  let bot: Buildbot;
  let zip = '';
  before(async () => {
    world = await World.start();
    zip = await zipOf(world, 'build.zip', buildPe());
    bot = await Buildbot.start({ world, wait: true, zip, more: SECOND });
    await copyFile(
      await zipOf(world, 'second.zip', buildPe({ overlay: Buffer.from('second') })),
      bot.at('second.zip'),
    );
  });
  after(async () => {
    await bot.stop();
    await world.stop();
  });

  it('shows the HOLD that a request waits for in the step’s summary, then keeps the signed zip under its product’s name', async () => {
    await commitByHand(world, "echo 'a bug in the release' > HOLD");
    await bot.force();
    const build = await bot.build('sign', 1);
    await bot.said(build, 'wait for signatures', /^on hold .*a bug in the release/);
    await commitByHand(world, 'git rm -q HOLD');
    await bot.said(build, 'wait for signatures', /^waiting for the signer to answer/);
    await world.watchOnce();
    const { result, steps } = await bot.ended('sign', 1);
    assert.equal(result, 'success');
    assert.match(
      steps['wait for signatures']?.state_string ?? '',
      /^signed with a TEST certificate: 1 files, receipt /,
    );
    assert.equal((await bot.ended('product', 1)).result, 'success');
    assert.deepEqual(await readdir(bot.at('signed', 'product-1')), ['product-1.zip']);
    const verified = await world.verify(bot.at('signed', 'product-1', 'product-1.zip'), zip);
    assert.equal(verified.status, 0, verified.stdout);
  });

  it('publishes nothing that an earlier build left on the worker, and keeps two signing builders apart', async () => {
    await bot.force();
    await bot.build('sign', 2);
    await bot.force('second one', 'force-second');
    const other = await bot.build('sign second', 1);
    for (const build of [await bot.build('sign', 2), other])
      await bot.said(build, 'wait for signatures', /^waiting for the signer/);
    await world.watchOnce();
    assert.equal((await bot.ended('sign', 2)).result, 'success');
    assert.equal((await bot.ended('sign second', 1)).result, 'success');
    const kept = (await readdir(bot.at('signed'))).sort();
    assert.deepEqual(kept.slice(0, 2), ['product-1', 'product-2']);
    assert.match(kept[2] ?? '', /^second-one-1\.[0-9a-f]{8}$/);
    assert.deepEqual(await readdir(bot.at('signed', 'product-2')), ['product-2.zip']);
    const signed = bot.at('signed', kept[2] ?? '', `${kept[2]}.zip`);
    assert.equal((await world.verify(signed, world.at('second.zip'))).status, 0);
  });

  it('a refusal is a failure, and says why', async () => {
    const folder = world.at('nothing');
    await mkdir(folder);
    await writeFile(join(folder, 'readme.txt'), 'no program\n');
    await rm(zip);
    await run('zip', ['-q', '-r', zip, '.'], { cwd: folder });
    await bot.force();
    await bot.said(await bot.build('sign', 3), 'wait for signatures', /^waiting for the signer/);
    await world.watchOnce();
    const { result, steps } = await bot.ended('sign', 3);
    assert.equal(result, 'failure');
    assert.match(steps['wait for signatures']?.state_string ?? '', /^refused: .*\[nothing-to-sign\]$/);
    assert.equal((await bot.ended('product', 3)).result, 'failure');
    assert.ok(!(await readdir(bot.at('signed'))).includes('product-3'));
    await zipOf(world, 'build.zip', buildPe());
  });

  it('a stopped build withdraws its request, also if the product’s build is stopped', async () => {
    await bot.force();
    const sign = await bot.build('sign', 4);
    await bot.said(sign, 'wait for signatures', /^waiting for the signer/);
    const product = await bot.build('product', 4);
    await bot.control('stop', `builds/${product.buildid}`, { reason: 'a wrong tag' });
    const { result, steps } = await bot.ended('sign', 4);
    assert.equal(result, 'cancelled');
    assert.equal(steps['wait for signatures']?.results, RESULTS.indexOf('cancelled'));
    assert.match(steps['withdraw the request']?.state_string ?? '', /^request [0-9a-f]{12} withdrawn$/);
    await world.watchOnce();
    assert.match(await world.git('log', '-1', '--format=%B', 'signed'), /^Reason: request-cancelled/m);
  });

  it('a build that is stopped after its request was pushed, but before the id is known, withdraws it too', async () => {
    await bot.slow(true);
    await bot.force();
    const sign = await bot.build('sign', 5);
    await bot.said(sign, 'request signatures', /./);
    await bot.control('stop', `builds/${sign.buildid}`, { reason: 'too early' });
    await bot.said(sign, 'request signatures', /^stopping when the request is made/);
    const { result, steps } = await bot.ended('sign', 5);
    await bot.slow(false);
    assert.equal(result, 'cancelled');
    assert.match(steps['withdraw the request']?.state_string ?? '', /^request [0-9a-f]{12} withdrawn$/);
    await world.watchOnce();
    assert.match(await world.git('log', '-1', '--format=%B', 'signed'), /^Reason: request-cancelled/m);
  });

  it('an outage is an exception, and says what is down', async () => {
    const config = await readFile(world.site.builderConfig, 'utf8');
    await writeFile(world.site.builderConfig, config.replaceAll(`:${world.sshd.port}/`, ':1/'));
    await bot.force();
    const { result, steps } = await bot.ended('sign', 6);
    assert.equal(result, 'exception');
    assert.match(steps['request signatures']?.state_string ?? '', /^out of order: .*\[[a-z-]+\]$/);
    assert.equal(steps['withdraw the request']?.results, RESULTS.indexOf('skipped'));
  });
});

describe('Buildbot, with builds that end with the request', () => {
  let world: World;
  let bot: Buildbot;
  before(async () => {
    world = await World.start({ ssh: false });
    // As `signpipe init control` leaves it: the request branch exists, the receipt branch does not.
    await commitByHand(world, 'echo requests > README');
    bot = await Buildbot.start({ world, wait: false, zip: await zipOf(world, 'build.zip', buildPe()) });
    // The poller has seen the repository before the signer’s branch exists.
    await bot.until('the first poll', async () => (await bot.log()).includes('processing changes from'));
  });
  after(async () => {
    await bot.stop();
    await world.stop();
  });

  it('the very first receipt starts the build that picks the file up', async () => {
    await bot.force();
    assert.equal((await bot.ended('product', 1)).result, 'success');
    assert.equal((await bot.ended('sign', 1)).result, 'success');
    await world.watchOnce();
    const { result, steps } = await bot.ended('pick up', 1);
    assert.equal(result, 'success', JSON.stringify(steps));
    assert.match(steps['look up the request']?.state_string ?? '', /is for product-1$/);
    assert.deepEqual(await readdir(bot.at('signed', 'product-1')), ['product-1.zip']);
  });

  it('receipts that come together start a build each; a request of another system is skipped', async () => {
    for (const number of [2, 3]) {
      await bot.force();
      assert.equal((await bot.ended('sign', number)).result, 'success');
    }
    await world.submit([world.at('build.zip')], '--as', 'by-hand.zip');
    await world.watchOnce();
    const ended = [
      await bot.ended('pick up', 2),
      await bot.ended('pick up', 3),
      await bot.ended('pick up', 4),
    ];
    const said = ended.map(({ steps }) => steps['look up the request']?.state_string ?? '');
    assert.match(said[0] ?? '', /is for product-2$/);
    assert.match(said[1] ?? '', /is for product-3$/);
    assert.match(said[2] ?? '', /was not made here$/);
    assert.deepEqual((await readdir(bot.at('signed'))).sort(), ['product-1', 'product-2', 'product-3']);
    // Commits that only publish a policy, and requests, start none.
    assert.equal((await bot.builds('pick up')).length, 4);
  });
});
