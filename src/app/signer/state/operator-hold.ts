import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../../lib/errors.ts';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { printableLines } from '../../../lib/printable.ts';

/** A stop of all signing by the operator of this signer, who may have no key for commits. */
export interface OperatorHold {
  readonly since: Date;
  readonly reason: string;
}

const MOST_REASON = 4096;

const holdFile = (state: string): string => join(state, 'hold');

/** The operator's HOLD in a state folder; null if there is none. */
export async function readOperatorHold(state: string): Promise<OperatorHold | null> {
  try {
    const path = holdFile(state);
    const [text, { mtime }] = [await readFile(path, 'utf8'), await stat(path)];
    return { since: mtime, reason: printableLines(text.trim(), MOST_REASON) };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/** What the HOLD says, on one line. */
export const operatorHoldText = ({ since, reason }: OperatorHold): string =>
  `on hold by this signer's operator since ${since.toISOString()}; signpipe unhold lifts it: ${reason.replaceAll('\n', ' ')}`;

/** Stops all signing from the next use of a key on; returns the HOLD that was there before, which stays. */
export async function setOperatorHold(state: string, reason: string): Promise<OperatorHold | null> {
  const before = await readOperatorHold(state);
  if (!before) await writeFileAtomically(holdFile(state), `${reason}\n`, { mode: 0o600 });
  return before;
}

/** Lets the signer go on; false if there was no HOLD. */
export async function removeOperatorHold(state: string): Promise<boolean> {
  const before = await readOperatorHold(state);
  await rm(holdFile(state), { force: true });
  return before !== null;
}
