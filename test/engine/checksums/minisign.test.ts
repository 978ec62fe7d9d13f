/** Keys made by minisign, and signatures judged by it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { openMinisignChecksumKey } from '../../../src/engine/checksums/minisign-checksum-key.ts';
import { temporaryFolder } from '../../lib/zip/zips.ts';

const run = promisify(execFile);
const folder = await temporaryFolder();
const at = (name: string): string => join(folder, name);

const open = (name: string, passphrase?: string): ReturnType<typeof openMinisignChecksumKey> =>
  openMinisignChecksumKey({ path: at(name), passphrase, warn: () => {} });

const bytesOf = async (name: string): Promise<Buffer> =>
  Buffer.from((await readFile(at(name), 'utf8')).split('\n')[1] ?? '', 'base64');

/** The key made without a passphrase, changed. */
async function changed(name: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const bytes = change(await bytesOf('plain.key'));
  await writeFile(at(name), `untrusted comment: x\n${bytes.toString('base64')}\n`);
}

/**
 * Encrypts the plain key with less work than minisign, whose own keys take a gigabyte and seconds; Python has its own
 * scrypt and BLAKE2b.
 */
const ENCRYPT = `
import base64, hashlib, sys
lines = open(sys.argv[1]).read().split('\\n')
raw = base64.b64decode(lines[1])
operations, memory = int(sys.argv[3]), int(sys.argv[4])
n, r, p = map(int, sys.argv[5:8])
secret = raw[54:126] + hashlib.blake2b(raw[:2] + raw[54:126], digest_size=32).digest()
salt = bytes(range(32))
stream = hashlib.scrypt(b'open sesame', salt=salt, n=n, r=r, p=p, maxmem=2**28, dklen=104)
out = b'EdScB2' + salt + operations.to_bytes(8, 'little') + memory.to_bytes(8, 'little') + bytes(a ^ b for a, b in zip(secret, stream))
open(sys.argv[2], 'w').write('untrusted comment: x\\n' + base64.b64encode(out).decode() + '\\n')
`;

const encrypt = (name: string, operations: number, memory: number, N: number, p: number): Promise<unknown> =>
  run('python3', ['-c', ENCRYPT, at('plain.key'), at(name), ...[operations, memory, N, 8, p].map(String)]);

before(async () => {
  await run('minisign', ['-G', '-W', '-p', at('plain.pub'), '-s', at('plain.key')]);
  await writeFile(at('SUMS'), 'some lines\n');
});

/** `minisign -V` as a mirror's user runs it. */
const verify = async (publicKey: string): Promise<string> => {
  const { stdout } = await run('minisign', ['-V', '-p', at(publicKey), '-m', at('SUMS')]);
  return stdout;
};

describe('a minisign key', () => {
  it('signs what minisign -V verifies, with a trusted comment that names the file', async () => {
    const key = await open('plain.key');
    await writeFile(at('SUMS.minisig'), await key.sign(await readFile(at('SUMS')), 'SUMS'));
    const printed = await verify('plain.pub');
    assert.match(printed, /^Signature and comment signature verified/);
    assert.match(printed, /timestamp:\d+\tfile:SUMS\thashed/);
  });

  it('has the id that minisign prints', async () => {
    const [comment = ''] = (await readFile(at('plain.pub'), 'utf8')).split('\n');
    assert.equal((await open('plain.key')).id, comment.split(' ').at(-1));
  });

  it('opens with its passphrase, whichever of its limits decides how much work that is', async () => {
    await encrypt('by-memory.key', 2 ** 25, 2 ** 24, 2 ** 14, 64);
    await encrypt('by-operations.key', 2 ** 16, 2 ** 30, 2 ** 11, 1);
    for (const name of ['by-memory.key', 'by-operations.key'])
      assert.equal((await open(name, 'open sesame')).id, (await open('plain.key')).id, name);
  });

  it('warns if others can read the file', async () => {
    await chmod(at('plain.key'), 0o644);
    const warnings: string[] = [];
    await openMinisignChecksumKey({ path: at('plain.key'), warn: (text) => warnings.push(text) });
    assert.match(warnings.join(), /others on this machine may read the secret key/);
  });
});

describe('a minisign key is refused', () => {
  it('minisign-key-passphrase-missing, minisign-key-passphrase-wrong', async () => {
    await encrypt('few.key', 2 ** 15, 2 ** 20, 2 ** 10, 1);
    await assert.rejects(open('few.key'), { code: 'minisign-key-passphrase-missing', kind: 'usage' });
    await assert.rejects(open('few.key', 'open sesam'), {
      code: 'minisign-key-passphrase-wrong',
      kind: 'usage',
      message: `${at('few.key')} cannot be opened with the passphrase given`,
    });
  });

  it('minisign-key-kdf: it asks for more than minisign does', async () => {
    for (const [name, operations, memory] of [
      ['memory.key', 2 ** 25, 2 ** 31],
      ['operations.key', 2 ** 26, 2 ** 20],
    ] as const) {
      await encrypt(name, operations, memory, 2, 1);
      await assert.rejects(open(name, 'open sesame'), { code: 'minisign-key-kdf', kind: 'usage' });
    }
  });

  const broken: readonly [string, (bytes: Buffer) => Buffer][] = [
    ['it is cut short', (bytes) => bytes.subarray(0, 157)],
    ['something follows', (bytes) => Buffer.concat([bytes, Buffer.of(0)])],
    ['another algorithm', (bytes) => Buffer.concat([Buffer.from('Xd'), bytes.subarray(2)])],
    ['another seed', (bytes) => Buffer.concat([bytes.subarray(0, 62), Buffer.alloc(32), bytes.subarray(94)])],
    ['it is a public key', (bytes) => bytes.subarray(0, 42)],
  ];
  for (const [what, change] of broken)
    it(`minisign-key-unreadable: ${what}`, async () => {
      await changed('broken.key', change);
      await assert.rejects(open('broken.key'), { code: 'minisign-key-unreadable', kind: 'usage' });
    });

  for (const [what, text] of [
    ['another line', 'untrusted comment: x\nRWQA\nmore\n'],
    ['no comment', 'RWQA\n'],
    ['no base64', 'untrusted comment: x\n!!!\n'],
    ['an empty file', ''],
  ])
    it(`minisign-key-unreadable: ${what}`, async () => {
      await writeFile(at('text.key'), text ?? '');
      await assert.rejects(open('text.key'), { code: 'minisign-key-unreadable' });
    });
});
