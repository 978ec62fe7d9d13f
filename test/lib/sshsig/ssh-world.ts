import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, sign as signWithNode, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { armor, buildSshSig, signedData } from '../../../src/lib/sshsig/sshsig.ts';
import { sshMpint, sshString, uint32 } from '../../../src/lib/sshsig/ssh-wire.ts';

/** Git and ssh-keygen do not see the configuration of the account that runs the tests. */
const ENVIRONMENT = {
  PATH: process.env['PATH'] ?? '',
  TZ: 'UTC',
  HOME: '/nonexistent',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
};

/** Git's empty tree, and another tree that need not exist. */
export const TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
export const OTHER_TREE = '00000000000000000000000000000000000000aa';

/** 2024-06-01 12:00:00 UTC */
export const COMMITTED = 1_717_243_200;

export interface CommitParts {
  tree?: string;
  parents?: string[];
  author?: string;
  committer?: string;
  time?: number;
  headers?: string;
  message?: string;
}

/** A raw commit object without a signature. */
export function commit(parts: CommitParts = {}): Buffer {
  const { tree = TREE, parents = [], headers = '', message = 'Sign build.zip\n', time = COMMITTED } = parts;
  const { author = 'Bob <bob@example.org>', committer = 'Bob <bob@example.org>' } = parts;
  const lines = [
    `tree ${tree}\n`,
    ...parents.map((parent) => `parent ${parent}\n`),
    `author ${author} ${time} +0000\n`,
    `committer ${committer} ${time} +0000\n`,
    `${headers}\n${message}`,
  ];
  return Buffer.from(lines.join(''), 'utf8');
}

/** The commit with a signature header, put there without any checks. */
export function attached(unsigned: Buffer, armored: string): Buffer {
  const end = unsigned.indexOf('\n\n') + 1;
  const header = `gpgsig ${armored.replace(/\n$/, '').replaceAll('\n', '\n ')}\n`;
  return Buffer.concat([unsigned.subarray(0, end), Buffer.from(header), unsigned.subarray(end)]);
}

/** A folder with keys and a repository, and the tools of OpenSSH and Git to verify with. */
export class SshWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'signpipe-ssh-'));
  readonly repository = join(this.folder, 'repository');

  constructor() {
    this.run('git', ['init', '-q', this.repository]);
    this.run('git', ['-C', this.repository, 'hash-object', '-t', 'tree', '-w', '/dev/null']);
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, content: string | Buffer): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  run(command: string, args: string[], input: string | Buffer = ''): string {
    return execFileSync(command, args, {
      input,
      env: ENVIRONMENT,
      stdio: ['pipe', 'pipe', 'pipe'],
    }).toString();
  }

  /** Whether a command ends with status 0, and its output. */
  try(command: string, args: string[], input: string | Buffer = ''): { ok: boolean; said: string } {
    const { status, stdout, stderr } = spawnSync(command, args, { input, env: ENVIRONMENT });
    return { ok: status === 0, said: `${stdout.toString()}${stderr.toString()}` };
  }

  /** Makes a key with ssh-keygen; returns the .pub line without the line end. */
  key(name: string, type: string, bits?: number, passphrase = ''): string {
    const size = bits === undefined ? [] : ['-b', String(bits)];
    this.run('ssh-keygen', ['-q', '-t', type, ...size, '-N', passphrase, '-C', name, '-f', this.path(name)]);
    return readFileSync(this.path(`${name}.pub`), 'utf8').trim();
  }

  /** Has the authority certify a key: NAME-cert.pub beside NAME. */
  certify(authority: string, name: string, options: string[]): void {
    this.run('ssh-keygen', [
      '-q',
      '-s',
      this.path(authority),
      '-I',
      `id-of-${name}`,
      ...options,
      this.path(`${name}.pub`),
    ]);
  }

  /** An armored signature by ssh-keygen. */
  keygenSign(name: string, message: Buffer, namespace = 'git', hash = 'sha512'): string {
    const args = ['-q', '-Y', 'sign', '-n', namespace, '-O', `hashalg=${hash}`, '-f', this.path(name)];
    return this.run('ssh-keygen', args, message);
  }

  /** A commit signed by ssh-keygen. */
  signed(name: string, parts: CommitParts = {}, namespace = 'git'): Buffer {
    const unsigned = commit(parts);
    return attached(unsigned, this.keygenSign(name, unsigned, namespace));
  }

  /** The result of `git verify-commit`. */
  gitVerify(raw: Buffer, allowed: string, revoked?: string): { ok: boolean; said: string } {
    const git = ['-C', this.repository];
    const id = this.run(
      'git',
      [...git, 'hash-object', '-t', 'commit', '-w', '--literally', '--stdin'],
      raw,
    ).trim();
    const config = [
      '-c',
      'gpg.format=ssh',
      '-c',
      `gpg.ssh.allowedSignersFile=${this.write('allowed', allowed)}`,
    ];
    if (revoked !== undefined) config.push('-c', `gpg.ssh.revocationFile=${revoked}`);
    return this.try('git', [...git, ...config, 'verify-commit', '-v', id]);
  }

  /** The result of `ssh-keygen -Y verify`. */
  keygenVerify(
    signature: string,
    message: Buffer,
    check: { allowed: string; principal: string; namespace?: string; at?: string },
  ): { ok: boolean; said: string } {
    const { allowed, principal, namespace = 'git', at } = check;
    const files = ['-f', this.write('allowed', allowed), '-s', this.write('signature', signature)];
    const time = at === undefined ? [] : ['-O', `verify-time=${at}`];
    return this.try(
      'ssh-keygen',
      ['-Y', 'verify', '-n', namespace, '-I', principal, ...files, ...time],
      message,
    );
  }
}

