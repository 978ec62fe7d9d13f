/** The signer is killed while its token signs: it ends as with a key in a file, and leaves no process behind. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { forge } from '../../lib/zip/zips.ts';
import { moduleProcesses } from '../../engine/keys/pkcs11/token-world.ts';
import { until } from '../../until.ts';
import { Hostile, receiptFor, receiptsFor } from '../../world/hostile.ts';
import { World } from '../../world/site.ts';
import { SoftHsm } from '../../world/softhsm.ts';
import { main } from '../../world/watching.ts';
import { program } from './test-signer.ts';

/** So many that signing takes some hundred milliseconds. */
const PROGRAMS = 60;
/** How long after the first use of the token the signer is killed, in ms. */
const MOMENTS = [20, 200];

let world: World;
let host: Hostile;
let hsm: SoftHsm;
before(async () => {
  world = await World.start({ ssh: false });
  host = new Hostile(world);
  hsm = await SoftHsm.create();
  await hsm.makeKey({ label: 'codesign', id: '01', type: 'rsa:3072' });
  await hsm.certify({ label: 'codesign', id: '01' }, { issuer: world.site.pki.root });
  await world.reconfigure((text) =>
    text.replace(
      /^ {2}pfx: .*\n {2}passphraseFile: .*$/m,
      `  key: "${hsm.uri('token=release;object=codesign')}"`,
    ),
  );
});
after(async () => {
  await hsm.remove();
  await world.stop();
});

const start = (): ChildProcess =>
  spawn(process.execPath, [main, 'watch', '-c', world.site.signerConfig, '--once'], { stdio: 'ignore' });

/** A request for a zip of many programs; its id. */
async function asked(seed: number): Promise<string> {
  const name = `many-${seed}.zip`;
  const entries = Array.from({ length: PROGRAMS }, (_, n) => ({
    name: `p${n}.exe`,
    content: program(1000 * seed + n),
  }));
  const file = world.exchange('incoming', name);
  await writeFile(file, forge(entries));
  const line = `${await sha256OfFile(file)}  ${name}\n`;
  return host.commit({ files: { zipname: line }, message: 'Sign it\n' });
}

const begun = (): boolean => {
  const file = world.at('signer-state', 'journal.json');
  return existsSync(file) && readFileSync(file, 'utf8').includes('"begun"');
};

describe('a signer that is killed while its token signs', () => {
  for (const [seed, ms] of MOMENTS.entries())
    it(`${ms} ms after it began: signs once afterwards, and leaves nothing behind`, async () => {
      const id = await asked(seed + 1);
      const child = start();
      await until('the request is in hand', begun);
      const modules = moduleProcesses(child.pid);
      assert.equal(modules.length, 1);
      await sleep(ms);
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      assert.ok(begun(), 'it was killed before it had signed all');
      await until('the module has ended too', () => !existsSync(`/proc/${modules[0]?.pid}`));
      assert.equal((await world.watchOnce()).status, 0);
      const receipt = await receiptFor(world, id);
      assert.equal(receipt.outcome, 'signed');
      assert.equal((await receiptsFor(world, id)).length, 1);
      const [file] = receipt.files;
      assert.equal(file?.signed.length, PROGRAMS);
      assert.equal(
        await sha256OfFile(world.exchange('signed', file.output?.name ?? '')),
        file.output?.sha256,
      );
      const left = await readdir(world.at('signer-state'), { recursive: true });
      assert.deepEqual(
        left.filter((name) => /\.part$|\.lock$|^journal|^work\/./.test(name)),
        [],
      );
    });
});
