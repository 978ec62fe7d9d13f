import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import {
  createTestPki,
  keyToPem,
  toPem,
  type KeyKind,
  type TestPki,
} from '../../src/sandbox/certificates.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../src/sandbox/timestamp-authority.ts';
import { buildPe } from '../fixtures/pe.ts';
import { OpensslFolder } from '../engine/keys/openssl.ts';

const run = promisify(execFile);

let work: OpensslFolder;
let pki: TestPki;
let authority: RunningAuthority;

before(async () => {
  work = await OpensslFolder.create();
  pki = await createTestPki({ key: 'rsa2048', intermediate: true });
  authority = await startTimestampAuthority({ identity: pki.timestamping });
  await writeFile(work.path('data'), 'what is stamped');
  await writeFile(work.path('root.pem'), toPem([pki.root.certificate]));
  await writeFile(work.path('chain.pem'), toPem(pki.codeSigning.chain.slice(0, -1)));
  await writeFile(work.path('key.pem'), keyToPem(pki.codeSigning.key));
  await writeFile(work.path('program.exe'), buildPe());
});
after(async () => {
  await authority.close();
  await work.remove();
});

/** Sends a query file and writes the response. */
async function ask(url: string, query: string, reply: string): Promise<void> {
  const headers = { 'content-type': 'application/timestamp-query' };
  const body = new Uint8Array(await readFile(work.path(query)));
  const response = await fetch(url, { method: 'POST', headers, body });
  assert.equal(response.headers.get('content-type'), 'application/timestamp-reply');
  await writeFile(work.path(reply), Buffer.from(await response.arrayBuffer()));
}

describe('the sandbox timestamp authority', () => {
  for (const hash of ['sha256', 'sha384', 'sha512'])
    it(`answers a query by openssl with ${hash}, and openssl verifies it`, async () => {
      await work.openssl(`ts -query -data data -${hash} -cert -out q.tsq`);
      await ask(authority.url, 'q.tsq', 'q.tsr');
      const verdict = await work.openssl('ts -verify -queryfile q.tsq -in q.tsr -CAfile root.pem');
      assert.match(verdict, /Verification: OK/);
    });

  const kinds: KeyKind[] = ['rsa2048', 'p384', 'p521'];
  for (const key of kinds)
    it(`signs with ${key}`, async () => {
      const other = await startTimestampAuthority({ key });
      try {
        await writeFile(work.path('other.pem'), toPem([other.root]));
        await work.openssl('ts -query -data data -sha256 -cert -out k.tsq');
        await ask(other.url, 'k.tsq', 'k.tsr');
        const verdict = await work.openssl('ts -verify -queryfile k.tsq -in k.tsr -CAfile other.pem');
        assert.match(verdict, /Verification: OK/);
      } finally {
        await other.close();
      }
    });

  it('omits its certificates if they are not requested', async () => {
    await work.openssl('ts -query -data data -sha256 -out n.tsq');
    await ask(authority.url, 'n.tsq', 'n.tsr');
    await work.openssl('ts -reply -in n.tsr -token_out -out n.tok');
    const certificates = await work.openssl('pkcs7 -inform DER -in n.tok -print_certs');
    assert.doesNotMatch(certificates, /BEGIN CERTIFICATE/);
  });

  it('refuses SHA-1 and malformed queries, each with its reason', async () => {
    await work.openssl('ts -query -data data -sha1 -cert -out s.tsq');
    await ask(authority.url, 's.tsq', 's.tsr');
    const weak = await work.openssl('ts -reply -in s.tsr -text');
    assert.match(weak, /Status: Rejected.*unknown digest.*unrecognized or unsupported algorithm/s);
    await ask(authority.url, 'data', 's.tsr');
    const none = await work.openssl('ts -reply -in s.tsr -text');
    assert.match(none, /Status: Rejected.*not a request.*data submitted has the wrong format/s);
  });

  it('timestamps programs for osslsigncode, which verifies them', async () => {
    const signing = ['-certs', 'chain.pem', '-key', 'key.pem', '-h', 'sha256', '-ts', authority.url];
    const files = ['-in', 'program.exe', '-out', 'signed.exe'];
    const options = { cwd: work.folder, timeout: 60_000 };
    await run('osslsigncode', ['sign', ...signing, ...files], options);
    const roots = ['-CAfile', 'root.pem', '-TSA-CAfile', 'root.pem'];
    const { stdout } = await run('osslsigncode', ['verify', ...roots, '-in', 'signed.exe'], options);
    assert.match(stdout, /^Timestamp Server Signature verification: ok$/m);
    assert.match(stdout, /^Signature verification: ok$/m);
  });

  it('records the requests', () => {
    assert.ok(authority.requests.length > 4);
    assert.ok(authority.requests.every(({ path, inFlight }) => path === '/' && inFlight >= 1));
  });

  it('closes at once, including requests that hang', async () => {
    const hanging = await startTimestampAuthority({ misbehave: 'hang' });
    const asked = assert.rejects(fetch(hanging.url, { method: 'POST', body: 'x' }));
    while (hanging.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await hanging.close();
    await asked;
  });
});
