import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { OpensslFolder } from '../keys/openssl.ts';
import { askedWith, tlsFront, type Asked, type TlsFront } from './tls-front.ts';

let work: OpensslFolder;
let authority: RunningAuthority;
let good: TlsFront;
let misnamed: TlsFront;

before(async () => {
  work = await OpensslFolder.create();
  authority = await startTimestampAuthority();
  good = await tlsFront(work, authority.url, 'good', 'IP:127.0.0.1');
  misnamed = await tlsFront(work, authority.url, 'misnamed', 'DNS:elsewhere.example.org');
});

after(async () => {
  for (const { server } of [good, misnamed]) server.close().closeAllConnections();
  await authority.close();
  await work.remove();
});

/** The outcome of a request to `url` by a process that also trusts the certificates in `ca`. */
async function asked(url: string, ca?: string): Promise<Asked> {
  const { asked: all } = await askedWith(
    [url],
    ca === undefined ? {} : { NODE_EXTRA_CA_CERTS: work.path(ca) },
  );
  const [one] = all;
  assert.ok(one);
  return one;
}

describe('an authority over https', () => {
  it('returns a timestamp if its certificate is trusted', async () => {
    const before = authority.requests.length;
    assert.deepEqual(await asked(good.url, 'good.pem'), { code: 'granted', message: '' });
    assert.equal(authority.requests.length, before + 1);
  });

  it('timestamp-connection: its certificate is not trusted', async () => {
    const before = authority.requests.length;
    const { code, message } = await asked(good.url);
    assert.equal(code, 'timestamp-connection');
    assert.match(message, /self-signed certificate/);
    assert.equal(authority.requests.length, before, 'the request was sent');
  });

  it('timestamp-connection: its certificate is trusted, but is for another host', async () => {
    const { code, message } = await asked(misnamed.url, 'misnamed.pem');
    assert.equal(code, 'timestamp-connection');
    assert.match(message, /does not match certificate's altnames/);
  });

  it('timestamp-redirect: it redirects to http', async () => {
    const before = authority.requests.length;
    const { code, message } = await asked(`${good.url}down`, 'good.pem');
    assert.equal(code, 'timestamp-redirect');
    assert.match(message, /redirects from https to http/);
    assert.equal(authority.requests.length, before, 'the request was sent in the clear');
  });
});
