/** What a heartbeat says about a signer at a time. */
import { data } from './audit-data.ts';
import { MINUTE, timeOf } from './times.ts';

export type Signer = (typeof data.page.health.signers)[number];

/** How late a heartbeat may be before its signer counts as silent; see "Heartbeats" in docs/protocol.md. */
const LATE = 2 * MINUTE;
/** How far ahead of the reader's clock a heartbeat may be. */
const AHEAD = 10 * MINUTE;

export type SignerState = 'alarm' | 'silent' | 'ahead' | 'stopped' | 'problem' | 'signing' | 'idle';

export function stateOf(
  { written, every, ended, alarm, problem, current }: Signer,
  now: number,
): SignerState {
  const at = timeOf(written);
  if (at > now + AHEAD) return 'ahead';
  if (ended) return 'stopped';
  if (now > at + every * 1000 + LATE) return 'silent';
  if (alarm) return 'alarm';
  if (problem) return 'problem';
  return current ? 'signing' : 'idle';
}

/** When the certificate of a channel ends, or that of its successor if it takes over before; null if that is not known. */
export function certificateEnd({ certificate, successor }: Signer['channels'][number]): number | null {
  if (certificate.notAfter === undefined) return null;
  const end = timeOf(certificate.notAfter);
  if (successor?.notAfter === undefined || !successor.open || timeOf(successor.from) > end) return end;
  return Math.max(end, timeOf(successor.notAfter));
}
