import type { DigestName } from '../../../lib/asn1/oids.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { readCertificates } from '../certificate-file.ts';
import { externalKey, type ExternalSigner } from '../external-key.ts';
import { retrySigning } from '../retry-signing.ts';
import { algorithmOf, keyClosed, type SigningKey } from '../signing-key.ts';
import type { ExternalKeySettings } from '../uri-key-options.ts';
import { cannotStart, CommandRefused, parseAnswer, requireSuccess } from './command-answer.ts';
import { findKeyProgram } from './find-key-program.ts';
import { inheritedEnvironment } from '../../../lib/child-environment.ts';
import { leafOf } from '../leaf-certificate.ts';
import { runCommand } from '../../../lib/command/run-command.ts';

/** In milliseconds: a person may have to touch a token. */
const TIMEOUT = 60_000;

/** The variables that every command gets besides those of `inheritedEnvironment`: none of them holds a secret. */
export const COMMAND_ENVIRONMENT = ['LANG', 'LC_ALL', 'XDG_RUNTIME_DIR', 'SSH_AUTH_SOCK', 'GNUPGHOME'];

export interface CommandKeyOptions extends ExternalKeySettings {
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** The file with the certificate of the key, and its chain. */
  readonly certificate: string;
  readonly warn: (message: string) => void;
}

interface CommandSignerOptions {
  /** An absolute path. */
  readonly program: string;
  readonly args: readonly string[];
  readonly leaf: Certificate;
  readonly environment: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
  readonly concurrency: number;
}

/** Runs a program for each signature. */
class CommandSigner implements ExternalSigner {
  readonly concurrency: number;
  private readonly closing = new AbortController();
  private readonly running = new Set<Promise<unknown>>();
  private refused: CommandRefused | undefined;

  constructor(private readonly options: CommandSignerOptions) {
    this.concurrency = options.concurrency;
  }

  async signDigest(hash: DigestName, digest: Buffer): Promise<{ readonly value: Buffer }> {
    const { signal } = this.closing;
    const value = await retrySigning(() => this.track(this.attempt(hash, digest)), { signal });
    return { value };
  }

  async close(): Promise<void> {
    this.closing.abort(keyClosed());
    await Promise.allSettled(this.running);
  }

  private async attempt(hash: DigestName, digest: Buffer): Promise<Buffer> {
    if (this.refused) throw this.refused;
    const { program, args, leaf, environment, timeoutMs } = this.options;
    const outcome = await runCommand({
      program,
      args,
      environment: { ...environment, SIGNPIPE_DIGEST_ALGORITHM: hash },
      input: `${digest.toString('hex')}\n`,
      timeoutMs,
      signal: this.closing.signal,
    }).catch((error: unknown) => {
      throw cannotStart(program, error);
    });
    try {
      requireSuccess(outcome, program, timeoutMs);
    } catch (error) {
      if (error instanceof CommandRefused) this.refused = error;
      throw error;
    }
    return parseAnswer(outcome.answer, leaf, program);
  }

  private async track<T>(attempt: Promise<T>): Promise<T> {
    this.running.add(attempt);
    try {
      return await attempt;
    } finally {
      this.running.delete(attempt);
    }
  }
}

/**
 * Opens a key that a program uses: docs/keys.md has the contract with the program. It is not run before the first
 * signature. Throws usage errors: those of `readCertificates`, `findKeyProgram` and `leafOf`, `key-unsupported`,
 * `key-too-weak`.
 */
export async function openCommandKey({
  command: [program = '', ...args],
  certificate,
  commandEnvironment = [],
  concurrency = 1,
  keyTimeout: timeoutMs = TIMEOUT,
  warn,
}: CommandKeyOptions): Promise<SigningKey> {
  const certificates = await readCertificates(certificate);
  const leaf = leafOf(certificates, certificate);
  const environment = {
    ...inheritedEnvironment([...COMMAND_ENVIRONMENT, ...commandEnvironment]),
    SIGNPIPE_KEY_TYPE: algorithmOf(leaf.publicKey, certificate),
  };
  const path = await findKeyProgram(program, warn);
  return externalKey(new CommandSigner({ program: path, args, leaf, environment, timeoutMs, concurrency }), {
    leaf,
    others: certificates,
    what: certificate,
  });
}
