import { posix } from 'node:path';
import { deliveredPath } from '../config/delivered-path.ts';
import type { Request } from '../../protocol/control/request.ts';
import type { Exchange } from '../../protocol/exchange/exchange.ts';
import { retry } from './retry.ts';
import type { SignerContext } from './signer-context.ts';

/** Exchanges on which a delivery was rehearsed. */
const rehearsedExchanges = new WeakSet<Exchange>();

/**
 * Tries, once for each open exchange, whether a request's files could be delivered: before the key is used, since a
 * signature that cannot be delivered still exists. Throws what a delivery would throw.
 */
export async function rehearseDelivery(context: SignerContext, { id, files }: Request): Promise<void> {
  const { exchange, config, log } = context;
  const [first] = files;
  if (!first || rehearsedExchanges.has(exchange)) return;
  const { outgoing, delivered } = config.exchange;
  const folder = posix.dirname(`${outgoing}/${deliveredPath(delivered, { request: id, name: first.name })}`);
  const rehearsal = await retry(context, `trying ${folder}`, () =>
    // Named after the request, so that after a crash the next try deletes it.
    exchange.rehearse(folder, { make: true, temporary: id.slice(0, 12) }),
  );
  rehearsedExchanges.add(exchange);
  if (rehearsal?.left)
    log.warn({ file: rehearsal.left }, `${rehearsal.left} stays there: the exchange refuses to delete it`);
}
