import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import type { DeltaOutput, SignedRecord } from '../../../src/app/signer/state/journal.ts';
import { RequestPoller } from '../../../src/app/signer/request/request-poller.ts';
import { World } from '../../world/site.ts';
import { openContext } from './test-signer.ts';
import { makeSmallZip } from './product.ts';

const run = promisify(execFile);

/** A poll that stops at a chosen moment of its delivery. */
async function pollDyingAt(world: World, moment: 'before' | 'after'): Promise<void> {
  const opened = await openContext(world);
  const assemble = opened.exchange.assemble.bind(opened.exchange);
  const dead = new Promise<never>(() => {});
  const reached = new Promise<void>((resolve) => {
    opened.exchange.assemble = async (...args) => {
      if (moment === 'after') await assemble(...args);
      resolve();
      return dead;
    };
  });
  void new RequestPoller(opened).poll().catch(() => {});
  await reached;
  // As if the process were killed: it does nothing more, and its lock is free.
  await opened.close();
}

/** Rewrites the journal as earlier signers wrote it: with one record, in version 1 without names for the delivery modes. */
async function asVersion(version: 1 | 2, state: string): Promise<void> {
  const path = join(state, 'journal.json');
  const { records } = JSON.parse(await readFile(path, 'utf8')) as { records: [SignedRecord] };
  const [{ outputs, ...rest }] = records;
  const earlier = (outputs as DeltaOutput[]).map((output) => {
    const { name, path: below, size, temporary, unsigned, newBytes, spans } = output;
    const { file, ...source } = { file: undefined, ...unsigned };
    const whole = output.mode === 'delta' ? { unsigned: file, sha256: output.sha256 } : undefined;
    return { name, path: below, size, temporary, ...newBytes, assembly: { source, spans, whole } };
  });
  await writeFile(path, JSON.stringify({ ...rest, version, outputs: version === 1 ? earlier : outputs }));
  await rename(join(state, `journal.${rest.request}.signatures`), join(state, 'journal.signatures'));
}

/** Changes one byte in the compressed data of the first program. */
async function changeProgram(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.indexOf('.exe') + 2000;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

for (const [outgoing, flags] of [
  ['signed', ['--sparse']],
  ['incoming', ['--sparse']],
  ['incoming', []],
] as const)
  describe(`submit ${flags.join(' ')}, signed into ${outgoing}, killed`, () => {
    let world: World;
    before(async () => {
      world = await World.start();
      if (outgoing === 'incoming')
        await world.reconfigure((text) =>
          text.replace(/^exchange:\n/m, 'exchange:\n  incoming: incoming\n  outgoing: incoming\n'),
        );
      await makeSmallZip(world, 'product.zip');
    });
    after(() => world.stop());

    for (const [moment, version] of [
      ['before', 3],
      ['after', 2],
      ['before', 1],
    ] as const)
      it(`${moment} the zip got its name, journal version ${version}: it is delivered once, and answered once`, async () => {
        const request = await world.submit([world.at('product.zip')], ...flags);
        const answers = await world.git('rev-list', '--count', 'signed').catch(() => '0');
        await pollDyingAt(world, moment);
        const lies = await readdir(world.at('signer-state', 'work', request));
        // Only signatures cannot be made again, and they are in the journal.
        if (flags.length > 0) assert.deepEqual(lies, []);
        else assert.ok(lies.length > 0);
        const state = world.at('signer-state');
        assert.ok((await readdir(state)).includes(`journal.${request}.signatures`));
        if (version !== 3) await asVersion(version, state);
        await world.poll();
        const receipt = await world.receipt();
        assert.equal(receipt.request.id, request);
        assert.equal(receipt.outcome, 'signed', receipt.reason?.message ?? '');
        assert.ok(Number(await world.git('rev-list', '--count', 'signed')) > Number(answers));
        await run('unzip', ['-tq', world.exchange(outgoing, 'product.zip')]);
        const proof = await world.verify(world.exchange(outgoing, 'product.zip'), world.at('product.zip'));
        assert.equal(proof.status, 0, proof.stdout);
        assert.deepEqual(
          (await readdir(world.exchange(outgoing))).filter((name) => name.startsWith('.')),
          [],
        );
      });

    const afterwards = async (): Promise<Receipt> => {
      await world.submit([world.at('product.zip')], ...flags);
      await pollDyingAt(world, 'before');
      await copyFile(world.at('ballast.bin'), world.exchange('incoming', 'product.zip'));
      await world.poll();
      return world.receipt();
    };
    if (flags.length > 0) {
      it('exchange-file-changed: the unsigned zip was replaced meanwhile', async () => {
        const receipt = await afterwards();
        assert.deepEqual([receipt.outcome, receipt.reason?.code], ['failed', 'exchange-file-changed']);
        assert.equal(receipt.files[0]?.output, undefined);
      });

      it('remade-differs: the new bytes come out differently, and the receipt names the signatures all the same', async () => {
        await copyFile(world.at('product.zip'), world.exchange('incoming', 'product.zip'));
        await world.submit([world.at('product.zip')], ...flags);
        await pollDyingAt(world, 'before');
        const before = await sha256OfFile(world.exchange(outgoing, 'product.zip'));
        const path = world.at('signer-state', 'journal.json');
        const journal = JSON.parse(await readFile(path, 'utf8')) as {
          records: [{ outputs: { newBytes: { sha256: string } }[] }];
        };
        for (const { newBytes } of journal.records[0].outputs) newBytes.sha256 = '0'.repeat(64);
        await writeFile(path, JSON.stringify(journal));
        await world.poll();
        const receipt = await world.receipt();
        assert.deepEqual([receipt.outcome, receipt.reason?.code], ['failed', 'remade-differs']);
        assert.ok((receipt.files[0]?.signed.length ?? 0) > 0);
        assert.equal(await sha256OfFile(world.exchange(outgoing, 'product.zip')), before);
        assert.ok(!(await readdir(world.exchange(outgoing))).some((name) => name.startsWith('.')));
      });

      it('rebuild-differs: a program in it was changed meanwhile, with the same size and time', async () => {
        await world.submit([world.at('product.zip')], ...flags);
        await pollDyingAt(world, 'before');
        const path = world.exchange('incoming', 'product.zip');
        const { mtime } = await stat(path);
        await changeProgram(path);
        await utimes(path, mtime, mtime);
        await world.poll();
        const receipt = await world.receipt();
        assert.equal(receipt.outcome, 'failed');
        assert.match(receipt.reason?.code ?? '', /^(rebuild-differs|zip-entry-damaged)$/);
      });
    } else
      it('delivers what it fetched, even if the unsigned zip was replaced meanwhile', async () => {
        const receipt = await afterwards();
        assert.equal(receipt.outcome, 'signed', receipt.reason?.message ?? '');
        const delivered = await sha256OfFile(world.exchange(outgoing, 'product.zip'));
        assert.equal(receipt.files[0]?.output?.sha256, delivered);
      });
  });
