import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const main = resolve(import.meta.dirname, '../../dist/main.js');

/** Reads the script as a start-up file does, then completes each line of standard input, whose words tabs separate. */
const DRIVER = `
source /dev/stdin <<< "$1"
complete -p signpipe
for line in "\${@:2}"; do
  IFS=$'\\t' read -ra COMP_WORDS <<< "$line."
  COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
  COMP_WORDS[COMP_CWORD]=\${COMP_WORDS[COMP_CWORD]%.}
  _signpipe
  (IFS='|'; echo "\${COMPREPLY[*]}")
done
`;

describe('completion in bash', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-completion-'));
    await mkdir(join(folder, 'a folder'));
    for (const name of ['a file.exe', 'a*.exe', '$(touch made).exe']) await writeFile(join(folder, name), '');
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const CASES: readonly (readonly [what: string, words: string[], expected: string[]])[] = [
    ['commands', ['sig'], ['sign', 'signature']],
    ['the commands below a command', ['signature', ''], ['extract', 'remove', 'attach']],
    ['options', ['watch', '--o'], ['--once']],
    ['the options of a command below a command', ['signature', 'attach', '--rep'], ['--repo']],
    ['choices of an option', ['sign', '--digest', ''], ['sha256', 'sha384', 'sha512']],
    ['choices of an argument', ['completion', ''], ['bash', 'zsh', 'fish']],
    ['what init sets up', ['init', 'vo'], ['voucher']],
    ['folders after what init sets up', ['init', 'voucher', 'a'], ['a folder']],
    ['files, with any characters in their names', ['verify', 'a'], ['a folder', 'a file.exe', 'a*.exe']],
    ['names that are commands to a shell, which are not run', ['verify', '$'], ['$(touch made).exe']],
    ['further files', ['sign', '--pfx', 'x.pfx', 'one.exe', 'a '], ['a folder', 'a file.exe']],
    ['only folders for an option that takes one', ['demo', '--dir', 'a'], ['a folder']],
    ['nothing for a value that only the user knows', ['sign', '--url', ''], []],
    ['nothing after an unknown command', ['singpipe', ''], []],
  ];

  it('completes as its cases say', async () => {
    const { stdout: script } = await run(process.execPath, [main, 'completion', 'bash']);
    const lines = CASES.map(([, words]) => ['signpipe', ...words].join('\t'));
    const { stdout } = await run('bash', ['--norc', '-c', DRIVER, 'bash', script, ...lines], { cwd: folder });
    const [registered, ...replies] = stdout.trimEnd().split('\n');
    assert.equal(registered, 'complete -F _signpipe signpipe');
    for (const [index, [what, , expected]] of CASES.entries()) {
      const reply = (replies[index] ?? '').split('|').filter((word) => word !== '');
      assert.deepEqual(new Set(reply), new Set(expected), what);
    }
  });
});

describe('signpipe completion', () => {
  it('refuses an unknown shell [command-line]', async () => {
    await assert.rejects(
      run(process.execPath, [main, 'completion', 'csh']),
      /bash, zsh, fish.*\[command-line\]/,
    );
  });
});
