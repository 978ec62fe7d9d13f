import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { plainLog } from '../../../src/cli/output/log-format.ts';
import { printableJson } from '../../../src/lib/printable.ts';

const EVIL = '\u001b[2J\u009b31m\u202e\u{e0001}';

describe('the log', () => {
  it('makes control characters visible on a terminal, one line for each record', () => {
    const written: string[] = [];
    const out = { write: (text: string) => written.push(text) } as unknown as NodeJS.WritableStream;
    const record = { level: 60, time: '2026-01-01T10:20:30.000Z', msg: `ALARM: ${EVIL}\nfake`, hint: EVIL };
    plainLog(out).write(JSON.stringify(record));
    const escaped = '\\u{1b}[2J\\u{9b}31m\\u{202e}\\u{e0001}';
    assert.equal(written.join(''), `10:20:30 ALARM: ${escaped}\\nfake\n         ${escaped}\n`);
  });

  it('has no control characters as JSON either, with the same meaning', () => {
    const record = { msg: `one ${EVIL}`, hint: 'two\nthree' };
    const line = printableJson(`${JSON.stringify(record)}\n`);
    assert.match(line, /^[\x20-\x7e]+\n$/);
    assert.deepEqual(JSON.parse(line), record);
  });
});

describe('a result on standard output', () => {
  it('may have a reader that closes the pipe early', async () => {
    const script = `import { print } from '${import.meta.resolve('../../../src/cli/output/terminal.ts')}';
      print('x'.repeat(5_000_000));
      process.on('exit', () => console.error('came to its end'));`;
    const command = `"${process.execPath}" --import "${import.meta.resolve('tsx')}" --input-type=module -e "$SCRIPT"`;
    const { stdout, stderr } = await promisify(execFile)('sh', ['-c', `${command} | head -c 3`], {
      env: { ...process.env, SCRIPT: script },
    });
    assert.deepEqual([stdout, stderr], ['xxx', 'came to its end\n']);
  });
});
