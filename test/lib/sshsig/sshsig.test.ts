import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, it } from 'node:test';
import {
  armor,
  buildSshSig,
  dearmor,
  parseSshSig,
  signedData,
  verifySshSig,
} from '../../../src/lib/sshsig/sshsig.ts';
import { SoftwareSecurityKey, SshWorld } from './ssh-world.ts';

const world = new SshWorld();
after(() => world.close());
const ed = world.key('ed', 'ed25519');
const message = Buffer.from('a message\n');
const armored = world.keygenSign('ed', message, 'file');
const blob = dearmor(armored, 'it');
const parts = (): Parameters<typeof buildSshSig>[0] => {
  const { publicKey, namespace, hash, signature } = parseSshSig(blob, 'it');
  return { publicKey: publicKey.blob, namespace, hash, signature };
};

describe('armor', () => {
  it('writes what ssh-keygen writes', () => assert.equal(armor(blob), armored));

  it('is reversed by dearmor at every length', () => {
    for (let length = 1; length < 300; length++) {
      const bytes = randomBytes(length);
      assert.deepEqual(dearmor(armor(bytes), 'it'), bytes);
    }
  });

  it('may lack the final line end', () => assert.deepEqual(dearmor(armored.trimEnd(), 'it'), blob));

  const [begin = '', first = ''] = armored.split('\n');
  for (const [name, text] of Object.entries({
    nothing: '',
    'no header': armored.slice(begin.length + 1),
    'text before the header': `hello\n${armored}`,
    'no footer': armored.replace(/-----END.*/, ''),
    'text after the footer': `${armored}hello\n`,
    'a second line end after the footer': `${armored}\n`,
    'a blank line': armored.replace(first, `\n${first}`),
    'a blank': armored.replace(first, ` ${first}`),
    'a character of no base64': armored.replace(first, `*${first}`),
    'base64 for URLs': armor(Buffer.from([255, 239, 255])).replace('/+', '_-'),
    'no padding': armor(Buffer.from('a')).replace('==', ''),
    'stray bits': armor(Buffer.from('a')).replace('YQ==', 'YR=='),
    'no blob': armor(Buffer.alloc(0)),
    'more than 64 KiB': armor(Buffer.alloc(64 * 1024)),
  })) {
    it(`ssh-signature-malformed: ${name}`, () => {
      assert.throws(() => dearmor(text, 'it'), { code: 'ssh-signature-malformed', kind: 'invalid' });
    });
  }
});

describe('the signature blob', () => {
  it('is built as ssh-keygen builds it', () => assert.deepEqual(buildSshSig(parts()), blob));

  it('holds key, namespace and digest', () => {
    const { publicKey, namespace, hash } = parseSshSig(blob, 'it');
    assert.equal(`ssh-ed25519 ${publicKey.blob.toString('base64')} ed`, ed);
    assert.equal(namespace, 'file');
    assert.equal(hash, 'sha512');
  });

  it('signs the magic, the namespace, an empty field, the digest name and the digest', () => {
    const expected = Buffer.concat([
      Buffer.from('SSHSIG\0\0\0\x04file\0\0\0\0\0\0\0\x06sha256\0\0\0\x20', 'latin1'),
      Buffer.from('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'hex'),
    ]);
    assert.deepEqual(signedData('file', 'sha256', Buffer.alloc(0)), expected);
  });

  it('ssh-signature-malformed: every truncation, and a trailing byte', () => {
    for (let length = 0; length < blob.length; length++)
      assert.throws(() => parseSshSig(blob.subarray(0, length), 'it'), { kind: 'invalid' });
    assert.throws(() => parseSshSig(Buffer.concat([blob, Buffer.of(0)]), 'it'), {
      code: 'ssh-signature-malformed',
    });
  });

  for (const [name, bytes] of Object.entries({
    'another magic': Buffer.concat([Buffer.from('SSHSIH'), blob.subarray(6)]),
    'version 0': Buffer.concat([blob.subarray(0, 9), Buffer.of(0), blob.subarray(10)]),
    'version 2': Buffer.concat([blob.subarray(0, 9), Buffer.of(2), blob.subarray(10)]),
    'no namespace': buildSshSig({ ...parts(), namespace: '' }),
    'a namespace with a NUL': buildSshSig({ ...parts(), namespace: 'git\0' }),
    'a namespace that is not UTF-8': Buffer.from(
      blob.toString('latin1').replace('file', 'fil\xff'),
      'latin1',
    ),
    'the digest sha1': buildSshSig({ ...parts(), hash: 'sha1' as 'sha256' }),
  })) {
    it(`ssh-signature-malformed: ${name}`, () => {
      assert.throws(() => parseSshSig(bytes, 'it'), { code: 'ssh-signature-malformed', kind: 'invalid' });
    });
  }

  it('ssh-key-type: DSA', () => {
    const key = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from('ssh-dss')]);
    assert.throws(() => parseSshSig(buildSshSig({ ...parts(), publicKey: key }), 'it'), {
      code: 'ssh-key-type',
    });
  });
});

describe('verifySshSig', () => {
  it('accepts the signed message and no other', () => {
    const signature = parseSshSig(blob, 'it');
    assert.deepEqual(verifySshSig(signature, message, 'it'), { securityKey: null });
    assert.equal(verifySshSig(signature, Buffer.from('another'), 'it'), null);
    assert.equal(verifySshSig({ ...signature, namespace: 'git' }, message, 'it'), null);
  });

  for (const kind of ['ed25519', 'ecdsa'] as const) {
    it(`verifies a security key (${kind}) as ssh-keygen does, and returns its flags`, () => {
      const key = new SoftwareSecurityKey(kind);
      const allowed = `bob@example.org ${key.line}\n`;
      for (const [flags, userPresent, userVerified] of [
        [0, false, false],
        [1, true, false],
        [5, true, true],
      ] as const) {
        const signature = key.sshSign(message, { flags });
        const proof = verifySshSig(parseSshSig(dearmor(signature, 'it'), 'it'), message, 'it');
        assert.deepEqual(proof, { securityKey: { userPresent, userVerified, counter: 7 } });
        const said = world.keygenVerify(signature, message, { allowed, principal: 'bob@example.org' });
        assert.ok(said.ok, said.said);
      }
    });

    it(`refuses a security key's (${kind}) signature under another application or with other flags`, () => {
      const key = new SoftwareSecurityKey(kind, 'ssh:one');
      const sound = dearmor(key.sshSign(message), 'it');
      const application = Buffer.from(sound.toString('latin1').replace('ssh:one', 'ssh:two'), 'latin1');
      const flags = Buffer.from(sound);
      flags.writeUInt8(5, flags.length - 5);
      for (const bytes of [application, flags]) {
        assert.equal(verifySshSig(parseSshSig(bytes, 'it'), message, 'it'), null);
        const said = world.keygenVerify(armor(bytes), message, {
          allowed: `b ${key.line}\n`,
          principal: 'b',
        });
        assert.equal(said.ok, false);
      }
    });
  }

  it('ssh-signature-malformed: a signature of a different type than its key', () => {
    const { signature } = parseSshSig(blob, 'it');
    const publicKey = new SoftwareSecurityKey('ed25519').blob;
    const mixed = parseSshSig(buildSshSig({ ...parts(), publicKey, signature }), 'it');
    assert.throws(() => verifySshSig(mixed, message, 'it'), { code: 'ssh-signature-malformed' });
  });
});
