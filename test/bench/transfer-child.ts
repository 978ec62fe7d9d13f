/** transfer-child.ts fetch|deliver INPUT: one transfer through our exchange, in a process of its own. */
import { text } from 'node:stream/consumers';
import { openExchange } from '../../src/exchange/exchange.ts';
import { deliverFile } from '../exchange/deliver-file.ts';

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

const { direction, url, identity, knownHosts, local, remote, size, sha256 } = JSON.parse(
  await text(process.stdin),
) as TransferInput;
const [begun, idle] = [performance.now(), process.cpuUsage()];
const exchange = await openExchange({ url, ssh: { identity, knownHosts } });
const connected = performance.now();
if (direction === 'deliver') await deliverFile(exchange, local, remote, { size, sha256 });
else if ((await exchange.fetch(remote, local, { limit: size })).sha256 !== sha256)
  throw new Error('not what was sent');
const done = performance.now();
await exchange.close();
const { user, system } = process.cpuUsage(idle);
console.log(
  JSON.stringify({
    wall: (done - begun) / 1000,
    cpu: (user + system) / 1e6,
    rss: process.resourceUsage().maxRSS * 1024,
    stages: { connect: (connected - begun) / 1000, [direction]: (done - connected) / 1000 },
  }),
);
