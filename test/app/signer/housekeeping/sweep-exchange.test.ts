import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, rename, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { after, before, describe, it, mock } from 'node:test';
import { pino } from 'pino';
import { loadSignerConfig } from '../../../../src/app/config/signer.ts';
import { openSignerContext, type SignerContext } from '../../../../src/app/signer/context/signer-context.ts';
import { sweepExchange } from '../../../../src/app/signer/housekeeping/sweep-exchange.ts';
import { RequestPoller } from '../../../../src/app/signer/request/request-poller.ts';
import { sha256Hex } from '../../../../src/lib/bytes/hash.ts';
import { noProgress } from '../../../../src/lib/progress.ts';
import { buildPe } from '../../../fixtures/pe.ts';
import { forge } from '../../../lib/zip/zips.ts';
import { World } from '../../../world/site.ts';

const DAY = 86_400_000;

describe('the removal of old files from the exchange', () => {
  let world: World;
  let context: SignerContext;
  let poller: RequestPoller;
  let first: string;
  const begin = Date.now();
  const onDay = (day: number): void => mock.timers.setTime(begin + day * DAY);
  const now = (): Date => new Date();

  const contentOf = (name: string): Buffer =>
    forge([
      { name: 'program.exe', content: buildPe() },
      { name, content: name },
    ]);
  const incoming = (name: string): string => world.exchange('incoming', name);
  const signed = (request: string, name: string): string => world.exchange('signed', request, name);
  /** Gives a file, which has just been written, the time of the site. */
  const date = (path: string): Promise<void> => utimes(path, now(), now());

  /** Uploads files, and has them signed in one request, whose id is returned. */
  const sign = async (...names: string[]): Promise<string> => {
    for (const name of names) {
      await writeFile(incoming(name), contentOf(name));
      await date(incoming(name));
    }
    const request = await world.request(lines(...names), { date: now().toISOString() });
    assert.ok((await poller.poll()).answered > 0);
    for (const name of names) await date(signed(request, name));
    return request;
  };
  const lines = (...names: string[]): string =>
    names.map((name) => `${sha256Hex(contentOf(name))}  ${name}\n`).join('');
  const sweep = async (unanswered: string[] = []): Promise<void> => {
    for await (const _ of sweepExchange(context, () => unanswered));
  };

  before(async () => {
    mock.timers.enable({ apis: ['Date'], now: begin });
    world = await World.start({ ssh: false });
    await world.configure('housekeeping: { incoming: 30d, outgoing: 60d }');
    await world.reconfigure((text) =>
      text.replace('exchange:\n', 'exchange:\n  delivered: "{request}/{name}"\n'),
    );
    context = await openSignerContext(await loadSignerConfig(world.site.signerConfig), {
      log: pino({ level: 'silent' }),
      progress: noProgress,
    });
    poller = new RequestPoller(context);
    first = await sign('a.zip', 'named.zip', 'other.zip', 'again.zip', 'link.zip', 'retried.zip');
    await writeFile(incoming('unasked.zip'), contentOf('unasked.zip'));
    await date(incoming('unasked.zip'));
    await world.request('unasked.zip\n', { date: now().toISOString(), sign: null });
    assert.ok((await poller.poll()).answered > 0);
  });
  after(async () => {
    mock.timers.reset();
    await context.close();
    await world.stop();
  });

  it('takes nothing before its time', async () => {
    onDay(29);
    await sign('day-29.zip');
    await sweep();
    assert.ok(existsSync(incoming('a.zip')));
  });

  it('takes nothing because the clock is far ahead: ages are counted up to the newest receipt', async () => {
    const upload = incoming('.upload.zip.0123456789ab.part');
    await writeFile(upload, 'x');
    await date(upload);
    onDay(4000);
    await sweep();
    onDay(30);
    assert.ok(existsSync(incoming('a.zip')) && existsSync(signed(first, 'a.zip')));
    assert.ok(existsSync(upload), 'nor what is being uploaded now');
  });

  describe('once they are old enough', () => {
    const outside = (): string => world.at('outside');
    let keptUntilPolled = false;
    before(async () => {
      const { atime, mtime } = await stat(incoming('other.zip'));
      const other = contentOf('other.zip');
      other[other.length - 30] = (other[other.length - 30] ?? 0) ^ 1;
      await writeFile(incoming('other.zip'), other);
      await utimes(incoming('other.zip'), atime, mtime);
      await writeFile(incoming('again.zip'), contentOf('again.zip'));
      await date(incoming('again.zip'));
      await mkdir(outside());
      await rename(incoming('link.zip'), `${outside()}/link.zip`);
      await symlink(`${outside()}/link.zip`, incoming('link.zip'));
      for (const name of ['.x.zip.0123456789ab.part', '.y.zip.0123456789ab.old', '.profile']) {
        await writeFile(incoming(name), 'x');
        await utimes(incoming(name), mtime, mtime);
      }
      await date(incoming('.y.zip.0123456789ab.old'));
      onDay(31);
      await sign('day-31.zip');
      const waiting = await world.request(lines('named.zip'), { date: now().toISOString() });
      await context.repository.fetch();
      // This one comes after the last poll: the signer has not heard of it.
      const late = await world.request(lines('retried.zip'), { date: now().toISOString() });
      await sweep([waiting]);
      keptUntilPolled = existsSync(incoming('a.zip')) && existsSync(incoming('retried.zip'));
      await sweep([waiting, late]);
    });

    it('takes the files that were requested', () => {
      assert.ok(!existsSync(incoming('a.zip')) && existsSync(incoming('day-31.zip')));
    });

    it('keeps what a request without an answer names', () => {
      assert.ok(existsSync(incoming('named.zip')));
    });

    it('keeps all while there is a request that the last poll did not see', () => {
      assert.ok(keptUntilPolled && existsSync(incoming('retried.zip')));
    });

    it('keeps a file of which a stranger asked for a signature, without saying what is in it', () => {
      assert.ok(existsSync(incoming('unasked.zip')));
    });

    it('keeps another file in the place of the receipted one, of the same size and time', () => {
      assert.ok(existsSync(incoming('other.zip')));
    });

    it('keeps a file that was uploaded again later', () => {
      assert.ok(existsSync(incoming('again.zip')));
    });

    it('follows no link that the owner of the exchange made', () => {
      assert.ok(existsSync(`${outside()}/link.zip`));
    });

    it('takes what transfers left over, after a day, and no other hidden file', () => {
      assert.ok(!existsSync(incoming('.x.zip.0123456789ab.part')));
      assert.ok(existsSync(incoming('.y.zip.0123456789ab.old')));
      assert.ok(existsSync(incoming('.profile')));
    });
  });

  it('takes signed files after the time that is theirs, and their empty folder', async () => {
    assert.ok(existsSync(signed(first, 'a.zip')));
    onDay(62);
    await sign('day-62.zip');
    const unchanged = {
      ...context,
      config: { ...context.config, housekeeping: { incoming: null, outgoing: null } },
    };
    for await (const _ of sweepExchange(unchanged, () => []));
    assert.ok(existsSync(signed(first, 'a.zip')), 'nothing is taken unless it is configured');
    await sweep();
    assert.ok(!existsSync(signed(first, 'a.zip')) && !existsSync(world.exchange('signed', first)));
  });
});
