import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { commandLineModel, withSubcommands } from '../../src/build/command-model.ts';
import { pageName } from '../../src/build/manual/command-page.ts';
import { documentPage } from '../../src/build/manual/document-page.ts';

const folder = resolve(import.meta.dirname, '../../dist/man');
const HEAD = { name: 'example', section: 7, date: '2026-11-30', version: '1.2.3' };

describe('manual pages', () => {
  const commands = withSubcommands(commandLineModel());

  it('exist for every command, the configuration and the error codes', async () => {
    const expected = [
      ...commands.map((each) => `${pageName(each)}.1`),
      'signpipe.yaml.5',
      'signpipe-errors.7',
    ];
    assert.ok(commands.length > 15);
    assert.deepEqual(new Set(await readdir(folder)), new Set(expected));
  });

  it('name every option of their command', async () => {
    for (const command of commands) {
      const text = await readFile(join(folder, `${pageName(command)}.1`), 'utf8');
      for (const { long } of command.options)
        assert.ok(text.replaceAll('\\-', '-').includes(long), `${pageName(command)}: ${long}`);
    }
  });

  for (const [what, markdown, roff] of [
    ['text that looks like a macro', '.so /etc/passwd', '\\&.so /etc/passwd'],
    ['a code span that looks like a macro', '`.so` file', '\\fB\\&.so\\fR file'],
    ['a backslash', 'C:\\name', 'C:\\ename'],
    ['a macro in a block of code', '```\n.so file\n```', '\\&.so file'],
    [
      'a row of a table',
      '| key | default | meaning |\n| --- | --- | --- |\n| `a.b` | 1 | what |',
      '.TP\n\\fBa.b\\fR\nwhat [default: 1]',
    ],
    ['a list', '- one\n  line\n- two', '.IP \\(bu 2\none line\n.IP \\(bu 2\ntwo'],
    ['a link', '[text](other.md#part)', 'text'],
  ] as const)
    it(`convert ${what}`, () => {
      assert.ok(
        documentPage(HEAD, 'an example', `# Title\n\n${markdown}\n`).includes(`\n${roff}\n`),
        documentPage(HEAD, 'an example', `# Title\n\n${markdown}\n`),
      );
    });
});
