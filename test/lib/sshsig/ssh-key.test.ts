import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { parsePublicKey, parsePublicKeyLine } from '../../../src/lib/sshsig/ssh-key.ts';
import { sshMpint, sshString } from '../../../src/lib/sshsig/ssh-wire.ts';
import { SoftwareSecurityKey, SshWorld } from './ssh-world.ts';

const world = new SshWorld();
after(() => world.close());
const ca = world.key('ca', 'ed25519');
const ed = world.key('ed', 'ed25519');
const blobOf = (line: string): Buffer => Buffer.from(line.split(' ')[1] ?? '', 'base64');
const wire = (...parts: (string | Buffer)[]): Buffer => Buffer.concat(parts.map(sshString));

describe('public keys', () => {
  for (const [type, bits] of [
    ['ed25519', undefined],
    ['ecdsa', 256],
    ['ecdsa', 384],
    ['ecdsa', 521],
    ['rsa', 2048],
  ] as const) {
    it(`reads ${type}${bits ?? ''} as ssh-keygen and openssl do`, () => {
      const name = `${type}${bits ?? ''}-read`;
      const key = parsePublicKeyLine(world.key(name, type, bits), 'it');
      const [, fingerprint] = world.run('ssh-keygen', ['-l', '-f', world.path(name)]).split(' ');
      assert.equal(key.fingerprint, fingerprint);
      assert.equal(key.certificate, null);
      if (type === 'ed25519') return; // ssh-keygen does not export it
      const pem = world.run('ssh-keygen', ['-e', '-m', 'PKCS8', '-f', world.path(name)]);
      const der = execFileSync('openssl', ['pkey', '-pubin', '-outform', 'DER'], { input: pem });
      assert.deepEqual(key.key.export({ type: 'spki', format: 'der' }), der);
    });
  }

  it('reads security keys with their application', () => {
    const software = new SoftwareSecurityKey('ecdsa', 'ssh:build');
    const key = parsePublicKeyLine(`${software.line} comment`, 'it');
    assert.equal(key.application, 'ssh:build');
    const [, fingerprint] = world
      .run('ssh-keygen', ['-l', '-f', world.write('sk.pub', software.line)])
      .split(' ');
    assert.equal(key.fingerprint, fingerprint);
  });

  it('copies the buffer that it is given', () => {
    const blob = blobOf(world.key('kept', 'ed25519'));
    const key = parsePublicKey(blob, 'it');
    const { fingerprint } = key;
    blob.fill(0);
    assert.equal(parsePublicKey(key.blob, 'it').fingerprint, fingerprint);
  });

  const point = blobOf(world.key('point', 'ecdsa', 256)).subarray(-65);
  const off = Buffer.from(point);
  off.writeUInt8(off.readUInt8(64) ^ 1, 64);
  const modulus = Buffer.alloc(256, 0xab);
  for (const [name, blob] of Object.entries({
    nothing: Buffer.alloc(0),
    'an Ed25519 key of 31 bytes': wire('ssh-ed25519', Buffer.alloc(31)),
    'a byte too many': Buffer.concat([blobOf(ed), Buffer.of(0)]),
    'a byte too few': blobOf(ed).subarray(0, -1),
    'a point off its curve': wire('ecdsa-sha2-nistp256', 'nistp256', off),
    'a compressed point': wire(
      'ecdsa-sha2-nistp256',
      'nistp256',
      Buffer.concat([Buffer.of(2), point.subarray(1, 33)]),
    ),
    'the point at infinity': wire('ecdsa-sha2-nistp256', 'nistp256', Buffer.of(0)),
    'another curve than the type says': wire('ecdsa-sha2-nistp256', 'nistp384', point),
    'RSA of 1024 bits': Buffer.concat([
      wire('ssh-rsa'),
      sshMpint(Buffer.of(1, 0, 1)),
      sshMpint(modulus.subarray(128)),
    ]),
    'RSA with an even exponent': Buffer.concat([wire('ssh-rsa'), sshMpint(Buffer.of(2)), sshMpint(modulus)]),
    'RSA with the exponent 1': Buffer.concat([wire('ssh-rsa'), sshMpint(Buffer.of(1)), sshMpint(modulus)]),
    'RSA with a negative modulus': wire('ssh-rsa', Buffer.of(3), modulus),
    'RSA with needless zeros': wire('ssh-rsa', Buffer.of(3), Buffer.concat([Buffer.alloc(2), modulus])),
    'more than 32 KiB': wire('ssh-ed25519', Buffer.alloc(33 * 1024)),
  })) {
    it(`ssh-key-malformed: ${name}`, () => {
      assert.throws(() => parsePublicKey(blob, 'it'), { code: 'ssh-key-malformed', kind: 'invalid' });
    });
  }

  it('ssh-key-malformed: a line whose type is not the type of its blob', () => {
    assert.throws(() => parsePublicKeyLine(`ssh-rsa ${ed.split(' ')[1]}`, 'it'), {
      code: 'ssh-key-malformed',
    });
  });
});

