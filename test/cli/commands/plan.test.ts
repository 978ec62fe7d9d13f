/** `signpipe plan`: what signing would do, without a key. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { createTestPki, testSigningKey } from '../../../src/sandbox/certificates.ts';
import { bytesOf, openBytes } from '../../engine/authenticode/tools.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { forge } from '../../lib/zip/zips.ts';
import { assertRefused, signpipe, type Ended } from '../../world/site.ts';

let folder: string;
let bytes: Map<string, Buffer>;
const plan = (...args: string[]): Promise<Ended> => signpipe(['plan', ...args], { cwd: folder });

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-plan-'));
  const { codeSigning } = await createTestPki({ key: 'p256', intermediate: false });
  const options = { key: testSigningKey(codeSigning), timestamper: null };
  const theirs = await bytesOf((await signProgram(await openBytes(buildPe()), options)).content);
  const inner = forge([{ name: 'x.exe', content: buildPe() }, { name: 'readme.txt' }]);
  const entries = [
    { name: 'bin/a.exe', content: buildPe() },
    { name: 'bin/theirs.exe', content: theirs },
    { name: 'inner.zip', content: inner },
  ];
  bytes = new Map([
    ['a.exe', buildPe()],
    ['product.zip', forge(entries)],
    ['notes.txt', Buffer.from('notes')],
  ]);
  for (const [name, content] of bytes) await writeFile(join(folder, name), content);
});
after(() => rm(folder, { recursive: true, force: true }));

describe('signpipe plan', () => {
  it('shows what would be signed, in its order, and what is kept and why; it writes nothing', async () => {
    const { status, stdout, stderr } = await plan('a.exe', 'product.zip', '--inside', 'sign');
    const lines = stdout.trimEnd().split('\n');
    const kept = lines.findIndex((line) => line.includes('theirs.exe'));
    assert.match(lines[kept] ?? '', /^ {2}bin\/theirs\.exe {2}kept: signed by .+, not checked who that is$/);
    assert.deepEqual(
      lines.filter((_, index) => index !== kept),
      [
        'a.exe: 1 signature',
        '  1  sign a.exe (pe, 1536 bytes)',
        'product.zip: 2 signatures in a zip of 3 files',
        '  1  sign bin/a.exe (pe, 1536 bytes)',
        '  2  sign inner.zip!/x.exe (pe, 1536 bytes)',
        `  3  pack again inner.zip (zip, ${forge([{ name: 'x.exe', content: buildPe() }, { name: 'readme.txt' }]).length} bytes)`,
      ],
    );
    assert.deepEqual([status, stderr], [0, '']);
    assert.deepEqual((await readdir(folder)).sort(), [...bytes.keys()].sort());
    for (const [name, content] of bytes) assert.deepEqual(await readFile(join(folder, name)), content);
  });

  it('says of each file whether it would be refused, also as JSON, and exits as for the first', async () => {
    const { status, stdout } = await plan('notes.txt', 'product.zip', '--already-signed', 'reject', '--json');
    const { files } = JSON.parse(stdout) as { files: { name: string; refused: { code: string } }[] };
    assert.deepEqual(
      files.map(({ name, refused }) => [name, refused.code]),
      [
        ['notes.txt', 'not-signable'],
        ['product.zip', 'already-signed'],
      ],
    );
    assert.equal(status, 3);
    const text = await plan('a.exe', '--files', '**/*.dll');
    assert.match(
      text.stdout,
      /^a\.exe: would be refused: .*--files does not name this program \[nothing-to-sign\]\n/,
    );
  });

  it('channel-without-config: a channel is one of a configuration', async () => {
    assertRefused(await plan('a.exe', '--channel', 'x'), 2, 'channel-without-config');
  });
});
