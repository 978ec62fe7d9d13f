import type { DeliverOptions, Exchange } from '../../../src/protocol/exchange/exchange.ts';
import { withFile } from '../../../src/lib/bytes/byte-source.ts';

/** Delivers a local file. */
export const deliverFile = (
  exchange: Exchange,
  file: string,
  path: string,
  options: DeliverOptions,
): Promise<void> => withFile(file, (content) => exchange.deliver(content, path, options));
