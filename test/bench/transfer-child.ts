/**
 * One transfer through our exchange as it is compiled, in a process of its own: plain JavaScript, since what
 * translates TypeScript on the way is no part of what is measured. Reads a TransferInput from its input.
 */
import { text } from 'node:stream/consumers';
import { openExchange } from '../../dist/exchange/exchange.js';
import { withFile } from '../../dist/io/source.js';

const { direction, url, identity, knownHosts, local, remote, size, sha256 } = JSON.parse(
  await text(process.stdin),
);
const [begun, idle] = [performance.now(), process.cpuUsage()];
const exchange = await openExchange({ url, ssh: { identity, knownHosts } });
const connected = performance.now();
let moved = connected;
const onProgress = (at) => void (at === size && (moved = performance.now()));
if (direction === 'deliver')
  await withFile(local, (content) => exchange.deliver(content, remote, { size, sha256, onProgress }));
else if ((await exchange.fetch(remote, local, { limit: size, onProgress })).sha256 !== sha256)
  throw new Error('not what was sent');
const done = performance.now();
await exchange.close();
const { user, system } = process.cpuUsage(idle);
console.log(
  JSON.stringify({
    wall: (done - begun) / 1000,
    cpu: (user + system) / 1e6,
    rss: process.resourceUsage().maxRSS * 1024,
    stages: {
      connect: (connected - begun) / 1000,
      moved: (moved - connected) / 1000,
      'flushed and verified': (done - moved) / 1000,
    },
  }),
);
