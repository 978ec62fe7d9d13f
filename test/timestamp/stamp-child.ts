import { TimestampAuthorities } from '../../src/timestamp/authority.ts';

/**
 * Asks the authority named by its argument once, and writes the outcome as JSON. A process of its own,
 * as Node reads NODE_EXTRA_CA_CERTS only when it starts.
 */
let answer = { code: 'granted', message: '' };
const authorities = new TimestampAuthorities([process.argv[2] ?? ''], {
  attempts: 1,
  timeoutMs: 5000,
  onFailure: (_, { code, message }) => (answer = { code, message }),
});
await authorities.timestamp(Buffer.from('data'), 'sha256').catch((error: unknown) => {
  if (answer.code === 'granted') throw error;
});
process.stdout.write(JSON.stringify(answer));
