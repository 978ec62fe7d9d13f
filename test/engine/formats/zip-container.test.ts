import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { openSignableFile } from '../../../src/engine/formats/recognize.ts';
import type { SignableFile } from '../../../src/engine/formats/signable-file.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../src/sandbox/certificates.ts';
import { nugetEntries } from '../../fixtures/nuget.ts';
import { vsixEntries } from '../../fixtures/vsix.ts';
import { forge, LIMITS, type Forged } from '../../lib/zip/zips.ts';
import { bytesOf, source } from '../authenticode/tools.ts';

let pki: TestPki;
before(async () => {
  pki = await createTestPki({ key: 'rsa2048', authorityKey: 'rsa2048', intermediate: false });
});

const packages: Record<string, { readonly entries: (text: string) => Forged[]; readonly path: string }> = {
  'a.nupkg': { entries: nugetEntries, path: 'lib/net8.0/example.txt' },
  'a.vsix': { entries: vsixEntries, path: 'readme.txt' },
};

for (const [name, { entries, path }] of Object.entries(packages)) {
  const open = (bytes: Buffer): Promise<SignableFile> => openSignableFile(source(bytes, name));
  const sign = async (bytes: Buffer): Promise<Buffer> => {
    const key = testSigningKey(pki.codeSigning);
    return bytesOf((await signProgram(await open(bytes), { key, timestamper: null })).content);
  };
  const replaced = async (bytes: Buffer, text: string): Promise<Buffer> => {
    const container = await (await open(bytes)).container?.(LIMITS);
    const contents = new Map([[path, new BufferSource(Buffer.from(text), 'new')]]);
    const patched = (await container?.replace(contents)) ?? assert.fail();
    assert.deepEqual(await bytesOf(patched.source), bytes, 'the delta is over the package');
    return bytesOf(patched);
  };

  describe(`the files in ${name}`, () => {
    it('are its members, whose content can be read', async () => {
      const container = await (await open(forge(entries('one')))).container?.(LIMITS);
      assert.ok(container?.members.some((member) => member.path === path && member.fixed === undefined));
      const chunks: Buffer[] = [];
      for await (const { content } of container?.read((member) => member.path === path) ?? assert.fail())
        for await (const chunk of content) chunks.push(chunk);
      assert.equal(Buffer.concat(chunks).toString(), 'one');
    });

    it('can be replaced, in only one way; the package is then signed', async () => {
      const two = await replaced(forge(entries('one')), 'two');
      assert.deepEqual(await replaced(forge(entries('one')), 'two'), two);
      const file = await open(two);
      const other = await open(forge(entries('two')));
      assert.deepEqual(await file.digest('sha256').then((each) => each.length), 32);
      if (name === 'a.vsix') assert.deepEqual(await file.digest('sha256'), await other.digest('sha256'));
      assert.equal((await open(await sign(two))).signatures.length, 1);
    });

    it('lose the signature of the package if they are replaced', async () => {
      const two = await replaced(await sign(forge(entries('one'))), 'two');
      assert.deepEqual((await open(two)).signatures, []);
      assert.equal((await open(await sign(two))).signatures.length, 1);
    });
  });
}

describe('the files in a.vsix', () => {
  it('cannot be replaced if the manifest of the installer has their digest', async () => {
    const files = [
      { fileName: '/readme.txt', sha256: 'ab' },
      { fileName: '/other.txt', sha256: null },
    ];
    const types = vsixEntries('one').map((each) =>
      each.name === '[Content_Types].xml'
        ? {
            ...each,
            content: String(each.content)
              .replace('"txt"', '"json"')
              .replace('</Types>', '<Default Extension="txt" ContentType="text/plain" /></Types>'),
          }
        : each,
    );
    const bytes = forge([...types, { name: 'manifest.json', content: JSON.stringify({ files }) }]);
    const container = await (await openSignableFile(source(bytes, 'a.vsix'))).container?.(LIMITS);
    assert.match(
      container?.members.find(({ path }) => path === 'readme.txt')?.fixed ?? '',
      /SHA-256 in manifest.json/,
    );
  });
});
