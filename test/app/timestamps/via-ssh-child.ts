import { TimestampRoutes } from '../../../src/app/timestamps/routes.ts';
import { TimestampClient } from '../../../src/engine/timestamp/client.ts';

/**
 * Asks an authority once through an SSH host, and writes the outcome. It is a process of its own, because Node reads
 * NODE_EXTRA_CA_CERTS only when it starts.
 */
const [exchange = '', identity = '', knownHosts = '', url = ''] = process.argv.slice(2);
const routes = new TimestampRoutes(
  {
    control: { url: exchange },
    exchange: { url: exchange },
    receipts: { key: identity, name: 'Signer' },
    ssh: { identity, knownHosts },
    state: '.',
  },
  { warn: console.error },
);
let outcome = 'granted';
const client = new TimestampClient([routes.endpoint({ url, via: 'ssh' })], {
  attempts: 1,
  onFailure: (_, { code, message }) => (outcome = `${code} ${message}`),
});
await client.timestamp(Buffer.from('data'), 'sha256').catch((error: unknown) => {
  if (outcome === 'granted') throw error;
});
await routes.close();
process.stdout.write(outcome);
