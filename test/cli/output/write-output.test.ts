import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

const module = import.meta.resolve('../../../src/cli/output/write-output.ts');
/** Prints a number of chunks of 1000 letters, and then a line on standard error. */
const script = (pieces: number): string =>
  `import { writeToStandardOutput } from '${module}';
   await writeToStandardOutput(Array(${pieces}).fill('x'.repeat(1000)));
   console.error('went on');`;
const command = `"${process.execPath}" --import "${import.meta.resolve('tsx')}" --input-type=module -e "$SCRIPT"`;

const shell = (line: string, pieces: number): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)('sh', ['-c', line], {
    env: { ...process.env, SCRIPT: script(pieces) },
    maxBuffer: 2 ** 24,
  });

describe('a long text on standard output', () => {
  it('is complete, and ends its line', async () => {
    const { stdout } = await shell(`${command} | cat`, 5000);
    assert.equal(stdout, `${'x'.repeat(5_000_000)}\n`);
  });

  it('may have a reader that closes the pipe early', async () => {
    const { stdout, stderr } = await shell(`${command} | head -c 3`, 5000);
    assert.deepEqual([stdout, stderr], ['xxx', 'went on\n']);
  });
});
