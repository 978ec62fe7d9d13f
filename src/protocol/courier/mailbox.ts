import { initRepository } from '../../lib/git/init-repository.ts';
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { invalid, SignpipeError, unavailable } from '../../lib/errors.ts';
import { CatFile } from '../../lib/git/cat-file.ts';
import { CommitGraph } from '../../lib/git/commit-graph.ts';
import { limitFetch } from '../../lib/git/fetch-limit.ts';
import { Git, type RunOptions } from '../../lib/git/git.ts';
import { parseLsRemote } from '../../lib/git/ls-refs.ts';
import { objectId, serializeTree, shortId, type Commit, type GitIdentity } from '../../lib/git/objects.ts';
import { RemoteHeads } from '../../lib/git/remote-heads.ts';
import { printable } from '../../lib/printable.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import { SharedSsh } from '../../lib/ssh/shared-ssh.ts';
import { buildPack } from '../../lib/git/packfile.ts';
import { remoteError } from '../control/git-host-errors.ts';
import { buildCommit, type CommitSigner } from '../control/write-commit.ts';
import { BATCH_FILE } from './batch-content.ts';
import {
  batchPath,
  batchRef,
  parseBatchRef,
  TIMESTAMP_REFS,
  type BatchKind,
  type BatchName,
} from './batch-name.ts';

/** The most bytes that one fetch of batches may receive. */
const FETCH_LIMIT = 64 * 1024 * 1024;
/** How long batches are fetched one by one, in ms. */
const FETCH_EACH_MS = 30_000;
const NO_TIME = unavailable('git-timeout', 'git fetch: other batches have taken all the time');
/** How long one command of git may take, in ms: the signer waits a minute, and the host may hang. */
const GIT_MS = 120_000;
/** After how many fetches and pushes the repository is created again: nothing in it is needed for long. */
const MOST_TRANSFERS = 200;

/** A batch on the host. */
export interface ListedBatch {
  readonly name: BatchName;
  readonly commit: string;
}

/** What a fetch got, and why it did not get the rest. */
interface Fetched {
  readonly fetched: readonly ListedBatch[];
  readonly failures: ReadonlyMap<ListedBatch, unknown>;
}

/** The batches on the host, by `batchPath`. */
export type Listing = Readonly<Record<BatchKind, ReadonlyMap<string, ListedBatch>>>;

interface MailboxOptions {
  /** URL of the control repository. */
  readonly url: string;
  /** Folder for a bare repository that keeps nothing from one run to the next. */
  readonly path: string;
  readonly ssh: SshOptions | undefined;
}

interface NewBatch {
  readonly kind: BatchKind;
  readonly name: BatchName;
  readonly content: Buffer;
  readonly identity: GitIdentity;
  readonly at: Date;
  /** Null for an unsigned commit. */
  readonly signer: CommitSigner | null;
}

/**
 * The refs through which a signer and a courier exchange timestamp queries and answers. Each is one commit without
 * parents and with one file. Works in a bare repository of its own, so that none of this gets into the clone of the
 * control repository.
 */
export class Mailbox {
  private transfers = 0;

  private constructor(
    private readonly url: string,
    private readonly git: Git,
    private readonly objects: CatFile,
    private readonly graph: CommitGraph,
    private readonly shared: SharedSsh | null,
    private readonly refs: RemoteHeads | null,
  ) {}

  /** Creates the bare repository; connects at the first use. */
  static async open({ url, path, ssh }: MailboxOptions): Promise<Mailbox> {
    const remote = ssh && url.startsWith('ssh:') ? ssh : null;
    const shared = remote && new SharedSsh(remote, dirname(path));
    const git = new Git(path, { totalMs: GIT_MS, ...(shared && { sshCommand: shared.command }) });
    const objects = new CatFile(path);
    const refs = remote && new RemoteHeads(url, remote, TIMESTAMP_REFS);
    const mailbox = new Mailbox(url, git, objects, new CommitGraph(git, objects), shared, refs);
    await mailbox.create();
    return mailbox;
  }

  /** Empties the repository if it has been used much. The caller makes sure that nothing is under way. */
  async renew(): Promise<void> {
    if (this.transfers >= MOST_TRANSFERS) await this.create();
  }

  private async create(): Promise<void> {
    const { gitDir } = this.git;
    this.objects.close();
    await rm(gitDir, { recursive: true, force: true });
    await mkdir(gitDir, { recursive: true, mode: 0o700 });
    await initRepository(this.git);
    // Only now: after a failure the next call tries again.
    this.transfers = 0;
  }

  close(): void {
    this.objects.close();
    this.shared?.close();
    this.refs?.close();
  }

  /**
   * The batches on the host, of one signer or of all. A signer polls only for its own, so that the refs of others cost it
   * nothing. Refs with other names are ignored.
   */
  async list(signer?: string): Promise<Listing> {
    const listing = { queries: new Map<string, ListedBatch>(), answers: new Map<string, ListedBatch>() };
    for (const [ref, commit] of await this.listRefs(
      signer === undefined ? [''] : [`queries/${signer}/`, `answers/${signer}/`],
    )) {
      const parsed = parseBatchRef(ref);
      if (parsed) listing[parsed.kind].set(batchPath(parsed.name), { name: parsed.name, commit });
    }
    return listing;
  }

