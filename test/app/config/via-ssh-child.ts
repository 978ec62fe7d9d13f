import { TimestampRoutes } from '../../../src/app/config/timestamp-routes.ts';
import { TimestampClient } from '../../../src/engine/timestamp/client.ts';

/**
 * Asks an authority once through an SSH host, and writes the outcome. It is a process of its own, because Node reads
 * NODE_EXTRA_CA_CERTS only when it starts.
 */
const [exchange = '', identity = '', knownHosts = '', url = ''] = process.argv.slice(2);
const routes = new TimestampRoutes(
  { exchange: { url: exchange }, ssh: { identity, knownHosts } },
  console.error,
);
let outcome = 'granted';
const client = new TimestampClient([routes.endpoint({ url, via: 'ssh' })], {
  attempts: 1,
  onFailure: (_, { code, message }) => (outcome = `${code} ${message}`),
});
await client.timestamp(Buffer.from('data'), 'sha256').catch((error: unknown) => {
  if (outcome === 'granted') throw error;
});
routes.close();
process.stdout.write(outcome);
