/** What a receipt, and wait, say about entries that were not signed. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { forge, type Forged } from '../../lib/zip/zips.ts';
import { osslSigned } from '../../engine/authenticode/verify-maker.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { startWorld } from '../../world/site.ts';
import { makeCodeSigner } from '../../lib/x509/certificate-maker.ts';

const app: Forged = {
  name: 'app.exe',
  content: buildPe({ sections: [{ name: '.text', data: filler(2000, 1) }] }),
};

const world = await startWorld({ ssh: false });

describe('entries that were not signed', () => {
  /** Signs a zip; returns what `wait` printed. */
  async function signed(name: string, entries: Forged[]): Promise<string> {
    await writeFile(world.at(name), forge(entries));
    const request = await world.submit([world.at(name)]);
    await world.poll();
    const ended = await world.wait(request);
    assert.equal(ended.status, 0, ended.stderr);
    return ended.stdout;
  }

  it('are named in the receipt, and by wait: zips inside, and AppleDouble files', async () => {
    const appleDouble = Buffer.from('0005160700020000', 'hex');
    const output = await signed('left.zip', [
      app,
      { name: '__MACOSX/._app.exe', content: appleDouble },
      { name: 'inner.zip', content: forge([app]), method: 0 },
    ]);
    const [file] = (await world.receipt()).files;
    assert.deepEqual(file?.leftAlone, [
      { path: '__MACOSX/._app.exe', why: 'apple-double' },
      { path: 'inner.zip', why: 'nested-zip' },
    ]);
    assert.match(output, /__MACOSX\/\._app\.exe {2}left alone: .*AppleDouble/);
    assert.match(output, /inner\.zip {2}not examined: a zip inside the zip/);
  });

  it('are at most a hundred in the receipt, even if the zip has more', async () => {
    const inner = Array.from({ length: 150 }, (_, n) => ({ name: `${n}.zip`, content: 'x' }));
    await signed('many.zip', [app, ...inner]);
    assert.equal((await world.receipt()).files[0]?.leftAlone?.length, 100);
  });

  it('are named with the certificate that signed them before, since a name proves nothing', async () => {
    const impostor = makeCodeSigner({ name: 'Test publisher' });
    const content = await osslSigned({ signer: impostor, chain: [] });
    const output = await signed('kept.zip', [app, { name: 'core.exe', content }]);
    const { sha256 } = impostor.certificate;
    const [kept] = (await world.receipt()).files[0]?.kept ?? [];
    assert.equal(kept?.certificate, sha256);
    assert.notEqual(kept?.trusted, true);
    assert.ok(
      output.includes(`kept: signed by CN=Test publisher (certificate ${sha256.slice(0, 16)})`),
      output,
    );
  });
});
