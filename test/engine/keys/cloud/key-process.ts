import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { DigestName } from '../../../../src/lib/asn1/oids.ts';
import type { KeySettings } from '../../../../src/engine/keys/open.ts';
import type { KeySignature, SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { Certificate } from '../../../../src/lib/x509/certificate.ts';

/** What the child is asked to do. */
export type KeyTask =
  | { readonly op: 'open'; readonly settings: KeySettings }
  | { readonly op: 'sign'; readonly key: number; readonly hash: DigestName; readonly data: Buffer }
  | { readonly op: 'available' | 'close'; readonly key: number };

/** An error of the child. */
export interface KeyFailure {
  readonly code: string;
  readonly kind: string;
  readonly message: string;
  readonly hint: string;
  readonly retryAfterMs: number | undefined;
  /** Everything that a log could show of it. */
  readonly whole: string;
}

/** What the child answers. */
export type KeyOutcome =
  | { readonly failure: KeyFailure }
  | {
      readonly key: number;
      readonly algorithm: 'rsa' | 'ecdsa';
      readonly concurrency: number;
      readonly chain: readonly Buffer[];
    }
  | { readonly value: Buffer };

/**
 * A process that opens keys and signs with them. It has an environment of its own, with nothing but what a test gives it,
 * because SDKs read credentials, endpoints and certificate authorities from there, the last only when Node starts.
 */
export class KeyProcess {
  private readonly waiting = new Map<number, (outcome: KeyOutcome) => void>();
  private tasks = 0;
  /** What it has printed. */
  output = '';

  private constructor(private readonly child: ChildProcess) {
    child.on('message', ({ id, outcome }: { id: number; outcome: KeyOutcome }) => {
      this.waiting.get(id)?.(outcome);
      this.waiting.delete(id);
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
  }

  static start(environment: Readonly<Record<string, string>>): KeyProcess {
    const { PATH = '' } = process.env;
    return new KeyProcess(
      fork(fileURLToPath(new URL('key-child.ts', import.meta.url)), {
        execArgv: ['--import', 'tsx'],
        env: { PATH, HOME: '/nonexistent', ...environment },
        serialization: 'advanced',
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      }),
    );
  }

  /** Starts a process for `use`, and stops it afterwards. */
  static async with<T>(
    environment: Readonly<Record<string, string>>,
    use: (process: KeyProcess) => Promise<T>,
  ): Promise<T> {
    const started = KeyProcess.start(environment);
    try {
      return await use(started);
    } finally {
      await started.stop();
    }
  }

  /** Opens a key. Errors are `KeyFailure`s, thrown as properties of an Error. */
  async open(settings: KeySettings): Promise<SigningKey> {
    const opened = await this.ask({ op: 'open', settings });
    if (!('key' in opened)) throw new Error('the child has opened no key');
    const { key, algorithm, concurrency, chain } = opened;
    const certificates = chain.map((der) => Certificate.parse(Buffer.from(der), 'chain'));
    return {
      algorithm,
      concurrency,
      certificates,
      sign: async (hash, data): Promise<KeySignature> => {
        const signed = await this.ask({ op: 'sign', key, hash, data });
        return { value: Buffer.from('value' in signed ? signed.value : []), certificates };
      },
      available: async () => void (await this.ask({ op: 'available', key })),
      close: async () => void (await this.ask({ op: 'close', key })),
    };
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.disconnect();
    await ended;
  }

  private async ask(task: KeyTask): Promise<KeyOutcome> {
    const id = (this.tasks += 1);
    const answer = new Promise<KeyOutcome>((resolve) => this.waiting.set(id, resolve));
    this.child.send({ id, task });
    const outcome = await answer;
    if ('failure' in outcome) throw Object.assign(new Error(outcome.failure.message), outcome.failure);
    return outcome;
  }
}
