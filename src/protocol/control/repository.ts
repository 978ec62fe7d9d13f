import { mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { invalid, messageOf, SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import { limitFetch, fetchLimit } from '../../lib/git/fetch-limit.ts';
import { CatFile } from '../../lib/git/cat-file.ts';
import { findGitFolder, requirePlainFiles, requireWholeHistory } from '../../lib/git/find-repository.ts';
import { initRepository } from '../../lib/git/init-repository.ts';
import { Git, GitFailure, type GitOptions, type RunOptions } from '../../lib/git/git.ts';
import { CommitGraph } from '../../lib/git/commit-graph.ts';
import { BRANCHES, otherObjectFormat, parseLsRemote } from '../../lib/git/ls-refs.ts';
import { againAfterRefRace, ifAlone } from '../../lib/git/shared-clone.ts';
import { OBJECT_ID, shortId } from '../../lib/git/objects.ts';
import { buildPack, type NewObject } from '../../lib/git/packfile.ts';
import { printable } from '../../lib/printable.ts';
import {
  branchMap,
  DEFAULT_BRANCHES,
  isBranch,
  requireBranches,
  sameBranches,
  selectHeads,
  type Branches,
  type Heads,
} from './branches.ts';
import { remoteError } from './git-host-errors.ts';

export type { Branches, Heads, MainHeads } from './branches.ts';

const unreadable = (path: string, { stderr }: GitFailure): SignpipeError =>
  invalid('control-damaged', `${printable(path)}: git cannot read it: ${printable(stderr.trim(), 500)}`, {
    hint: 'take a new clone of the control repository',
  });

const unknownCommit = (id: string, cause?: unknown): SignpipeError =>
  usage('request-unknown', `no single commit in the control repository has the id ${id}`, {
    hint: 'was it pushed? Give the whole id',
    cause,
  });

export interface RepositoryOptions extends GitOptions {
  url: string;
  /** Folder of the bare clone; created if missing. */
  path: string;
  branches?: Partial<Branches>;
  /** The most bytes that one fetch may receive; `fetchLimit` unless given. */
  receiveLimit?: number;
  /** Replaces `sshCommand` if git's runs share a connection. */
  ssh?: { readonly command: string; close(): void };
  /** Size of the cache of objects, in bytes. */
  keep?: number;
  /** Only for speed: lists the remote's branches faster than `git ls-remote`. */
  remoteHeads?: { list(): Promise<Map<string, string>>; close(): void };
}

/** How long one fetch may take in all, in milliseconds: one night on a slow line. */
const FETCH_MS = 6 * 60 * 60 * 1000;
/** How long a command may take that fetches a few small objects, in milliseconds. */
const SMALL_MS = 60 * 1000;
/** How often a fetch is compared with what the host lists: a branch may move meanwhile. */
const COMPARISONS = 3;
/** More packs than this are joined. */
const PACK_LIMIT = 50;

/** Size of the cache for a repository that is only read, in bytes: each object is read once, perhaps by several threads. */
const KEEP_READING = 4 * 1024 * 1024;

/** Where our own clones keep the remote's branches. */
const OWN_REFS = 'refs/remote/';
/** Where clones keep branches, in order of preference: a clone of ours, an ordinary clone, a bare repository. */
const KNOWN_REFS = [OWN_REFS, 'refs/remotes/origin/', 'refs/heads/'];

/**
 * Accepts the URL of a control repository: `ssh://`, `host:path`, `file://` or a path. Refuses all others before git
 * sees them, and anything that git would take for an option.
 */
function requireControlUrl(url: string): string {
  const remote = /^(ssh|file):\/\/[^\p{C}\s]+$/u.test(url);
  const scpLike = /^([A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9._-]*:(?![:/]\/)[^\p{C}\s:][^\p{C}\s]*$/u.test(
    url,
  );
  const path = /^[./][^\p{C}]*$/u.test(url);
  if (remote || scpLike || path) return url;
  throw usage('control-url', `control repository "${printable(url, 200)}": not a URL that can be used`, {
    hint: 'give ssh://user@host/path, user@host:path, file:///path or a path',
  });
}

/** What a folder holds while another process is making a clone in it, before `isClone` can tell. */
const BEGUN_CLONE: ReadonlySet<string> = new Set(['refs', 'HEAD', 'HEAD.lock', 'config.lock']);

const isClone = (names: readonly string[]): boolean => names.includes('objects') || names.includes('config');

/**
 * The control repository, through a bare clone of our own: nothing is ever checked out, so nothing in it can run or be
 * followed. The remote's branches are kept under `refs/remote/` and overwritten by each fetch: a rewritten history is
 * fetched too, and `AcceptedHeads` judges it. Nothing is ever pruned, so the old history stays for comparison.
 *
 * A fetch is bounded in bytes and in time. It is not a partial clone (`--filter=blob:limit`): the host may ignore the
 * filter, and each later read of a blob would go back to the host. Large blobs are streamed to disk and never read:
 * sizes are asked before contents.
 */
export class ControlRepository extends CommitGraph {
  /** The heads after the last fetch or push; null before it, and after a failed one. */
  private fetched: Heads | null = null;
  readonly url: string;
  readonly path: string;
  readonly branches: Branches;

  /** The namespace that the branches are read from. */
  private refs = OWN_REFS;
  private readOnly = false;

  private constructor(private readonly options: RepositoryOptions) {
    const { url, path, ssh, keep } = options;
    super(new Git(path, ssh ? { ...options, sshCommand: ssh.command } : options), new CatFile(path, keep));
    this.url = url;
    this.path = path;
    this.branches = requireBranches({ ...DEFAULT_BRANCHES, ...options.branches });
  }

  /** Creates the bare clone, or opens an existing one. Nothing is fetched yet: that is `fetch`. */
  static async open(options: RepositoryOptions): Promise<ControlRepository> {
    const url = requireControlUrl(options.url);
    const repository = new ControlRepository({ ...options, url, path: resolve(options.path) });
    const { path } = repository;
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      const names = await readdir(path);
      if (!isClone(names) && !names.every((each) => BEGUN_CLONE.has(each)))
        throw usage('control-clone-unusable', `${path}: is not empty, and is no Git clone`, {
          hint: 'point `state` at a folder of its own',
        });
      await initRepository(repository.git);
    } catch (cause) {
      if (cause instanceof SignpipeError) throw cause;
      throw usage('control-clone-unusable', `${path}: no Git clone can be kept here: ${messageOf(cause)}`, {
        hint: 'is the folder writable by this account? A broken clone may be deleted: the next run creates it',
        cause,
      });
    }
    return repository;
  }

  /**
   * Opens an existing repository for reading: a bare one, a clone with or without a work tree, or the signer's own.
   * Nothing is fetched or written. Branches are those of the clone's remote if it has one, else its own. The folder's
   * author may be hostile: its configuration runs nothing, missing objects are not fetched, and every object is checked
   * against its id. Throws `control-history-cut` for a shallow or grafted history.
   */
  static async openExisting(folder: string, branches: Partial<Branches> = {}): Promise<ControlRepository> {
    const path = await findGitFolder(folder);
    await requirePlainFiles(path);
    await requireWholeHistory(path);
    const repository = new ControlRepository({ url: path, path, branches, keep: KEEP_READING });
    repository.readOnly = true;
    await repository.chooseRefs().catch((error: unknown) => {
      throw error instanceof GitFailure ? unreadable(path, error) : error;
    });
    return repository;
  }

  /** Chooses the first namespace that has receipts, else the first that has requests. */
  private async chooseRefs(): Promise<void> {
    const { receipts, requests } = this.branches;
    for (const branch of [receipts, requests])
      for (const refs of KNOWN_REFS) {
        this.refs = refs;
        if ((await this.localRefs()).has(branch)) return;
      }
    this.close();
    throw usage(
      'control-no-branches',
      `${printable(this.path)}: it has neither a branch ${requests} nor a branch ${receipts}`,
      { hint: 'is this the control repository? If its branches have other names, name them' },
    );
  }

  /** The command that git runs as ssh, for other repositories on the same host; undefined without an SSH connection. */
  get sshCommand(): string | undefined {
    return this.options.ssh?.command;
  }

  private requireWritable(): void {
    if (this.readOnly)
      throw new SignpipeError(
        'local',
        'control-read-only',
        `${printable(this.path)}: is open for reading only`,
      );
  }

  /** Ends the reading process and closes the connections. */
  close(): void {
    this.objects.close();
    this.options.ssh?.close();
    this.options.remoteHeads?.close();
  }

  /** The remote's branches and the commits they point to; cheap, nothing is fetched. */
  async listRemote(): Promise<Map<string, string>> {
    try {
      if (this.options.remoteHeads) return await this.options.remoteHeads.list();
    } catch (error) {
      // Git itself may still get through, and reports best why not. Errors of host keys and logins are final.
      if (!(error instanceof SignpipeError) || error.code !== 'git-unreachable') throw error;
    }
    const output = await this.remote(['ls-remote', '--heads', '--quiet', this.url]);
    return parseLsRemote(output, BRANCHES, this.url);
  }

  /** The heads of our branches among those of the remote, as `fetch` would see them now. */
  selectHeads(remote: ReadonlyMap<string, string>): Heads {
    return selectHeads(this.branches, remote);
  }

  /**
   * Fetches the remote's branches, even if their history was rewritten, and returns their heads. Each has to be where
   * the host listed it (else `git-branch-elsewhere`): git leaves a branch alone and reports success if it would have
   * to accept a shallow history for it.
   */
  async fetch(signal?: AbortSignal): Promise<Heads> {
    this.requireWritable();
    let wanted = await this.listWanted();
    for (let tries = 1; ; tries += 1) {
      const present = this.fetched ? this.branchMap(this.fetched) : await this.localRefs();
      if (this.fetched && sameBranches(present, wanted)) return this.fetched;
      await this.update(wanted, present, signal);
      const stray = await this.firstStray(wanted);
      if (!stray) return (this.fetched = this.selectHeads(await this.readRefs(wanted.keys())));
      // A branch may have moved on between list and fetch.
      const again = await this.listWanted();
      if (tries === COMPARISONS || sameBranches(again, wanted)) throw stray;
      wanted = again;
    }
  }

  private async listWanted(): Promise<Map<string, string>> {
    return this.branchMap(this.selectHeads(await this.listRemote()));
  }

  /** An error for the first branch that is not where the host listed it. Starts no process. */
  private async firstStray(wanted: ReadonlyMap<string, string>): Promise<SignpipeError | null> {
    for (const [name, listed] of wanted) {
      const here = await this.objects.resolve(`${this.refs}${name}`);
      if (here?.id !== listed) return elsewhere(this.url, name, listed, here?.id);
    }
    return null;
  }

  /** Fetches the branches that differ, and drops those that are gone. */
  private async update(
    wanted: ReadonlyMap<string, string>,
    present: ReadonlyMap<string, string>,
    signal?: AbortSignal,
  ): Promise<void> {
    this.fetched = null;
    for (const name of present.keys()) if (!wanted.has(name)) await this.dropRef(name);
    const changed = [...wanted].filter(([name, id]) => present.get(name) !== id).map(([name]) => name);
    if (changed.length > 0) await this.fetchBranches(changed, signal);
  }

  /** The heads at the last fetch or push. */
  async heads(): Promise<Heads> {
    if (this.fetched) return this.fetched;
    const heads = this.selectHeads(await this.localRefs());
    return this.selectHeads(await this.readRefs(this.branchMap(heads).keys()));
  }

  /** The full id of a commit that a person named by its first digits (at least 7), or whole. */
  async resolveCommit(text: string): Promise<string> {
    if (!/^[0-9a-f]{7,40}$/i.test(text))
      throw usage('request-id', `"${printable(text, 80)}" is not a commit id`, {
        hint: 'give the id that submit printed, or at least its first 7 digits; signpipe status lists the newest',
      });
    try {
      const output = await this.git.run([
        'rev-parse',
        '--verify',
        '--quiet',
        `${text.toLowerCase()}^{commit}`,
      ]);
      const id = output.trim();
      // A branch or a tag of the folder may have such a name, and git would take it first.
      if (id.startsWith(text.toLowerCase())) return id;
      throw unknownCommit(text);
    } catch (cause) {
      throw cause instanceof SignpipeError ? cause : unknownCommit(text, cause);
    }
  }

  /** The commits of these branches in the clone; each must exist. Starts no process. */
  private async readRefs(branches: Iterable<string>): Promise<Map<string, string>> {
    const refs = new Map<string, string>();
    for (const name of branches) {
      const ref = await this.objects.resolve(`${this.refs}${name}`);
      if (ref?.type !== 'commit')
        throw invalid(
          'branch-not-a-commit',
          `${printable(this.url)}: branch ${printable(name)} points to ${shortId(ref?.id ?? 'nothing')}, not a commit`,
        );
      refs.set(name, ref.id);
    }
    return refs;
  }

  private branchMap(heads: Heads): Map<string, string> {
    return branchMap(this.branches, heads);
  }

  private async localRefs(): Promise<Map<string, string>> {
    const output = await this.git.run(['for-each-ref', '--format=%(objectname) %(refname)', this.refs]);
    const lines = output.split('\n').filter((line) => line !== '');
    if (lines.some((line) => line.indexOf(' ') !== 40)) throw otherObjectFormat(this.url);
    return new Map(lines.map((line) => [line.slice(41 + this.refs.length), line.slice(0, 40)]));
  }

  /** Refs below a prefix (`refs/…/`), without it, and their commits, in the order of their names; at most `most`. */
  async refsBelow(prefix: string, most: number): Promise<Map<string, string>> {
    const format = '--format=%(objectname) %(refname)';
    const output = await this.git.run(['for-each-ref', format, `--count=${most}`, prefix]);
    const lines = output.split('\n').filter((line) => line !== '');
    return new Map(lines.map((line) => [line.slice(41 + prefix.length), line.slice(0, 40)]));
  }

  /**
   * Fetches the remote's refs below a prefix, as far as `choose` wants them, into the same refs here, also backwards. Those
   * that are the same here cost nothing. May take a minute at most.
   */
  async fetchRefs(
    prefix: string,
    { choose, limit }: { choose: (names: readonly string[]) => readonly string[]; limit: number },
  ): Promise<void> {
    this.requireWritable();
    const output = await this.remote(['ls-remote', '--quiet', this.url, `${prefix}*`], { totalMs: SMALL_MS });
    const listed = parseLsRemote(output, prefix, this.url);
    const wanted = choose([...listed.keys()]);
    const changed: string[] = [];
    for (const name of wanted) {
      const here = await this.objects.resolve(`${prefix}${name}`);
      if (here?.id !== listed.get(name)) changed.push(`+${prefix}${name}:${prefix}${name}`);
    }
    if (changed.length === 0) return;
    await this.receive(changed, [], { limit, totalMs: SMALL_MS });
  }

  private async dropRef(branch: string): Promise<void> {
    await this.git.run(['update-ref', '-d', `${OWN_REFS}${branch}`]);
  }

  private async fetchBranches(branches: readonly string[], signal?: AbortSignal): Promise<void> {
    const refspecs = branches.map((name) => `+refs/heads/${name}:${OWN_REFS}${name}`);
    const limit = this.options.receiveLimit ?? (await fetchLimit(this.path));
    // Progress is a sign of life: the first fetch of a long history takes longer than any silence may.
    await this.receive(refspecs, ['--progress', '--atomic'], { limit, totalMs: FETCH_MS, signal });
  }

  /** Fetches refs, at most `limit` bytes, and joins packs if there are many: each fetch makes one. */
  private async receive(
    refspecs: readonly string[],
    more: readonly string[],
    { limit, totalMs, signal }: { limit: number; totalMs: number; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const flags = ['--no-tags', '--no-auto-gc', '--no-write-fetch-head', ...more];
    await limitFetch(this.path, { limit, what: printable(this.url), signal }, (stop) =>
      againAfterRefRace(() =>
        this.remote(['fetch', ...flags, this.url, ...refspecs], { signal: stop, totalMs }),
      ),
    );
    await this.maintain();
  }

  private async remote(args: readonly string[], options: RunOptions = {}): Promise<string> {
    try {
      return await this.git.run(args, options);
    } catch (error) {
      // A connection that failed is not used again.
      this.options.ssh?.close();
      throw remoteError(error, this.url);
    }
  }

  /**
   * Joins packs if there are many, the small ones first: a pack larger than all smaller ones together is left alone,
   * so a long history is not written again for a few new commits. Unreachable objects are kept.
   */
  async maintain(limit = PACK_LIMIT): Promise<void> {
    const names = await readdir(join(this.path, 'objects', 'pack'));
    if (names.filter((name) => name.endsWith('.pack')).length <= limit) return;
    await ifAlone(join(this.path, 'repack.lock'), () =>
      this.git.run(['repack', '--geometric=2', '-d', '-q']),
    );
  }

  /** Writes objects into the clone, all or none, checked by fsck's rules and flushed. No branch points to them until they are pushed. */
  async writeObjects(objects: readonly NewObject[]): Promise<void> {
    this.requireWritable();
    await this.git.run(['index-pack', '--stdin', '--strict'], { input: buildPack(objects) });
  }

  /**
   * Moves the remote's branch from `expected` (null: it does not exist) to its descendant `commit`. Never forced: if
   * another writer moved the branch first, the result is `lost-race`, and nothing has changed.
   */
  async push(branch: string, commit: string, expected: string | null): Promise<'pushed' | 'lost-race'> {
    this.requireWritable();
    if (!isBranch(branch) || !OBJECT_ID.test(commit))
      throw usage('control-branch', `"${printable(branch, 200)}" is not a branch that can be pushed to`);
    if (expected !== null && !(await this.isAncestor(expected, commit)))
      throw new SignpipeError(
        'local',
        'push-not-forward',
        `${shortId(commit)} does not come after ${shortId(expected)}`,
      );
    // An empty lease means "must not exist" and forces nothing else: there is nothing to overwrite.
    const lease = expected === null ? [`--force-with-lease=refs/heads/${branch}:`] : [];
    try {
      await this.git.run([
        'push',
        '--porcelain',
        '--no-verify',
        '--no-follow-tags',
        ...lease,
        this.url,
        `${commit}:refs/heads/${branch}`,
      ]);
    } catch (error) {
      if (error instanceof GitFailure && lostRace(error)) return 'lost-race';
      this.options.ssh?.close();
      throw remoteError(error, this.url);
    }
    await this.git.run(['update-ref', `${OWN_REFS}${branch}`, commit]);
    if (this.fetched) this.fetched = this.selectHeads(this.branchMap(this.fetched).set(branch, commit));
    return 'pushed';
  }
}

const elsewhere = (url: string, name: string, listed: string, here: string | undefined): SignpipeError =>
  unavailable(
    'git-branch-elsewhere',
    `${printable(url)}: the host lists branch ${printable(name)} at ${shortId(listed)}, and a fetch leaves it ${here === undefined ? 'missing' : `at ${shortId(here)}`}`,
    {
      hint: 'is the repository on the host shallow (git rev-parse --is-shallow-repository there), or do several machines answer for it?',
    },
  );

/** Whether a push was refused because the branch has moved, by our git or by a server that two writers reached at once. */
function lostRace({ stdout }: GitFailure): boolean {
  return /^!\t[^\t]*\t\[(rejected|remote rejected)\] \((fetch first|non-fast-forward|stale info|needs force|cannot lock ref .*|failed to update ref|incorrect old value provided|reference already exists)/m.test(
    stdout,
  );
}
