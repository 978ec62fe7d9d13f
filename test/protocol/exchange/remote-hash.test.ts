import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { remoteHashMatches, remoteRangesMatch } from '../../../src/protocol/exchange/remote-hash.ts';
import type { RemoteResult } from '../../../src/lib/ssh/exec.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';

const run = promisify(execFile);

const BYTES = randomBytes(3_000_000);
const expected = { size: BYTES.length, sha256: sha256Hex(BYTES) };
/** More than a megabyte in all: for less the host is not asked. */
const RANGES = [
  { start: 100, end: 1_500_000 },
  { start: 1_600_000, end: 2_999_999 },
];
const HASH_OF_RANGES = sha256Hex(Buffer.concat(RANGES.map(({ start, end }) => BYTES.subarray(start, end))));

let folder: string;
let file: string;

/** A host whose shell finds only these programs, `tail` and `head`; a script replaces a broken one. */
async function host(
  programs: readonly string[],
  scripts: Readonly<Record<string, string>> = {},
): Promise<(command: string) => Promise<RemoteResult>> {
  const bin = join(folder, `bin-${randomBytes(4).toString('hex')}`);
  await mkdir(bin);
  for (const program of ['head', 'tail', ...programs]) {
    const { stdout } = await run('/bin/sh', ['-c', `command -v ${program}`]);
    await symlink(stdout.trim(), join(bin, program));
  }
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  return async (command) => {
    const { stdout, stderr } = await run('/bin/sh', ['-c', command], { env: { PATH: bin } }).catch(
      (error: unknown) => ({ stdout: '', stderr: String(error) }),
    );
    return { code: 0, stdout, stderr };
  };
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-hash-'));
  file = join(folder, "it's a file");
  await writeFile(file, BYTES);
});
after(() => rm(folder, { recursive: true, force: true }));

describe('a hash computed by the host', () => {
  it('has at most 15 minutes, however large the file is: nothing is seen to move meanwhile', async () => {
    const times: number[] = [];
    const never = (_: string, ms: number): Promise<RemoteResult> => {
      times.push(ms);
      return Promise.reject(new Error('too late'));
    };
    for (const size of [1e8, 1e11])
      assert.equal(await remoteHashMatches(never, 'f', { size, sha256: '0'.repeat(64) }), false);
    assert.deepEqual(times, [70_000, 900_000]);
  });

  const able: Readonly<Record<string, Parameters<typeof host>>> = {
    'OpenSSL and sha256sum': [['openssl', 'sha256sum']],
    'OpenSSL alone': [['openssl']],
    'sha256sum alone': [['sha256sum']],
    'sha256sum and an OpenSSL that fails': [['sha256sum'], { openssl: 'exit 1' }],
  };
  for (const [what, programs] of Object.entries(able))
    it(`distinguishes right bytes from wrong ones with ${what}`, async () => {
      const there = await host(...programs);
      assert.equal(await remoteHashMatches(there, file, expected), true);
      assert.equal(
        await remoteHashMatches(there, file, { ...expected, sha256: sha256Hex(Buffer.from('x')) }),
        false,
      );
      assert.equal(await remoteHashMatches(there, join(folder, 'none'), expected), false);
      assert.equal(await remoteRangesMatch(there, file, RANGES, HASH_OF_RANGES), true);
      assert.equal(await remoteRangesMatch(there, file, RANGES.slice(1), HASH_OF_RANGES), false);
    });

  it('is false for any other output than the right hash', async () => {
    for (const there of [
      await host([]),
      await host([], { openssl: 'echo yes', sha256sum: 'echo yes' }),
      await host([], { openssl: `echo "SHA256(file)= ${expected.sha256}"` }),
    ]) {
      assert.equal(await remoteHashMatches(there, file, expected), false);
      assert.equal(await remoteRangesMatch(there, file, RANGES, HASH_OF_RANGES), false);
    }
  });
});
