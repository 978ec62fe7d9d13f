import { plural } from '../../../lib/plural.ts';
import { isUsable, type SigningKey } from '../../../engine/keys/signing-key.ts';
import { changeAt, successorFindings, type Succession } from '../../../lib/x509/successor-findings.ts';
import type { SigningConfig } from '../../config/channel-sections.ts';
import { checkValidity, findingResult } from './check-certificate.ts';
import { checkOpenKey, type SigningKeys } from './check-keys.ts';
import { ok, resultOf, type CheckResult } from './check-result.ts';

const DAY = 86_400_000;

/** The section `signing` of a channel that has a successor. */
export type RenewedSigning = SigningConfig & { readonly successor: NonNullable<SigningConfig['successor']> };

/** The key in use; null if it does not open, which its own check reports, or is not needed any more. */
const keyInUse = async (config: RenewedSigning, keys: SigningKeys, now: Date): Promise<SigningKey | null> =>
  now >= config.successor.from ? null : keys.open(config).catch(() => null);

/** When the successor takes over: at its date, or when the certificate in use ends. */
function timeOf(
  { successor: { from } }: RenewedSigning,
  current: SigningKey | null,
  next: SigningKey | null,
): Date {
  const [old, other] = [current?.certificates[0], next?.certificates[0]];
  return old && other && !current?.shortLived ? changeAt({ current: old, next: other, from }) : from;
}

function whenText(at: Date, now: Date): string {
  if (at <= now) return `has signed since ${at.toISOString()}`;
  return `takes over at ${at.toISOString()}, in ${plural(Math.ceil((at.getTime() - now.getTime()) / DAY), 'day')}`;
}

/** Before its time, what is wrong with the successor does not stop the signer. */
const asWarnings = (results: readonly CheckResult[]): CheckResult[] =>
  results.map((result) => (result.status === 'bad' ? { ...result, status: 'warning' } : result));

/**
 * Checks the next key of one or more channels as the one in use is checked: it opens, may sign programs when it takes
 * over, has a chain, and signs. What is wrong with it is a warning until then.
 */
export async function checkSuccessor(
  config: RenewedSigning,
  keys: SigningKeys,
  now: Date,
): Promise<CheckResult[]> {
  const current = await keyInUse(config, keys, now);
  const next = await keys.open(config.successor).catch((error: unknown) => resultOf(error));
  if ('status' in next) {
    const change = timeOf(config, current, null);
    const isDue = current === null || change <= now || !isUsable(current, now);
    return isDue ? [next] : [ok(whenText(change, now)), ...asWarnings([next])];
  }
  const change = timeOf(config, current, next);
  const at = change > now ? change : now;
  const results = [
    ok(whenText(change, now)),
    ...(await checkOpenKey(next, config, { at, validity: checkValidity(next, { now, at }) })),
    ...findings(config, current, next),
  ];
  return change > now ? asWarnings(results) : results;
}

function findings(
  { successor: { from } }: RenewedSigning,
  current: SigningKey | null,
  { certificates }: SigningKey,
): CheckResult[] {
  const [old, next] = [current?.certificates[0], certificates[0]];
  if (!old || !next) return [];
  const succession: Succession = { current: old, next, from };
  return successorFindings(succession).map(findingResult);
}
