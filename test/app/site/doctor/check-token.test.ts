import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { checkToken } from '../../../../src/app/site/doctor/check-token.ts';
import { createTestCertificate } from '../../../../src/sandbox/certificates.ts';
import { SoftHsm } from '../../../world/softhsm.ts';

let hsm: SoftHsm;
before(async () => {
  hsm = await SoftHsm.create();
  const codesign = { label: 'codesign', id: '01' };
  await hsm.makeKey(codesign);
  await hsm.certify(codesign, {
    issuer: await createTestCertificate({ commonName: 'Root', purpose: 'authority' }),
  });
  await hsm.makeKey({ label: 'bare', id: '02', type: 'EC:secp256r1' });
  await hsm.addToken('other');
});
after(() => hsm.remove());

const report = async (uri: string): Promise<string> => {
  const results = await checkToken(uri, new Date());
  return results.map(({ status, code, message }) => `${status} ${code ?? '-'} ${message}`).join('\n');
};

describe("doctor's check of a token", () => {
  it('shows module, tokens, PIN, mechanisms, private keys, certificates and days left', async () => {
    const text = await report(hsm.uri('token=release;object=codesign'));
    assert.match(text, /^ok - \S+libsofthsm2\.so: Implementation of PKCS11 2\.\d+$/m);
    assert.match(
      text,
      /^ok - 2 tokens: (?:release|other) \(serial \w+\), (?:release|other) \(serial \w+\)$/m,
    );
    assert.match(text, /^ok - release \(serial \w+\): the PIN is right, and no wrong one was noted$/m);
    assert.match(
      text,
      /^ok - signs with CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_ECDSA, and has \d+ other mechanisms$/m,
    );
    assert.match(
      text,
      /^ok - private key object=codesign;id=%01: RSA 2048, Publisher codesign, valid until \d{4}-\d\d-\d\d, 36[45] days left$/m,
    );
    assert.match(text, /^ok - private key object=bare;id=%02: EC, no certificate on the token$/m);
    assert.equal(text.split('\n').length, 6);
  });

  it('token-missing: no token is there', async () => {
    const putBack = await hsm.pullOut();
    assert.match(await report(hsm.uri('token=release')), /^warning token-missing no token is there$/m);
    await putBack();
  });

  it('pin-count-low: the last login had a wrong PIN; none is tried', async () => {
    await assert.rejects(hsm.tool('other', '--list-objects', '--pin', 'wrong-pin'));
    const text = await report(hsm.uri('token=other'));
    assert.match(text, /^bad pin-count-low other \(serial \w+\): the last login had a wrong PIN$/m);
    await hsm.tool('other', '--list-objects');
    assert.match(await report(hsm.uri('token=other')), /^ok - other .* the PIN is right/m);
  });

  it('token-ambiguous: several tokens fit the URI; the PIN is tried on none', async () => {
    const text = await report(hsm.uri('type=private'));
    assert.match(
      text,
      /^bad token-ambiguous several tokens fit .*: (?:release|other) .*, (?:release|other) /m,
    );
    assert.doesNotMatch(text, /the PIN is right/);
    assert.match(await report(hsm.uri('token=release')), /^ok - release .* no wrong one was noted$/m);
  });

  it('pin-wrong, pin-missing: reported, and the rest as far as it can be seen', async () => {
    await writeFile(hsm.at('wrong'), 'wrong-pin\n', { mode: 0o600 });
    const missing = await report(hsm.uri('token=release').replace(/&pin-source.*/, ''));
    assert.match(missing, /^bad pin-missing /m);
    assert.match(missing, /^ok - signs with CKM_RSA_PKCS/m);
    assert.match(await report(hsm.uri('token=release', { pin: hsm.at('wrong') })), /^bad pin-wrong /m);
  });
});
