/** What `KeyProcess` runs: opens keys and signs, as it is told by messages. Ends when its parent does. */
import { inspect } from 'node:util';
import { describeKey, openSigningKey } from '../../../../src/engine/keys/open.ts';
import { KeyUnavailable, type SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import type { KeyFailure, KeyOutcome, KeyTask } from './key-process.ts';

const keys: SigningKey[] = [];

async function perform(task: KeyTask): Promise<KeyOutcome> {
  if (task.op === 'open') {
    const key = await openSigningKey(describeKey(task.settings), { warn: () => undefined });
    const { algorithm, concurrency = 0, certificates } = key;
    return { key: keys.push(key) - 1, algorithm, concurrency, chain: certificates.map(({ raw }) => raw) };
  }
  const key = keys[task.key];
  if (task.op === 'sign' && key) return { value: (await key.sign(task.hash, Buffer.from(task.data))).value };
  if (task.op === 'close') await key?.close();
  if (task.op === 'available') await key?.available?.();
  return { value: Buffer.alloc(0) };
}

function failureOf(error: unknown): KeyFailure {
  const whole = inspect(error, { depth: 12, showHidden: true });
  if (!(error instanceof SignpipeError))
    return { code: 'bug', kind: 'bug', message: whole, hint: '', retryAfterMs: undefined, whole };
  const { code, kind, message, hint = '' } = error;
  const retryAfterMs = error instanceof KeyUnavailable ? error.retryAfterMs : undefined;
  return { code, kind, message, hint, retryAfterMs, whole };
}

process.on('message', ({ id, task }: { id: number; task: KeyTask }) => {
  void perform(task)
    .catch((error: unknown): KeyOutcome => ({ failure: failureOf(error) }))
    .then((outcome) => process.send?.({ id, outcome }));
});