  /**
   * Fetches batches that were listed; returns those that it got, and what is wrong with the others: one that is gone,
   * broken or too large does not keep the others away. Throws `usage` errors and alarms, which are about the host.
   */
  async fetch(kind: BatchKind, batches: readonly ListedBatch[]): Promise<Fetched> {
    if (batches.length === 0) return { fetched: [], failures: new Map() };
    const failure = await this.fetchTogether(kind, batches);
    if (!failure) return { fetched: batches, failures: new Map() };
    if (batches.length === 1)
      return { fetched: [], failures: new Map(batches.map((each) => [each, failure])) };
    return this.fetchEach(kind, batches);
  }

  private async fetchEach(kind: BatchKind, batches: readonly ListedBatch[]): Promise<Fetched> {
    const failures = new Map<ListedBatch, unknown>();
    const latest = performance.now() + FETCH_EACH_MS;
    for (const batch of batches) {
      const failure = performance.now() < latest ? await this.fetchTogether(kind, [batch]) : NO_TIME;
      if (failure) failures.set(batch, failure);
    }
    return { fetched: batches.filter((batch) => !failures.has(batch)), failures };
  }

  /** Resolves to the error, if it may be about one of these batches. */
  private async fetchTogether(kind: BatchKind, batches: readonly ListedBatch[]): Promise<Error | null> {
    this.transfers += 1;
    const refs = batches.map(({ name }) => batchRef(kind, name));
    const flags = ['--no-tags', '--no-auto-gc', '--no-write-fetch-head'];
    const limits = { limit: FETCH_LIMIT, what: printable(this.url) };
    try {
      await limitFetch(this.git.gitDir, limits, (signal) =>
        // Without references of their own, what was fetched is forgotten by `renew`.
        this.remote(['fetch', ...flags, this.url, ...refs], { signal }),
      );
      return null;
    } catch (error) {
      if (!(error instanceof SignpipeError) || error.kind === 'usage' || error.kind === 'alarm') throw error;
      return error;
    }
  }

  /**
   * Reads a batch that was fetched, as it was listed. Throws `courier-batch-malformed` unless its commit has no parents
   * and one file, and `object-…`.
   */
  async read(kind: BatchKind, { commit: id }: ListedBatch): Promise<{ commit: Commit; content: Buffer }> {
    const { name, limit } = BATCH_FILE[kind];
    const commit = await this.graph.readCommit(id);
    const [entry, ...more] = await this.graph.readTree(commit.tree);
    if (commit.parents.length > 0 || entry?.name !== name || more.length > 0)
      throw invalid(
        'courier-batch-malformed',
        `commit ${shortId(id)}: is not one file ${name} without history`,
      );
    return { commit, content: await this.graph.readEntry(entry, name, limit) };
  }

  /** Pushes a new batch. Throws `git-…` if it exists, or the host refuses it. */
  async publish({ kind, name, content, identity, at, signer }: NewBatch): Promise<void> {
    const ref = batchRef(kind, name);
    const blob = objectId('blob', content);
    const tree = serializeTree([{ mode: '100644', name: BATCH_FILE[kind].name, id: blob }]);
    const message = kind === 'queries' ? 'Timestamp queries\n' : 'Timestamp answers\n';
    const commit = await buildCommit(
      { tree: objectId('tree', tree), parents: [], identity, at, message },
      signer,
    );
    const pack = buildPack([
      { type: 'blob', content },
      { type: 'tree', content: tree },
      { type: 'commit', content: commit },
    ]);
    this.transfers += 1;
    await this.git.run(['index-pack', '--stdin', '--strict'], { input: pack });
    await this.push([`--force-with-lease=${ref}:`, this.url, `${objectId('commit', commit)}:${ref}`]);
  }

  /** Removes batches from the host. */
  async remove(batches: readonly { readonly kind: BatchKind; readonly name: BatchName }[]): Promise<void> {
    if (batches.length === 0) return;
    await this.push([this.url, ...batches.map(({ kind, name }) => `:${batchRef(kind, name)}`)]);
  }

  private async push(args: readonly string[]): Promise<void> {
    await this.remote(['push', '--porcelain', '--no-verify', '--no-follow-tags', ...args]);
  }

  private async listRefs(below: readonly string[]): Promise<Map<string, string>> {
    try {
      if (this.refs) return await this.refs.list(below);
    } catch (error) {
      // Git itself may still get through, and reports best why not.
      if (!(error instanceof SignpipeError) || error.code !== 'git-unreachable') throw error;
    }
    const output = await this.remote([
      'ls-remote',
      '--quiet',
      this.url,
      ...below.map((each) => `${TIMESTAMP_REFS}${each}*`),
    ]);
    return parseLsRemote(output, TIMESTAMP_REFS, this.url);
  }

  private async remote(args: readonly string[], options: RunOptions = {}): Promise<string> {
    try {
      return await this.git.run(args, options);
    } catch (error) {
      this.shared?.close();
      throw remoteError(error, this.url);
    }
  }
}
