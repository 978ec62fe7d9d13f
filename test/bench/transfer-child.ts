/**
 * One transfer through our exchange, in its own process, compiled beforehand so that the translation of TypeScript is
 * not measured. Reads a TransferInput from standard input.
 */
import { text } from 'node:stream/consumers';
import { openExchange } from '../../src/protocol/exchange/open-exchange.ts';
import { withFile } from '../../src/lib/bytes/byte-source.ts';

/** One transfer: which file, from where, to where. */
export interface TransferInput {
  readonly direction: 'fetch' | 'deliver';
  readonly url: string;
  readonly identity: string;
  readonly knownHosts: string;
  readonly local: string;
  readonly remote: string;
  readonly size: number;
  readonly sha256: string;
}

async function transfer(input: TransferInput): Promise<object> {
  const { direction, url, identity, knownHosts, local, remote, size, sha256 } = input;
  const [begun, idle] = [performance.now(), process.cpuUsage()];
  const exchange = await openExchange({ url, ssh: { identity, knownHosts } });
  const connected = performance.now();
  let moved = connected;
  const onProgress = (at: number): void => void (at === size && (moved = performance.now()));
  if (direction === 'deliver')
    await withFile(local, (content) => exchange.deliver(content, remote, { size, sha256, onProgress }));
  else if ((await exchange.fetch(remote, local, { limit: size, onProgress })).sha256 !== sha256)
    throw new Error('not what was sent');
  const done = performance.now();
  await exchange.close();
  const { user, system } = process.cpuUsage(idle);
  return {
    wall: (done - begun) / 1000,
    cpu: (user + system) / 1e6,
    rss: process.resourceUsage().maxRSS * 1024,
    stages: {
      connect: (connected - begun) / 1000,
      moved: (moved - connected) / 1000,
      'flushed and verified': (done - moved) / 1000,
    },
  };
}

async function main(): Promise<void> {
  console.log(JSON.stringify(await transfer(JSON.parse(await text(process.stdin)) as TransferInput)));
}

void main();
