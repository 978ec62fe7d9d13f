/** A token that refuses its PIN while a signer runs unattended: reloads, polls and `doctor` give it no second one. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, it } from 'node:test';
import { findModule } from '../../../src/engine/keys/pkcs11/module-path.ts';
import { until } from '../../until.ts';
import { Hostile, receiptFor } from '../../world/hostile.ts';
import { signpipe, World } from '../../world/site.ts';
import { SoftHsm } from '../../world/softhsm.ts';
import { Watching } from '../../world/watching.ts';

let world: World;
let hsm: SoftHsm;
let signer: Watching;

before(async () => {
  world = await World.start({ ssh: false });
  hsm = await SoftHsm.create();
  await hsm.makeKey({ label: 'codesign', id: '01' });
  await hsm.certify({ label: 'codesign', id: '01' }, { issuer: world.site.pki.root });
  await writeFile(hsm.at('wrong'), 'marked-wrong-5120\n', { mode: 0o600 });
  process.env['PKCS11SPY'] = hsm.module;
  process.env['PKCS11SPY_OUTPUT'] = hsm.at('spy.log');
  const module = (await findModule('pkcs11-spy')) ?? '';
  const more = '&x-environment=PKCS11SPY,PKCS11SPY_OUTPUT';
  const next = hsm.uri('token=release;object=codesign', { module, pin: hsm.at('wrong'), more });
  await world.reconfigure((text) =>
    text.replace(
      /^ {2}name: Sandbox product$/m,
      `  successor: { key: "${next}", from: '${new Date(Date.now() + 86_400_000).toISOString()}' }\n$&`,
    ),
  );
  signer = new Watching(world.site.signerConfig, process.env);
});
after(async () => {
  await signer.stop();
  await hsm.remove();
  await world.stop();
});

it('pin-wrong: a successor whose PIN is refused is tried once, through reloads, requests and doctor', async () => {
  const { hint } = await signer.logged(/signing\.successor cannot be opened yet: .*the PIN is wrong/);
  assert.match(String(hint), /then restart the signer$/);
  await signer.logged(/^watching$/);
  for (let reloads = 0; reloads < 2; reloads += 1) {
    const from = signer.records.length;
    signer.signal('SIGHUP');
    await signer.logged(/^watching$/, { from });
  }
  const host = new Hostile(world);
  const line = await host.release('a.zip');
  const id = await host.commit({ files: { zipname: line }, message: 'Sign it\n' });
  await until('signed', async () => (await receiptFor(world, id).catch(() => null))?.outcome === 'signed');
  const { stdout } = await signpipe(['doctor', '-c', world.site.signerConfig]);
  assert.match(stdout, /pin-count-low/);
  const calls = await readFile(hsm.at('spy.log'), 'latin1');
  assert.equal(calls.split(': C_Login\n').length - 1, 1);
});