const certificate = (name: string, options: string[], authority = 'ca'): Buffer => {
  world.certify(authority, name, options);
  return blobOf(readFileSync(world.path(`${name}-cert.pub`), 'utf8'));
};

describe('certificates', () => {
  it('are read as ssh-keygen wrote them', () => {
    const key = parsePublicKey(
      certificate('ed', ['-n', 'a,b', '-z', '18446744073709551615', '-V', '20240101Z:20250101Z']),
      'it',
    );
    assert.equal(key.name, 'ssh-ed25519-cert-v01@openssh.com');
    assert.equal(key.fingerprint, parsePublicKeyLine(ed, 'it').fingerprint);
    const { authority, extensions, criticalOptions, ...rest } = key.certificate ?? assert.fail();
    assert.equal(authority.fingerprint, parsePublicKeyLine(ca, 'it').fingerprint);
    assert.ok(extensions.has('permit-pty'));
    assert.equal(criticalOptions.size, 0);
    assert.deepEqual(rest, {
      kind: 'user',
      serial: 18446744073709551615n,
      keyId: 'id-of-ed',
      principals: ['a', 'b'],
      validAfter: BigInt(Date.UTC(2024, 0, 1) / 1000),
      validBefore: BigInt(Date.UTC(2025, 0, 1) / 1000),
    });
  });

  for (const [type, bits] of [
    ['ecdsa', 256],
    ['ecdsa', 384],
    ['ecdsa', 521],
    ['rsa', 2048],
  ] as const) {
    it(`are read for ${type}${bits} keys and by authorities of that kind`, () => {
      const name = `${type}${bits}`;
      world.key(name, type, bits);
      const key = parsePublicKey(certificate(name, ['-n', 'a'], name), 'it');
      assert.equal(key.certificate?.authority.fingerprint, key.fingerprint);
    });
  }

  it('ssh-certificate-wrong: one altered byte in what the authority signed', () => {
    const blob = certificate('ed', ['-n', 'bob']);
    const altered = Buffer.from(blob.toString('latin1').replace('\0\x03bob', '\0\x03eve'), 'latin1');
    assert.throws(() => parsePublicKey(altered, 'it'), { code: 'ssh-certificate-wrong', kind: 'invalid' });
  });

  it('ssh-key-malformed: a certificate by a certificate', () => {
    const blob = certificate('ed', ['-n', 'bob']);
    const nested = blobOf(ca);
    const at = blob.lastIndexOf(sshString(nested));
    const chained = Buffer.concat([
      blob.subarray(0, at),
      sshString(blob),
      blob.subarray(at + 4 + nested.length),
    ]);
    assert.throws(() => parsePublicKey(chained, 'it'), {
      code: 'ssh-key-malformed',
      message: /is a certificate/,
    });
  });
});
