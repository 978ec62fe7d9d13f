import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { makeSample, SAMPLE_NAME, type Sample } from '../../src/sandbox/sample-release.ts';

const run = promisify(execFile);

/** Its whole output; it fails on all of these, since it has no trusted roots. */
async function osslsigncodeOutput(file: string): Promise<string> {
  const { stdout, stderr } = await run('osslsigncode', ['verify', '-in', file]).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  return stdout + stderr;
}

describe("the demo's sample", () => {
  let folder: string;
  let sample: Sample;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-sample-test-'));
    sample = await makeSample(join(folder, SAMPLE_NAME));
    await run('unzip', ['-q', join(folder, SAMPLE_NAME), '-d', folder]);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('is a valid zip with exactly the reported names', async () => {
    await run('unzip', ['-tq', join(folder, SAMPLE_NAME)]);
    const { stdout } = await run('unzip', ['-Z1', join(folder, SAMPLE_NAME)]);
    assert.deepEqual(stdout.trim().split('\n').sort(), sample.names);
  });

  it('contains unsigned programs of ours, and others that are signed', async () => {
    assert.ok(sample.ours.length >= 4 && sample.programs.length > sample.ours.length);
    for (const { name, ours } of sample.programs) {
      const file = join(folder, name);
      assert.equal((await readFile(file)).toString('latin1', 0, 2), 'MZ', name);
      const output = await osslsigncodeOutput(file);
      assert.match(output, ours ? /No signature found/ : /Signer's certificate:[^]*Martijn Laan/, name);
    }
  });

  it('says where every file is from, and its licence', async () => {
    const text = await readFile(join(folder, 'product-1.0-windows64/LICENSES.txt'), 'utf8');
    for (const name of sample.names.filter((each) => !/(README|LICENSES)\.txt$/.test(each)))
      assert.ok(text.includes(name.replace(/^[^/]*\//, '')), name);
    assert.match(text, /Jordan Russell/);
    assert.match(text, /Sindre Sorhus/);
  });

  it('leaves no other file behind', async () => {
    const { stdout } = await run('find', [folder, '-name', '*.part']);
    assert.equal(stdout, '');
  });
});
