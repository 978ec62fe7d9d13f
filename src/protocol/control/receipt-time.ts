import { notAllowed } from '../../lib/errors.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { Request } from './request.ts';

/**
 * Refuses a receipt that is older than its request. The time in a receipt's commit decides whether its key was good
 * then, and the owner of a retired key can claim any time: but none at which there was nothing to answer yet. The
 * signer dates a receipt with the later of its clock and the request's time, so an honest one is never older.
 * Throws `receipt-backdated`.
 */
export function requireNotOlder(
  committedAt: Date,
  request: Pick<Request, 'id' | 'committedAt' | 'raw'>,
): void {
  // What cannot be read states no time.
  if (request.raw.length === 0 || committedAt >= request.committedAt) return;
  throw notAllowed(
    'receipt-backdated',
    `the receipt is dated ${committedAt.toISOString()}, before its request ${shortId(request.id)} (${request.committedAt.toISOString()})`,
    { hint: 'do not use the files; ask the signer operator whether a retired receipt key was stolen' },
  );
}
