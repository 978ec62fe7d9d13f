import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { inheritedEnvironment } from '../../../lib/child-environment.ts';
import type { SignpipeError } from '../../../lib/errors.ts';
import { KeyUnavailable } from '../signing-key.ts';
import { callError } from './call-errors.ts';
import {
  PARENT_VARIABLE,
  type CallArgument,
  type CallMessage,
  type CallName,
  type CallResult,
  type ModuleInfo,
  type ReplyMessage,
} from './module-calls.ts';

/** Compiled beside the program; from source the TypeScript, which the loaders among Node's arguments can read. */
const COMPILED = import.meta.url.endsWith('.js');
const SCRIPT = fileURLToPath(
  new URL(COMPILED ? './pkcs11-module.js' : './module-script.ts', import.meta.url),
);

/** Variables that modules need besides those of `inheritedEnvironment`; secrets are in none of them. */
const VARIABLES = (
  'LANG LC_ALL LC_CTYPE TZ TEMP SystemRoot XDG_RUNTIME_DIR XDG_CONFIG_HOME ' +
  'SOFTHSM2_CONF OPENSC_CONF P11_KIT_SERVER_ADDRESS YUBIHSM_PKCS11_CONF ChrystokiConfigurationPath'
).split(' ');

/** The longest time for a call of the module unless configured, in ms. */
export const CALL_MS = 30_000;
/** How long the module may take to log out, in ms. */
const CLOSE_MS = 2000;

export interface ModuleProcessOptions {
  /** The path of the module. */
  readonly path: string;
  /** The longest time for a call unless the call names another one, in ms. */
  readonly callMs: number;
  /** Names of variables that the module gets besides the usual ones. */
  readonly environment: readonly string[];
  /** How many calls of `sign` are to run at the same time. */
  readonly threads: number;
}

interface PendingCall {
  readonly resolve: (result: never) => void;
  readonly reject: (error: SignpipeError) => void;
  readonly timer: NodeJS.Timeout;
}

function environmentOf({ environment, threads }: ModuleProcessOptions): NodeJS.ProcessEnv {
  const given = inheritedEnvironment([...VARIABLES, ...environment]);
  return {
    ...given,
    [PARENT_VARIABLE]: String(process.pid),
    // Node signs on four threads unless told otherwise.
    UV_THREADPOOL_SIZE: String(Math.max(4, threads)),
  };
}

/** Starts the script without core dumps, which would hold the PIN: the limit is inherited, and only a shell sets it. */
function start(options: ModuleProcessOptions): ChildProcess {
  const node = [process.execPath, ...(COMPILED ? [] : process.execArgv), SCRIPT] as const;
  const [command, ...args] =
    process.platform === 'win32'
      ? node
      : (['/bin/sh', '-c', 'ulimit -c 0; exec "$0" "$@"', ...node] as const);
  return spawn(command, args, {
    env: environmentOf(options),
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    serialization: 'advanced',
  });
}

/**
 * A process with a PKCS#11 module in it. A call that takes too long ends the process, since nothing else ends a call of
 * a module; then this and all later calls throw `KeyUnavailable`, and the caller starts another process.
 */
export class ModuleProcess {
  private readonly pending = new Map<number, PendingCall>();
  private calls = 0;
  private lost: SignpipeError | undefined;

  private constructor(
    private readonly child: ChildProcess,
    private readonly options: ModuleProcessOptions,
  ) {
    child.on('message', (reply: ReplyMessage) => this.settle(reply));
    child.on('error', (error) => this.lose(this.ended(error.message)));
    child.on('exit', (status, signal) => this.lose(this.ended(signal ?? `exit status ${status}`)));
    this.rest();
  }

  /** Starts a process and loads the module into it. Throws what `callError` maps errors of `load` to. */
  static async start(options: ModuleProcessOptions): Promise<{ process: ModuleProcess; info: ModuleInfo }> {
    const process = new ModuleProcess(start(options), options);
    try {
      return { process, info: await process.call('load', options.path) };
    } catch (error) {
      process.kill();
      throw error;
    }
  }

  /** Whether calls can still succeed. */
  get alive(): boolean {
    return this.lost === undefined;
  }

  /** Calls the module. Throws what `callError` maps its errors to, `token-process` and `token-hangs`. */
  call<N extends CallName>(
    name: N,
    argument: CallArgument<N>,
    limitMs = this.options.callMs,
  ): Promise<CallResult<N>> {
    return new Promise((resolve, reject) => {
      if (this.lost) {
        reject(this.lost);
        return;
      }
      this.calls += 1;
      const id = this.calls;
      const timer = setTimeout(() => this.lose(this.hangs(limitMs)), limitMs);
      this.pending.set(id, { resolve, reject, timer });
      this.child.ref();
      this.child.channel?.ref();
      const message: CallMessage = { id, name, argument };
      this.child.send(message, (error) => {
        if (error) this.lose(this.ended(error.message));
      });
    });
  }

  /** Logs out and ends the process. */
  async close(): Promise<void> {
    if (!this.alive) return;
    const exited = once(this.child, 'exit');
    await this.call('close', undefined, CLOSE_MS).catch(() => {}); // It is ended in any case.
    this.kill();
    this.child.ref();
    await exited;
  }

  /** Ends the process at once. */
  kill(): void {
    this.lose(this.ended('it was ended'));
  }

  private settle(reply: ReplyMessage): void {
    const call = this.pending.get(reply.id);
    if (!call) return;
    this.pending.delete(reply.id);
    clearTimeout(call.timer);
    if (this.pending.size === 0) this.rest();
    if ('result' in reply) call.resolve(reply.result as never);
    else call.reject(callError(reply.fault, this.options.path));
  }

  /** Without calls, it does not keep this process running. */
  private rest(): void {
    this.child.unref();
    this.child.channel?.unref();
  }

  private lose(error: SignpipeError): void {
    this.lost ??= error;
    this.child.kill('SIGKILL');
    this.rest();
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.pending.clear();
  }

  private ended(how: string): SignpipeError {
    return new KeyUnavailable(
      'token-process',
      `${this.options.path}: the process with the PKCS#11 module ended: ${how}`,
      {
        hint: 'it is started again when the key is used next; if it ends each time, the module is broken or is not for this machine',
      },
    );
  }

  private hangs(ms: number): SignpipeError {
    return new KeyUnavailable(
      'token-hangs',
      `${this.options.path}: the PKCS#11 module did not answer within ${ms / 1000} s`,
      {
        hint: 'look at the token and its connection; it is tried again when the key is used next. If it is only slow, raise x-timeout in the URI',
      },
    );
  }
}
