import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { sharedChecksumKeys } from '../../../../src/app/signer/channel/shared-checksum-keys.ts';
import { temporaryFolder } from '../../../lib/zip/zips.ts';

describe('the checksum keys of several channels', () => {
  it('are opened once if their sections are equal', async () => {
    const key = join(await temporaryFolder(), 'key');
    await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    const open = sharedChecksumKeys({ now: new Date(), warn: () => {} });
    const first = await open({ ssh: { key } });
    await rm(key);
    assert.equal(await open({ ssh: { key } }), first);
    assert.deepEqual(await open({}), []);
    await assert.rejects(open({ ssh: { key, passphraseFile: key } }), { code: 'file-not-found' });
  });
});
