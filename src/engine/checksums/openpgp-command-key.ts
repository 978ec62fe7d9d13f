import type { Key } from 'openpgp';
import { cannotStart, CommandRefused, requireSuccess } from '../keys/command/command-answer.ts';
import { inheritedEnvironment } from '../../lib/child-environment.ts';
import { COMMAND_ENVIRONMENT } from '../keys/command/command-key.ts';
import { findKeyProgram } from '../keys/command/find-key-program.ts';
import { runCommand } from '../../lib/command/run-command.ts';
import { retrySigning } from '../keys/retry-signing.ts';
import type { ChecksumKey } from './checksum-key.ts';
import {
  expiryOf,
  fingerprintOf,
  loadOpenPgp,
  readOnlyKey,
  signingPartOf,
  verifiedSignature,
} from './openpgp-keys.ts';

/** In milliseconds: a person may have to touch a card. */
const TIMEOUT = 60_000;

interface OpenPgpCommandSource {
  /** The program and its arguments, such as gpg with `--detach-sign`. */
  readonly command: readonly string[];
  /** The public key that its signatures are verified with, as `gpg --export` writes it. */
  readonly publicKey: string;
  readonly warn: (message: string) => void;
  readonly now: Date;
}

/** Runs the program once; returns what it wrote to standard output. */
async function runOnce(program: string, args: readonly string[], content: Buffer): Promise<string> {
  const outcome = await runCommand({
    program,
    args,
    environment: inheritedEnvironment(COMMAND_ENVIRONMENT),
    input: content.toString('utf8'),
    timeoutMs: TIMEOUT,
    signal: new AbortController().signal,
  }).catch((error: unknown) => {
    throw cannotStart(program, error);
  });
  requireSuccess(outcome, program, TIMEOUT);
  return outcome.answer.toString('latin1');
}

/**
 * A key that another program uses: it reads the checksum file from standard input, and writes an armored detached
 * signature to standard output. It is not run before the first signature. Throws usage errors: those of `findKeyProgram`
 * and of `openpgp-keys.ts`.
 */
export async function openOpenPgpCommandKey({
  command: [name = '', ...args],
  publicKey,
  warn,
  now,
}: OpenPgpCommandSource): Promise<ChecksumKey> {
  const openpgp = await loadOpenPgp();
  const key: Key = await readOnlyKey(openpgp, publicKey);
  const signing = await signingPartOf(key, publicKey, now);
  const program = await findKeyProgram(name, warn);
  let refused: CommandRefused | undefined;
  // eslint-disable-next-line require-await -- a failure is a rejection, not a throw
  const available = async (): Promise<void> => {
    if (refused) throw refused;
  };
  const runUnlessRefused = async (content: Buffer): Promise<string> => {
    await available();
    try {
      return await runOnce(program, args, content);
    } catch (error) {
      if (error instanceof CommandRefused) refused = error;
      throw error;
    }
  };
  return {
    kind: 'openpgp',
    id: fingerprintOf(key),
    expires: await expiryOf(key, signing),
    sign: async (content) => {
      const armored = await retrySigning(() => runUnlessRefused(content), {});
      // Its clock is this machine's, but it counts in whole seconds.
      return verifiedSignature(openpgp, armored, { key, content, what: program, at: new Date() });
    },
    available,
  };
}