const sha256 = (bytes: Buffer | string): Buffer => createHash('sha256').update(bytes).digest();

/** A FIDO security key in software, since tests run without the hardware. */
export class SoftwareSecurityKey {
  readonly type: 'sk-ssh-ed25519@openssh.com' | 'sk-ecdsa-sha2-nistp256@openssh.com';
  readonly blob: Buffer;
  readonly #private: KeyObject;
  readonly #application: string;

  constructor(kind: 'ed25519' | 'ecdsa', application = 'ssh:') {
    const { privateKey, publicKey } =
      kind === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#private = privateKey;
    this.#application = application;
    this.type = kind === 'ed25519' ? 'sk-ssh-ed25519@openssh.com' : 'sk-ecdsa-sha2-nistp256@openssh.com';
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const fields = kind === 'ed25519' ? [spki.subarray(-32)] : ['nistp256', spki.subarray(-65)];
    this.blob = Buffer.concat([this.type, ...fields, application].map(sshString));
  }

  get line(): string {
    return `${this.type} ${this.blob.toString('base64')}`;
  }

  /** PROTOCOL.u2f: the signature in wire form over a message. */
  rawSign(data: Buffer, flags = 1, counter = 7): Buffer {
    const shown = Buffer.concat([sha256(this.#application), Buffer.of(flags), uint32(counter), sha256(data)]);
    return Buffer.concat([
      sshString(this.type),
      sshString(this.#sign(shown)),
      Buffer.of(flags),
      uint32(counter),
    ]);
  }

  #sign(shown: Buffer): Buffer {
    if (this.type === 'sk-ssh-ed25519@openssh.com') return signWithNode(null, shown, this.#private);
    const both = signWithNode('sha256', shown, { key: this.#private, dsaEncoding: 'ieee-p1363' });
    return Buffer.concat([sshMpint(both.subarray(0, 32)), sshMpint(both.subarray(32))]);
  }

  /** An armored SSHSIG; `as` replaces the public key by a certificate for it. */
  sshSign(message: Buffer, { flags = 1, namespace = 'git', as = this.blob } = {}): string {
    const signature = this.rawSign(signedData(namespace, 'sha512', message), flags);
    return armor(buildSshSig({ publicKey: as, namespace, hash: 'sha512', signature }));
  }

  signed(parts: CommitParts = {}, options: { flags?: number; as?: Buffer } = {}): Buffer {
    const unsigned = commit(parts);
    return attached(unsigned, this.sshSign(unsigned, options));
  }
}

/** The code of the SignpipeError that `work` throws, if any; other errors are thrown on. */
export function hasCodeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof SignpipeError) return error.code;
    throw error;
  }
}

/** Random numbers from 0 to below `below`, the same for the same seed (xorshift32). */
export function randomBelow(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
