import { GitPluginError, simpleGit, type SimpleGit } from 'simple-git';
import { messageOf, SignpipeError, unavailable } from '../errors.ts';
import { GIT_CONFIG, gitEnvironment } from './git-environment.ts';
import { printable } from '../printable.ts';

export interface GitOptions {
  /** What git runs as ssh: `gitSshCommand` of src/ssh/connection.ts. */
  sshCommand?: string;
  /** Give up when git neither ends nor says anything for so long; 60 s unless given. */
  silenceMs?: number;
  /** Give up when a command takes longer than this in all; 10 min unless given. */
  totalMs?: number;
}

export interface RunOptions {
  input?: Buffer;
  signal?: AbortSignal | undefined;
  /** For a command that tells how far it is, and may take longer than others: its time in all. */
  totalMs?: number;
}

/** The most that git, and the host through it, may say besides a result: the progress of many hours, in bytes. */
const CHATTER = 8 * 1024 * 1024;

/** A git process that ended badly: its exit status and what it said. */
export class GitFailure extends Error {
  constructor(
    readonly status: number,
    readonly stdout: string,
    readonly stderr: string,
  ) {
    super(`git ended with status ${status}: ${printable(stderr.trim(), 500)}`);
  }
}

const SSH_BY_DEFAULT = 'ssh -o BatchMode=yes -o StrictHostKeyChecking=yes';

/** Runs git through simple-git on one bare repository, in the environment of git-environment.ts. */
export class Git {
  constructor(
    readonly gitDir: string,
    private readonly options: GitOptions = {},
  ) {}

  /** Standard output of a git command; a bad end is a `GitFailure`, a time limit `git-timeout`. */
  async run(args: readonly string[], { input, signal, totalMs }: RunOptions = {}): Promise<string> {
    const limit = AbortSignal.timeout(this.options.totalMs ?? totalMs ?? 600_000);
    const flood = new AbortController();
    const abort = AbortSignal.any([limit, flood.signal, ...(signal ? [signal] : [])]);
    let failure: GitFailure | null = null;
    // simple-git wraps what it is given here, and takes a failure that says nothing for success.
    const note = (failed: GitFailure): void => {
      failure = failed;
    };
    try {
      const runner = this.runner(abort, input, note);
      runner.outputHandler((_, stdout, stderr) => {
        bound(stderr, flood);
        endAtOnce(stdout);
      });
      return await runner.raw([...args]);
    } catch (error) {
      for (const stopped of [signal, flood.signal]) if (stopped?.aborted) throw stopped.reason;
      if (error instanceof GitPluginError) throw pluginFailure(error, args[0] ?? '');
      throw failure ?? couldNotRun(error, args[0] ?? '');
    }
  }

  private runner(
    abort: AbortSignal,
    input: Buffer | undefined,
    note: (failed: GitFailure) => void,
  ): SimpleGit {
    return simpleGit({
      baseDir: this.gitDir,
      abort,
      // Only when its pipes are closed is all of the output there; the default waits 50 ms after the exit.
      completion: { onClose: true, onExit: false },
      timeout: { block: this.options.silenceMs ?? 60_000 },
      config: [...GIT_CONFIG, `core.sshCommand=${this.options.sshCommand ?? SSH_BY_DEFAULT}`],
      ...(input && { input: () => input }),
      allowEnvironment: Object.keys(gitEnvironment(this.gitDir)),
      // Ours, not the caller's: hooks off, no user configuration, no templates, the pinned ssh.
      unsafe: {
        allowUnsafeHooksPath: true,
        allowUnsafeConfigPaths: true,
        allowUnsafeTemplateDir: true,
        allowUnsafeSshCommand: true,
      },
      errors: (error, { exitCode, stdOut, stdErr }) => {
        if (exitCode === 0) return error;
        const failed = new GitFailure(
          exitCode,
          Buffer.concat(stdOut).toString(),
          Buffer.concat(stdErr).toString(),
        );
        note(failed);
        return error ?? failed;
      },
    }).env(gitEnvironment(this.gitDir));
  }
}

/** Whatever git says is kept, for when it fails. */
function bound(stderr: NodeJS.ReadableStream, flood: AbortController): void {
  let said = 0;
  stderr.on('data', (chunk: Buffer) => {
    said += chunk.length;
    if (said > CHATTER)
      flood.abort(
        unavailable('git-too-large', `the Git host says more than ${CHATTER} bytes, and comes to no end`, {
          hint: "ask the host's operator what became of it",
        }),
      );
  });
}

/** Where git has said nothing by its end, simple-git waits 50 ms more for a word: this is one, of no bytes. */
function endAtOnce(stdout: NodeJS.ReadableStream): void {
  stdout.once('end', () => stdout.emit('data', Buffer.alloc(0)));
}

function pluginFailure(error: GitPluginError, command: string): SignpipeError {
  if (error.plugin !== 'timeout' && error.plugin !== 'abort') return couldNotRun(error, command);
  return unavailable('git-timeout', `git ${command}: gave up waiting`, {
    hint: 'the Git host answers too slowly or not at all; it is tried again at the next poll',
    cause: error,
  });
}

const couldNotRun = (error: unknown, command: string): SignpipeError =>
  new SignpipeError('local', 'git-failed', `git ${command}: ${messageOf(error)}`, {
    hint: 'is git 2.36 or later installed?',
    cause: error,
  });
