import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

/** The size in bytes that the young generation reaches if many new objects live for a while. */
async function youngAfterWork(prepare: string): Promise<number> {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8';
    ${prepare}
    const kept = [];
    for (let at = 0; at < 2_000_000; at += 1) kept[at % 100_000] = { at };
    console.log(getHeapSpaceStatistics().find((each) => each.space_name === 'new_space').space_size);`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  assert.equal(stderr, '', 'V8 knows the flags');
  return Number(stdout);
}

describe('the young generation', () => {
  it('grows unless it is limited', async () => {
    const often = `import { collectForBuffers } from './src/lib/bytes/gc-tuning.ts'; collectForBuffers();`;
    const [before, after] = await Promise.all([youngAfterWork(''), youngAfterWork(often)]);
    assert.ok(after < before / 2, `${after} bytes, ${before} otherwise`);
  });
});
