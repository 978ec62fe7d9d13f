/** What the owner of the Git host and the exchange can do: make any commit, branch and file. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createZip } from '../../src/lib/zip/create-zip.ts';
import { sha256Hex } from '../../src/lib/bytes/hash.ts';
import { buildPe, filler } from '../fixtures/pe.ts';
import type { Receipt } from '../../src/protocol/control/receipt-schema.ts';
import { gitEnvironment, startWorld, type World } from './site.ts';
import { makeKey } from './sshd.ts';

const run = promisify(execFile);

/** A file of a commit: its content, an entry for `git update-index --cacheinfo`, or null to remove it. */
export type CommitFile = string | Buffer | { mode: string; id: string } | null;

export interface CommitOptions {
  /** Changed files; all others are as in the first parent. */
  files?: Record<string, CommitFile>;
  message?: string;
  /** Parents; the branch's tip unless given. */
  parents?: readonly string[];
  /** The private key that signs; null for an unsigned commit; the builder's unless given. */
  key?: string | null;
  author?: string;
  /** Author's and committer's time, in a form that git reads. */
  date?: string;
  /** `-c` settings. */
  settings?: readonly string[];
  /** The branch to set to the commit, fast-forward or not; null for none; `main` unless given. */
  branch?: string | null;
}

/** The Git host's owner, who works in the bare repository itself, without hooks or permission. */
export class Hostile {
  private counter = 0;

  constructor(readonly world: World) {}

  async git(args: readonly string[], env: NodeJS.ProcessEnv = {}, input?: Buffer): Promise<string> {
    const underway = run('git', ['-C', this.world.control, ...args], {
      env: { ...gitEnvironment(), ...env },
      maxBuffer: 64 * 2 ** 20,
      encoding: 'latin1',
    });
    underway.child.stdin?.end(input);
    return (await underway).stdout.trim();
  }

  /** The head of a branch, or null. */
  tip(branch = 'main'): Promise<string | null> {
    return this.git(['rev-parse', '--verify', '--quiet', `refs/heads/${branch}`]).catch(() => null);
  }

  /** Sets a branch to any commit; null deletes it. */
  async set(branch: string, commit: string | null): Promise<void> {
    const ref = `refs/heads/${branch}`;
    await this.git(commit === null ? ['update-ref', '-d', ref] : ['update-ref', ref, commit]);
  }

  blob(content: string | Buffer): Promise<string> {
    return this.git(['hash-object', '-w', '--stdin'], {}, Buffer.from(content));
  }

  /** Makes any commit, with git's plumbing commands. */
  async commit(options: CommitOptions = {}): Promise<string> {
    const { branch = 'main', message = 'Sign it', files = {}, settings = [] } = options;
    const tip = branch === null ? null : await this.tip(branch);
    const parents = options.parents ?? (tip === null ? [] : [tip]);
    const tree = await this.tree(parents[0] ?? null, files);
    const key = options.key === undefined ? this.world.at('keys', 'builder_ed25519') : options.key;
    const id = await this.git(
      [
        ...['-c', 'gpg.format=ssh', ...(key === null ? [] : ['-c', `user.signingkey=${key}`])],
        ...settings.flatMap((each) => ['-c', each]),
        'commit-tree',
        ...(key === null ? [] : ['-S']),
        ...parents.flatMap((parent) => ['-p', parent]),
        tree,
      ],
      this.people(options),
      Buffer.from(message),
    );
    if (branch !== null) await this.set(branch, id);
    return id;
  }

  private people({ author = 'By Hand', date }: CommitOptions): NodeJS.ProcessEnv {
    return {
      GIT_AUTHOR_NAME: author,
      GIT_AUTHOR_EMAIL: 'hand@example.org',
      GIT_COMMITTER_NAME: author,
      GIT_COMMITTER_EMAIL: 'hand@example.org',
      ...(date === undefined ? {} : { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date }),
    };
  }

  private async tree(parent: string | null, files: Record<string, CommitFile>): Promise<string> {
    const index = { GIT_INDEX_FILE: this.world.at(`index-${(this.counter += 1)}`) };
    await this.git(['read-tree', ...(parent === null ? ['--empty'] : [parent])], index);
    for (const [name, file] of Object.entries(files)) {
      if (file === null) {
        await this.git(
          ['update-index', '--index-info'],
          index,
          Buffer.from(`0 ${'0'.repeat(40)}\t${name}\n`),
        );
        continue;
      }
      const { mode, id } =
        typeof file === 'string' || Buffer.isBuffer(file)
          ? { mode: '100644', id: await this.blob(file) }
          : file;
      await this.git(['update-index', '--add', '--cacheinfo', `${mode},${id},${name}`], index);
    }
    const tree = await this.git(['write-tree', '--missing-ok'], index);
    await rm(index.GIT_INDEX_FILE);
    return tree;
  }

