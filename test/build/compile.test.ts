/** The compiled script of the audit page, which is embedded in an element of the page. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compileForPage } from '../../src/build/compile.ts';

describe('a script for a page', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-compile-'));
  });
  after(() => rm(folder, { recursive: true }));

  const compile = async (text: string): Promise<string> => {
    const path = join(folder, 'module.ts');
    await writeFile(path, text);
    return compileForPage(path);
  };

  it('is readable ASCII without markup, and refers to no other file', async () => {
    const script = await readFile(resolve(import.meta.dirname, '../../dist/audit-page/page.js'), 'utf8');
    assert.match(script, /^[\n\x20-\x7e]+$/);
    assert.doesNotMatch(script, /<\/script|<script|<!--|sourceMappingURL|\b(?:import|require)\b/i);
    assert.match(script, /\n {2}\/\/ audit-page\/table\.ts\n/);
    assert.match(script, /\n {2}function drawTimeline\(\) \{\n/);
  });

  it('escapes the end of a script element', async () => {
    const script = await compile(`console.log('a</script>b');`);
    assert.match(script, /console\.log\("a<\\\/script>b"\)/);
  });

  it('is refused if it would contain markup', async () => {
    for (const markup of ['<!--', '<script>'])
      await assert.rejects(compile(`console.log('a${markup}b');`), /contains markup/, markup);
  });
});
