import { GitPluginError, simpleGit, type SimpleGit } from 'simple-git';
import { messageOf, SignpipeError, unavailable } from '../errors.ts';
import { GIT_CONFIG, gitEnvironment } from './git-environment.ts';
import { printable } from '../printable.ts';

export interface GitOptions {
  /** The command that git runs as ssh: `gitSshCommand` of lib/ssh/git-ssh-command.ts. */
  sshCommand?: string;
  /** Give up if git neither ends nor prints anything for this time, in ms; 60 s unless given. */
  silenceMs?: number;
  /** Give up if a command takes longer than this in all, in ms; 10 min unless given. */
  totalMs?: number;
  /** Called when git prints something, such as its progress. */
  onOutput?: () => void;
}

export interface RunOptions {
  input?: Buffer;
  signal?: AbortSignal | undefined;
  /** The time limit, in ms, of a command that reports progress and may take longer than others. */
  totalMs?: number;
}

/** The most that git and the host may print to standard error, in bytes: the progress of many hours. */
const STDERR_LIMIT = 8 * 1024 * 1024;

/** A git process that failed: its exit status and its output. */
export class GitFailure extends Error {
  constructor(
    readonly status: number,
    readonly stdout: string,
    readonly stderr: string,
  ) {
    super(`git ended with status ${status}: ${printable(stderr.trim(), 500)}`);
  }
}

/** How often a command is run if another process repacks the same repository meanwhile. */
const REPACK_TRIES = 4;

/** Whether git opened a pack under the temporary name that `git repack` gives it, and that is gone now. */
const isRepackRace = (error: unknown): boolean =>
  error instanceof GitFailure &&
  /\.tmp-\d+-pack-[0-9a-f]+\.pack (?:index unavailable|cannot be accessed)/.test(error.stderr);

const SSH_BY_DEFAULT = 'ssh -o BatchMode=yes -o StrictHostKeyChecking=yes';

/** Runs git through simple-git on one bare repository, in the environment of git-environment.ts. */
export class Git {
  constructor(
    readonly gitDir: string,
    private readonly options: GitOptions = {},
  ) {}

  /** Runs a git command and returns its standard output. Throws a `GitFailure` if it fails, `git-timeout` after a time limit. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<string> {
    for (let tries = 1; ; tries += 1)
      try {
        return await this.runOnce(args, options);
      } catch (error) {
        if (tries === REPACK_TRIES || !isRepackRace(error)) throw error;
      }
  }

  private async runOnce(
    args: readonly string[],
    { input, signal, totalMs }: RunOptions = {},
  ): Promise<string> {
    const limit = AbortSignal.timeout(this.options.totalMs ?? totalMs ?? 600_000);
    const flood = new AbortController();
    const abort = AbortSignal.any([limit, flood.signal, ...(signal ? [signal] : [])]);
    let failure: GitFailure | null = null;
    // simple-git wraps this error, and treats a failure without output as success.
    const note = (failed: GitFailure): void => {
      failure = failed;
    };
    try {
      const runner = this.runner(abort, input, note);
      runner.outputHandler((_, stdout, stderr) => {
        limitOutput(stderr, flood);
        if (this.options.onOutput) stderr.on('data', this.options.onOutput);
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
      // All output has arrived only when the pipes are closed; the default waits 50 ms after the exit.
      completion: { onClose: true, onExit: false },
      timeout: { block: this.options.silenceMs ?? 60_000 },
      config: [...GIT_CONFIG, `core.sshCommand=${this.options.sshCommand ?? SSH_BY_DEFAULT}`],
      ...(input && { input: () => input }),
      allowEnvironment: Object.keys(gitEnvironment(this.gitDir)),
      // These settings are fixed here: hooks off, no user configuration, no templates, the pinned ssh.
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

/** Limits standard error, which is kept in memory for error messages. */
function limitOutput(stderr: NodeJS.ReadableStream, flood: AbortController): void {
  let length = 0;
  stderr.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > STDERR_LIMIT)
      flood.abort(
        unavailable('git-too-large', `the Git host prints more than ${STDERR_LIMIT} bytes of messages`, {
          hint: "ask the host's operator what is wrong with it",
        }),
      );
  });
}

/** Only for speed: if git has printed nothing when it ends, simple-git waits 50 ms for output. An empty chunk ends that. */
function endAtOnce(stdout: NodeJS.ReadableStream): void {
  stdout.once('end', () => stdout.emit('data', Buffer.alloc(0)));
}

function pluginFailure(error: GitPluginError, command: string): SignpipeError {
  if (error.plugin !== 'timeout' && error.plugin !== 'abort') return couldNotRun(error, command);
  return unavailable('git-timeout', `git ${command}: gave up waiting`, {
    hint: 'the Git host answers too slowly or not at all; try again later',
    cause: error,
  });
}

const couldNotRun = (error: unknown, command: string): SignpipeError =>
  new SignpipeError('local', 'git-failed', `git ${command}: ${messageOf(error)}`, {
    hint: 'is git 2.36 or later installed?',
    cause: error,
  });