  /** Writes a commit object with exactly these bytes. */
  async raw(commit: string | Buffer, branch: string | null = 'main'): Promise<string> {
    const id = await this.git(
      ['hash-object', '-w', '-t', 'commit', '--literally', '--stdin'],
      {},
      Buffer.from(commit),
    );
    if (branch !== null) await this.set(branch, id);
    return id;
  }

  /** The bytes of a commit object, as latin1. */
  show(commit: string): Promise<string> {
    return this.git(['cat-file', 'commit', commit]).then((text) => `${text}\n`);
  }

  /** Uploads a release and requests it, pinned and signed by the builder unless the options differ. */
  async request(name: string, options: CommitOptions = {}): Promise<string> {
    const line = await this.release(name);
    return this.commit({ ...options, files: { zipname: line, ...options.files } });
  }

  /** Polls once, and asserts that this request is signed. */
  async signs(request: string): Promise<void> {
    await this.world.poll();
    const { outcome, reason } = await receiptFor(this.world, request);
    assert.equal(outcome, 'signed', reason?.message);
  }

  /** Uploads a zip with one small program; returns its line for `zipname`. Each seed gives other bytes. */
  async release(name: string, seed = (this.counter += 1)): Promise<string> {
    const bytes = await this.zip(seed);
    const place = this.world.exchange('incoming', name);
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, bytes);
    return `${sha256Hex(bytes)}  ${name}\n`;
  }

  /** A zip with one small program in it. */
  async zip(seed: number): Promise<Buffer> {
    const folder = this.world.at(`zip-${seed}`);
    await mkdir(folder, { recursive: true });
    const program = buildPe({ sections: [{ name: '.text', data: filler(2000, seed) }] });
    await writeFile(join(folder, 'app.exe'), program);
    await writeFile(join(folder, 'README.txt'), `release ${seed}\n`);
    const names = ['app.exe', 'README.txt'];
    await createZip(
      names.map((each) => ({ path: join(folder, each), name: each })),
      join(folder, 'it.zip'),
    );
    const bytes = await readFile(join(folder, 'it.zip'));
    await rm(folder, { recursive: true });
    return bytes;
  }

  /** Makes another key pair: the private key's path and the public line. */
  async key(name: string): Promise<{ path: string; line: string }> {
    const path = this.world.at('keys', name);
    return { path, line: await makeKey(path) };
  }

  /** Replaces the allowed signers. */
  allow(...lines: string[]): Promise<void> {
    return writeFile(this.world.at('keys', 'allowed_signers'), lines.map((line) => `${line}\n`).join(''));
  }

  /** The builder's line for the allowed signers. */
  async builderLine(): Promise<string> {
    const line = (await readFile(this.world.at('keys', 'builder_ed25519.pub'), 'utf8')).trim();
    return `builder@sandbox namespaces="git" ${line}`;
  }
}

/** A world without SSH, which is faster, and its hostile Git host, for all tests of one file. */
export async function startHostile(): Promise<{ readonly world: World; readonly host: Hostile }> {
  const world = await startWorld({ ssh: false });
  return { world, host: new Hostile(world) };
}

/** The commits of all receipts on the branch that answer a request, oldest first. */
export async function receiptCommits(world: World, request: string): Promise<string[]> {
  const history = world.git('rev-list', '--first-parent', '--reverse', '--parents', 'signed');
  const lines = (await history.catch(() => '')).split('\n').map((line) => line.split(' '));
  return lines.flatMap(([commit = '', , second]) => (second === request ? [commit] : []));
}

/** Every receipt on the branch that answers a request, oldest first. */
export async function receiptsFor(world: World, request: string): Promise<Receipt[]> {
  const texts = (await receiptCommits(world, request)).map((id) => world.git('show', `${id}:receipt.json`));
  return (await Promise.all(texts)).map((text) => JSON.parse(text) as Receipt);
}

/** The only receipt that answers a request; throws if there is none, or several. */
export async function receiptFor(world: World, request: string): Promise<Receipt> {
  const [only, ...more] = await receiptsFor(world, request);
  if (!only || more.length > 0)
    throw new Error(`request ${request} has ${only ? more.length + 1 : 0} receipts`);
  return only;
}
