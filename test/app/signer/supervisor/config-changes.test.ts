import assert from 'node:assert/strict';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  changedKeys,
  FileChange,
  fileVersion,
  onFileChange,
} from '../../../../src/app/signer/supervisor/config-changes.ts';

describe('a configuration file that is watched', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-changes-'));
  after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'signer.yaml');
  const EVERY = 25;

  /** Watches the file meanwhile; returns how often a change was reported. */
  const reports = async (change: () => Promise<unknown>): Promise<number> => {
    await writeFile(file, 'first');
    let count = 0;
    const stop = onFileChange(file, () => (count += 1), { known: await fileVersion(file), every: EVERY });
    await change();
    await sleep(6 * EVERY);
    stop();
    return count;
  };

  it('is reported once if it is written', async () => {
    assert.equal(await reports(() => writeFile(file, 'second')), 1);
  });

  it('is reported once if it is replaced, also by a file that is as long and as old', async () => {
    const replace = async (): Promise<void> => {
      await writeFile(`${file}.new`, 'f1rst');
      await rename(`${file}.new`, file);
    };
    assert.equal(await reports(replace), 1);
  });

  it('is not reported while it is written in parts', () => {
    const change = new FileChange('old');
    const seen = ['old', 'part', 'more', null, 'all', 'all', 'all', 'old', 'old'].map((version) =>
      change.see(version),
    );
    assert.deepEqual(seen, [false, false, false, false, false, true, false, false, true]);
  });

  it('is not reported while it is missing', async () => {
    assert.equal(await reports(() => rm(file)), 0);
  });
});

describe('the keys that differ between two configurations', () => {
  const before = {
    control: { url: 'ssh://a/b', poll: 500 },
    trust: { delay: 0 },
    channels: new Map([['default', { signing: { files: ['*.exe'] } }]]),
  };

  it('are named without their values', () => {
    const after = {
      control: { url: 'ssh://a/b', poll: 1000 },
      watchdog: 1,
      channels: new Map([
        ['default', { signing: { files: ['*.dll'] } }],
        ['nightly', { signing: { files: [] } }],
      ]),
    };
    assert.deepEqual(changedKeys(before, after), [
      'control.poll',
      'trust',
      'channels.default.signing.files',
      'channels.nightly',
      'watchdog',
    ]);
  });

  it('are none of two that are alike', () => {
    assert.deepEqual(changedKeys(before, structuredClone(before)), []);
  });
});
