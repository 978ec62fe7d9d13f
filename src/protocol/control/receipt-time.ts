import { notAllowed } from '../../lib/errors.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { Request } from './request.ts';

/**
 * Throws `receipt-backdated` if a receipt is older than its request. The time in a receipt's commit decides whether its
 * key was valid then, and the owner of a retired key can claim any time, but none before the request existed. The
 * signer dates a receipt with the later of its clock and the request's time, so an honest receipt is never older.
 */
export function requireNotOlder(
  committedAt: Date,
  request: Pick<Request, 'id' | 'committedAt' | 'raw'>,
): void {
  // A request that cannot be read has no time.
  if (request.raw.length === 0 || committedAt >= request.committedAt) return;
  throw notAllowed(
    'receipt-backdated',
    `the receipt is dated ${committedAt.toISOString()}, before its request ${shortId(request.id)} (${request.committedAt.toISOString()})`,
    { hint: 'do not use the files; ask the signer operator whether a retired receipt key was stolen' },
  );
}
