import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { parseEnvelope, preAuthEncoding, signEnvelope } from '../../../src/lib/dsse/envelope.ts';
import { parsePublicKeyLine } from '../../../src/lib/sshsig/ssh-key.ts';
import { loadSshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { verifyStandardSignature } from '../../../src/lib/sshsig/standard-signature.ts';
import { SshWorld } from '../sshsig/ssh-world.ts';

const world = new SshWorld();
after(() => world.close());

const TYPE = 'application/vnd.in-toto+json';

/** The signed bytes of an envelope, made by Python from the specification's formula. */
const PAE = `
import base64, json, sys
envelope = json.load(open(sys.argv[1]))
kind, body = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
sys.stdout.buffer.write(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body))
`;

/** Verifies an envelope's only signature with OpenSSL. */
function opensslVerifies(envelope: string, keyLine: string): boolean {
  const at = (name: string): string => world.path(name);
  writeFileSync(at('envelope'), envelope);
  writeFileSync(at('pae'), execFileSync('python3', ['-c', PAE, at('envelope')]));
  const { signatures } = JSON.parse(envelope) as { signatures: { sig: string }[] };
  writeFileSync(at('sig'), Buffer.from(signatures[0]?.sig ?? '', 'base64'));
  const { key, type } = parsePublicKeyLine(keyLine, 'test');
  writeFileSync(
    at('pub.pem'),
    createPublicKey(key.export({ format: 'pem', type: 'spki' })).export({ format: 'pem', type: 'spki' }),
  );
  const digests = new Map([
    ['256', 'sha256'],
    ['384', 'sha384'],
  ]);
  const digest = digests.get(type.slice(-3)) ?? 'sha512';
  const raw = [
    'pkeyutl',
    '-verify',
    '-pubin',
    '-inkey',
    at('pub.pem'),
    '-rawin',
    '-in',
    at('pae'),
    '-sigfile',
    at('sig'),
  ];
  const hashed = ['dgst', `-${digest}`, '-verify', at('pub.pem'), '-signature', at('sig'), at('pae')];
  return spawnSync('openssl', type === 'ssh-ed25519' ? raw : hashed).status === 0;
}

describe('a DSSE envelope', () => {
  for (const [name, kind, bits] of [
    ['ed25519', 'ed25519', undefined],
    ['ecdsa256', 'ecdsa', 256],
    ['ecdsa384', 'ecdsa', 384],
    ['ecdsa521', 'ecdsa', 521],
    ['rsa3072', 'rsa', 3072],
  ] as const)
    it(`is signed with ${name}, and OpenSSL verifies it`, async () => {
      const line = world.key(name, kind, bits);
      const signer = await loadSshSigner(world.path(name));
      for (const body of ['{"a":1}', '', 'ü'.repeat(3000)]) {
        const envelope = await signEnvelope(TYPE, Buffer.from(body), signer);
        assert.ok(opensslVerifies(envelope, line));
        const parsed = parseEnvelope(envelope, 'it');
        assert.equal(parsed.payload.toString(), body);
        assert.equal(parsed.signatures[0]?.keyid, signer.fingerprint);
        const data = preAuthEncoding(parsed.payloadType, parsed.payload);
        const key = parsePublicKeyLine(line, 'test');
        const value = parsed.signatures[0]?.value ?? Buffer.alloc(0);
        assert.ok(verifyStandardSignature(key, value, data));
        assert.ok(!verifyStandardSignature(key, value, Buffer.concat([data, Buffer.of(0)])));
      }
    });

  /** Signatures with the key of RFC 8032, 7.1, TEST 1; from DSSE's own test vectors. */
  const key = parsePublicKeyLine(
    `ssh-ed25519 ${Buffer.concat([
      Buffer.from('0000000b7373682d6564323535313900000020', 'hex'),
      Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex'),
    ]).toString('base64')}`,
    'test',
  );
  const vectors = [
    {
      what: 'in standard base64',
      payload: 'eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ==',
      sig: '2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==',
    },
    {
      what: 'in URL-safe base64',
      payload: '-_-_Pj8=',
      sig: 'P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw==',
    },
    {
      what: 'with a type that is not ASCII',
      payloadType: 'application/vnd.exämple+json',
      payload: 'eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ==',
      sig: 'xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw==',
    },
    {
      what: 'with an empty payload',
      payload: '',
      sig: 'gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg==',
    },
  ];
  for (const { what, payload, sig, payloadType = TYPE } of vectors)
    it(`of another implementation verifies: ${what}`, () => {
      const envelope = parseEnvelope(JSON.stringify({ payload, payloadType, signatures: [{ sig }] }), 'it');
      const data = preAuthEncoding(envelope.payloadType, envelope.payload);
      const value = envelope.signatures[0]?.value ?? Buffer.alloc(0);
      assert.ok(verifyStandardSignature(key, value, data));
      assert.ok(!verifyStandardSignature(key, value, preAuthEncoding('text/plain', envelope.payload)));
    });

  const good = { payload: 'YQ==', payloadType: TYPE, signatures: [{ sig: 'YQ==' }] };

  it('may have keys that this version does not know', () => {
    const more = { ...good, extension: { a: 1 }, signatures: [{ sig: 'YQ==', keyid: '', cert: 'x' }] };
    assert.equal(parseEnvelope(JSON.stringify(more), 'it').payload.toString(), 'a');
  });

  for (const [why, text] of [
    ['not JSON', '{'],
    ['not an object', '[]'],
    ['no payload', JSON.stringify({ ...good, payload: undefined })],
    ['no payload type', JSON.stringify({ ...good, payloadType: undefined })],
    ['no list of signatures', JSON.stringify({ ...good, signatures: undefined })],
    ['a signature without a value', JSON.stringify({ ...good, signatures: [{ keyid: 'x' }] })],
    [
      'seventeen signatures',
      JSON.stringify({ ...good, signatures: Array.from({ length: 17 }, () => ({ sig: 'YQ==' })) }),
    ],
    ['a payload without padding', JSON.stringify({ ...good, payload: 'YQ' })],
    ['stray bits in base64', JSON.stringify({ ...good, payload: 'YR==' })],
    ['a blank in base64', JSON.stringify({ ...good, payload: 'YWFh YWFh' })],
    ['both alphabets at once', JSON.stringify({ ...good, payload: '-_+/' })],
    ['ten million brackets', '['.repeat(10_000_000)],
    [
      'more than a thousand values',
      JSON.stringify({ ...good, extension: Array.from({ length: 1000 }, () => 1) }),
    ],
    ['a key twice', `${JSON.stringify(good).slice(0, -1)},"payload":"Yg=="}`],
  ] as const)
    it(`dsse-malformed: ${why}`, () => {
      assert.throws(() => parseEnvelope(text, 'it'), { code: 'dsse-malformed', kind: 'invalid' });
    });
});
