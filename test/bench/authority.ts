/**
 * A timestamp authority in a process of its own, so that its CPU is not counted as anybody's else. Reads
 * on standard input who it is; prints its address. Its key is P-256, so that a stamp costs almost nothing.
 */
import { createPrivateKey } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { Certificate } from '../../src/x509/certificate.ts';
import { startTimestampAuthority } from '../../src/sandbox/timestamp-authority.ts';

export interface AuthorityInput {
  /** PKCS#8, PEM. */
  readonly key: string;
  /** DER in base64, the leaf first. */
  readonly chain: readonly string[];
  readonly delayMs: number;
}

const input = JSON.parse(await text(process.stdin)) as AuthorityInput;
const chain = input.chain.map((der) => Certificate.parse(Buffer.from(der, 'base64')));
const [certificate] = chain;
if (!certificate) throw new Error('an authority needs a certificate');
const authority = await startTimestampAuthority({
  identity: { certificate, chain, key: createPrivateKey(input.key) },
  ...(input.delayMs > 0 ? { delayMs: input.delayMs } : {}),
});
console.log(authority.url);
