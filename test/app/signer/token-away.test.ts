/** A signer that runs unattended, whose token is not there at its start, and is pulled out and put back later. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../until.ts';
import { Hostile, receiptFor } from '../../world/hostile.ts';
import { World } from '../../world/site.ts';
import { SoftHsm } from '../../world/softhsm.ts';
import { Watching } from '../../world/watching.ts';

let world: World;
let hsm: SoftHsm;
let host: Hostile;
let signer: Watching;
let putBack: () => Promise<void>;

before(async () => {
  world = await World.start({ ssh: false });
  host = new Hostile(world);
  hsm = await SoftHsm.create();
  await hsm.makeKey({ label: 'codesign', id: '01' });
  await hsm.certify({ label: 'codesign', id: '01' }, { issuer: world.site.pki.root });
  await world.reconfigure((text) =>
    text
      .replace(
        /^ {2}pfx: .*\n {2}passphraseFile: .*$/m,
        `  key: "${hsm.uri('token=release;object=codesign')}"`,
      )
      .replace(/^retry:.*$/m, 'retry: { attempts: 2, wait: 1s, for: 1h }'),
  );
  putBack = await hsm.pullOut();
  signer = new Watching(world.site.signerConfig, process.env);
});
after(async () => {
  await signer.stop();
  await hsm.remove();
  await world.stop();
});

const asked = async (name: string): Promise<string> =>
  host.commit({ files: { zipname: await host.release(name) }, message: 'Sign it\n' });

const signed = (id: string): Promise<void> =>
  until('signed', async () => (await receiptFor(world, id).catch(() => null))?.outcome === 'signed');

describe('watch, with a token', () => {
  it('token-missing: waits for it at the start, whatever else it is sent', async () => {
    const { msg, code, hint } = await signer.logged(/begins when the key can be reached/);
    assert.match(msg, /the token of the signing key is not there/);
    assert.equal(code, 'token-missing');
    assert.match(String(hint), /plug it in/);
    signer.signal('SIGHUP');
    await sleep(300);
    assert.equal(signer.records.filter(({ level }) => Number(level) >= 50).length, 1, 'said once');
  });

  it('begins once it is there, at once after SIGHUP', async () => {
    const id = await asked('a.zip');
    await putBack();
    signer.signal('SIGHUP');
    await signer.logged(/^watching$/);
    await signed(id);
  });

  it('lets a request wait while it is pulled out, and signs when it is back', async () => {
    putBack = await hsm.pullOut();
    const from = signer.records.length;
    const id = await asked('b.zip');
    await signer.logged(/the signing key has been out of reach since .*\[token-[a-z]+\]/, { from });
    assert.match(await readFile(world.at('signer-state', 'waiting.json'), 'utf8'), /"for":"key"/);
    await putBack();
    await signed(id);
    assert.equal(await signer.stop(), 0);
  });

  it('ends when it is stopped while it waits', async () => {
    putBack = await hsm.pullOut();
    signer = new Watching(world.site.signerConfig, process.env);
    await signer.logged(/begins when the key can be reached/);
    assert.equal(await signer.stop(), 0);
  });
});
