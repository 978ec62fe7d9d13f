import { mkdir, rm } from 'node:fs/promises';
import { unavailable } from '../../lib/errors.ts';
import { Git, GitFailure } from '../../lib/git/git.ts';
import { initRepository } from '../../lib/git/init-repository.ts';
import { parseLsRemote } from '../../lib/git/ls-refs.ts';
import type { GitIdentity } from '../../lib/git/objects.ts';
import { buildPack, type NewObject } from '../../lib/git/packfile.ts';
import { remoteError } from './git-host-errors.ts';
import { buildHeartbeat, HEALTH_REFS } from './heartbeat.ts';
import type { Heartbeat } from './signer-health.ts';
import type { CommitSigner } from './write-commit.ts';

/** How long one command of git may take, in ms. */
const GIT_MS = 30_000;
const MOST_PUSHES = 100;

interface PusherOptions {
  /** URL of the control repository. */
  readonly url: string;
  /** Folder for a bare repository that keeps nothing from one run to the next. */
  readonly path: string;
  /** The command that git runs as ssh. */
  readonly sshCommand: string | undefined;
  /** After how many heartbeats the repository is created again, since nothing in it is needed; 100 unless given. */
  readonly mostPushes?: number;
}

/**
 * Pushes heartbeats. Works in a bare repository of its own: the clone of the control repository stays free of old
 * heartbeats, and no lock of git is shared with the push of a receipt. A shared SSH connection is never ended from here.
 */
export class HeartbeatPusher {
  private readonly git: Git;
  /** Pushes into the repository as it is; null if it has to be created. */
  private pushes: number | null = null;
  /** What the ref points to on the host; null for nothing, undefined if that is unknown. */
  private expected: string | null | undefined;

  constructor(private readonly options: PusherOptions) {
    const { path, sshCommand } = options;
    this.git = new Git(path, { totalMs: GIT_MS, ...(sshCommand === undefined ? {} : { sshCommand }) });
  }

  /** Replaces the heartbeat of a signer on the host. Throws `git-…`. */
  async push(
    content: Heartbeat,
    author: { readonly signer: CommitSigner; readonly identity: GitIdentity },
    signal: AbortSignal,
  ): Promise<void> {
    const { id, objects } = await buildHeartbeat(content, author);
    await this.write(objects, signal);
    const ref = `${HEALTH_REFS}${content.signer}`;
    // A process with the same key, such as the one before a restart, may have replaced it since the last push.
    if (this.expected !== undefined && (await this.replace(ref, this.expected, id, signal))) return;
    const there = await this.ask(ref, signal);
    if (!(await this.replace(ref, there, id, signal)))
      throw unavailable('git-unreachable', `${ref} is replaced by another process all the time`);
  }

  /** False if the ref is not as expected. */
  private async replace(
    ref: string,
    expected: string | null,
    id: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    this.expected = undefined;
    const lease = `--force-with-lease=${ref}:${expected ?? ''}`;
    const flags = ['--porcelain', '--no-verify', '--no-follow-tags', lease];
    try {
      await this.git.run(['push', ...flags, this.options.url, `${id}:${ref}`], { signal });
    } catch (error) {
      if (!(error instanceof GitFailure)) throw error;
      if (error.stdout.includes('(stale info)')) return false;
      throw remoteError(error, this.options.url);
    }
    this.expected = id;
    return true;
  }

  private async ask(ref: string, signal: AbortSignal): Promise<string | null> {
    const { url } = this.options;
    try {
      const output = await this.git.run(['ls-remote', '--quiet', url, ref], { signal });
      return parseLsRemote(output, HEALTH_REFS, url).get(ref.slice(HEALTH_REFS.length)) ?? null;
    } catch (error) {
      throw remoteError(error, url);
    }
  }

  /** Writes objects into the repository. What has spoiled it, such as a full disk, must not last: then it is created again. */
  private async write(objects: readonly NewObject[], signal: AbortSignal): Promise<void> {
    const { mostPushes = MOST_PUSHES } = this.options;
    if (this.pushes === null || this.pushes >= mostPushes) await this.makeRepository();
    const { pushes } = this;
    this.pushes = null;
    await this.git.run(['index-pack', '--stdin', '--strict'], { input: buildPack(objects), signal });
    this.pushes = (pushes ?? 0) + 1;
  }

  private async makeRepository(): Promise<void> {
    const { path } = this.options;
    this.pushes = null;
    await rm(path, { recursive: true, force: true });
    await mkdir(path, { recursive: true, mode: 0o700 });
    await initRepository(this.git);
  }
}
