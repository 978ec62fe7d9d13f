import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { callRest } from '../../../../src/engine/keys/artifact-signing/rest-client.ts';

/** A server that counts its requests and answers each with its name. */
async function listening(name: string): Promise<{ server: Server; origin: string; requests: string[] }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.url} ${request.headers.authorization}`);
    response.end(JSON.stringify({ name }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, requests, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

describe('a REST call', () => {
  it('to this machine goes through no proxy: without TLS that would read the token', async () => {
    const [service, proxy] = await Promise.all([listening('service'), listening('proxy')]);
    process.env['http_proxy'] = proxy.origin;
    try {
      const { body } = await callRest(`${service.origin}/x`, {
        method: 'GET',
        token: 'marked-secret',
        signal: AbortSignal.timeout(5000),
        timeoutMs: 5000,
      });
      assert.deepEqual(body, { name: 'service' });
      assert.deepEqual(proxy.requests, []);
    } finally {
      delete process.env['http_proxy'];
      for (const { server } of [service, proxy]) {
        server.closeAllConnections();
        server.close();
      }
    }
  });
});
