/**
 * A timestamp authority in its own process, so that its CPU is counted separately. Reads an AuthorityInput from
 * standard input and prints its address. It only sleeps, and signs with P-256.
 */
import { createPrivateKey } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Certificate } from '../../src/lib/x509/certificate.ts';
import { bareStamper } from './bare-token.ts';

export interface AuthorityInput {
  /** PKCS#8, PEM. */
  readonly key: string;
  /** DER in base64, the leaf first. */
  readonly chain: readonly string[];
  /** The least time between query and answer. */
  readonly delayMs: number;
}

const { key, chain: encoded, delayMs } = JSON.parse(await text(process.stdin)) as AuthorityInput;
const chain = encoded.map((der) => Certificate.parse(Buffer.from(der, 'base64')));
const [certificate] = chain;
if (!certificate) throw new Error('an authority needs a certificate');
const stamp = bareStamper({ certificate, chain, key: createPrivateKey(key) });

function body(request: IncomingMessage): Promise<Buffer> {
  return new Promise((done, failed) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => done(Buffer.concat(parts)));
    request.on('error', failed);
  });
}

const server = createServer((request, response) => {
  const asked = performance.now();
  const answer = async (): Promise<void> => {
    const stamped = stamp(await body(request));
    const rest = delayMs - (performance.now() - asked);
    if (rest > 0) await sleep(rest);
    response.writeHead(200, {
      'content-type': 'application/timestamp-reply',
      'content-length': stamped.length,
    });
    response.end(stamped);
  };
  answer().catch(() => response.destroy());
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(`http://127.0.0.1:${address.port}/`);
});
