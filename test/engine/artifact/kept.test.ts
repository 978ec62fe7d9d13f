/** Programs that others signed and policy leaves alone: who signed them, and what to do if the signature is bad. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { compilePatterns, excluding } from '../../../src/engine/artifact/globs.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignedFile, SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { forge } from '../../lib/zip/zips.ts';
import { middle, osslSigned, roots, signer, unsigned } from '../authenticode/verify-maker.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { makeCodeSigner } from '../../lib/x509/certificate-maker.ts';
import { makeSigningSetup } from './signing-setup.ts';

const ours = buildPe({ sections: [{ name: '.text', data: filler(2000, 1) }] });

let folder = '';
let options: Omit<SignArtifactOptions, 'isOurs'>;
before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  options = setup.signing;
});
after(() => rm(folder, { recursive: true }));

async function sign(
  path: string,
  content: Buffer,
  more: Partial<SignArtifactOptions> = {},
  ...patterns: string[]
): Promise<SignedFile> {
  const [input, output] = [join(folder, 'in.zip'), join(folder, 'out.zip')];
  await writeFile(
    input,
    forge([
      { name: 'app.exe', content: ours },
      { name: path, content },
    ]),
  );
  const isOurs = compilePatterns(['**/*.exe', '**/*.dll', ...patterns]);
  return signFile(input, output, { ...options, isOurs, ...more });
}

describe('a program that is kept', () => {
  it('is reported with its certificate, since anyone can take our publisher’s name', async () => {
    const impostor = makeCodeSigner({ name: 'Test publisher' });
    const content = await osslSigned({ signer: impostor, chain: [] });
    const { kept } = await sign('core.exe', content);
    assert.deepEqual(kept, [
      {
        path: 'core.exe',
        signer: 'CN=Test publisher',
        certificate: impostor.certificate.sha256,
        trusted: null,
      },
    ]);
  });

  it('is reported with whether it leads to the configured roots', async () => {
    const { key } = options;
    const own = key.certificates.at(-1);
    assert.ok(own);
    const both = { roots: [own, ...roots] };
    const theirs = await osslSigned({ signer, chain: [middle] });
    const stranger = await osslSigned({ signer: makeCodeSigner({ name: 'Test publisher' }), chain: [] });
    assert.equal((await sign('a.dll', theirs, both)).kept[0]?.trusted, true);
    assert.equal((await sign('a.dll', stranger, both)).kept[0]?.trusted, false);
    assert.equal((await sign('a.dll', theirs, { roots: [own] })).kept[0]?.trusted, false);
  });
});

describe('a vendor’s program whose signature is bad', () => {
  const expired = makeCodeSigner({
    name: 'Vendor',
    from: new Date('2015-01-01'),
    until: new Date('2016-01-01'),
  });
  const refusalOf = (path: string, content: Buffer): Promise<SignpipeError> =>
    sign(path, content).then(
      () => assert.fail('it was signed'),
      (error: unknown) => {
        assert.ok(error instanceof SignpipeError);
        assert.equal(error.code, 'kept-signature-bad');
        return error;
      },
    );

  for (const path of ['vendor/lib.dll', 'vendor (x86)/[1] lib+more!.dll'])
    it(`kept-signature-bad: ${path}; the pattern that the hint names leaves it as it is`, async () => {
      const content = await osslSigned({ signer: expired, chain: [] });
      const { hint = '', message } = await refusalOf(path, content);
      assert.match(message, /is not valid/);
      const pattern = /add '(.+)' to signing\.files/.exec(hint)?.[1] ?? assert.fail(hint);
      assert.equal(pattern, excluding(path));
      const { signed, kept } = await sign(path, content, {}, pattern);
      assert.deepEqual([signed.map((entry) => entry.path), kept], [['app.exe'], []]);
    });

  it('kept-signature-bad: bytes changed after it was signed', async () => {
    const content = await osslSigned({ signer, chain: [middle], program: unsigned() });
    content[200] = (content[200] ?? 0) ^ 1;
    assert.match((await refusalOf('lib.dll', content)).hint ?? '', /'!lib\.dll'/);
  });

  it('excludes no other path', () => {
    const isOurs = compilePatterns(['**', excluding('a/[b].dll')]);
    assert.deepEqual(
      ['a/[b].dll', 'a/b.dll', 'x/a/[b].dll'].map((path) => isOurs(path)),
      [false, true, true],
    );
  });
});
