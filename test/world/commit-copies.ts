/** Other forms of a signed commit: the same payload and key, another commit id; git accepts them too. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gitEnvironment, type World } from './site.ts';

const run = promisify(execFile);

const BEGIN = '-----BEGIN SSH SIGNATURE-----';
const END = '-----END SSH SIGNATURE-----';
const SIGNATURE = new RegExp(`^gpgsig ${BEGIN}\\n([\\s\\S]*?) ${END}\\n`, 'm');

/** The signature blob of a raw commit, as latin1 text. */
function blobOf(raw: string): Buffer {
  const body = SIGNATURE.exec(raw)?.[1];
  if (body === undefined) throw new Error(`no signature in:\n${raw}`);
  return Buffer.from(body.replace(/[\n ]/g, ''), 'base64');
}

/** The commit with another signature blob, its base64 broken into lines of `width`. */
const withBlob = (raw: string, blob: Buffer, width = 70): string =>
  raw.replace(SIGNATURE, () => {
    const lines = blob.toString('base64').match(new RegExp(`.{1,${width}}`, 'g')) ?? [];
    return `gpgsig ${[BEGIN, ...lines, END].join('\n ')}\n`;
  });

export const rewrapped = (raw: string, width = 64): string => withBlob(raw, blobOf(raw), width);

export const unsigned = (raw: string): string => raw.replace(SIGNATURE, '');

/** Moves the signature header before the headers that follow the committer, such as `encoding`. */
export function headerMoved(raw: string): string {
  const [header = ''] = SIGNATURE.exec(raw) ?? [];
  return unsigned(raw).replace(/^(committer .*\n)/m, (line) => `${line}${header}`);
}

const ssh = (value: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(value.length);
  return Buffer.concat([length, value]);
};

function strings(blob: Buffer, from: number): Buffer[] {
  const values: Buffer[] = [];
  for (let at = from; at < blob.length;) {
    const end = at + 4 + blob.readUInt32BE(at);
    values.push(blob.subarray(at + 4, end));
    at = end;
  }
  return values;
}

/** Magic and version come before the strings: key, namespace, reserved, hash, signature. */
const HEAD = 10;

function withString(raw: string, index: number, change: (value: Buffer) => Buffer): string {
  const blob = blobOf(raw);
  const parts = strings(blob, HEAD).map((value, i) => ssh(i === index ? change(value) : value));
  return withBlob(raw, Buffer.concat([blob.subarray(0, HEAD), ...parts]));
}

/** The order of the curve P-256. */
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

function mpint(value: bigint): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 1 ? `0${hex}` : hex, 'hex');
  return (bytes[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
}

/** An ECDSA signature over P-256 with s replaced by n - s, which is also valid. */
export const negated = (raw: string): string =>
  withString(raw, 4, (signature) => {
    const [name = Buffer.alloc(0), numbers = Buffer.alloc(0)] = strings(signature, 0);
    const [r = Buffer.alloc(0), s = Buffer.alloc(0)] = strings(numbers, 0);
    const other = mpint(N - BigInt(`0x${s.toString('hex')}`));
    return Buffer.concat([ssh(name), ssh(Buffer.concat([ssh(r), ssh(other)]))]);
  });

/** The same signature under another public key or certificate, from a `.pub` file. */
export async function withKey(raw: string, pub: string): Promise<string> {
  const [, base64 = ''] = (await readFile(pub, 'utf8')).split(' ');
  return withString(raw, 0, () => Buffer.from(base64, 'base64'));
}

/** Changes one bit of the signature, which makes it invalid. */
export const broken = (raw: string): string =>
  withString(raw, 4, (signature) => {
    const copy = Buffer.from(signature);
    copy.writeUInt8(copy.readUInt8(copy.length - 1) ^ 1, copy.length - 1);
    return copy;
  });

/** The exact bytes of a commit object, as latin1. */
export async function rawCommit(world: World, commit: string): Promise<string> {
  const { stdout } = await run('git', ['-C', world.control, 'cat-file', 'commit', commit], {
    env: gitEnvironment(),
    encoding: 'latin1',
  });
  return stdout;
}

/** Whether `git verify-commit` finds a good signature by an allowed signer. */
export async function gitAccepts(world: World, commit: string): Promise<boolean> {
  const allowed = world.at('git_allowed');
  await writeFile(allowed, await readFile(world.at('keys', 'allowed_signers')));
  return run(
    'git',
    ['-C', world.control, '-c', `gpg.ssh.allowedSignersFile=${allowed}`, 'verify-commit', commit],
    { env: gitEnvironment() },
  ).then(
    () => true,
    () => false,
  );
}
