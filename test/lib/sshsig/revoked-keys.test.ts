import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { verifyCommitSignature } from '../../../src/lib/git/commit-signature.ts';
import { RevokedKeys } from '../../../src/lib/sshsig/revoked-keys.ts';
import { parsePublicKeyLine } from '../../../src/lib/sshsig/ssh-key.ts';
import { hasCodeOf, randomBelow, SshWorld } from './ssh-world.ts';

const world = new SshWorld();
after(() => world.close());
const ed = world.key('ed', 'ed25519');
const other = world.key('other', 'ecdsa', 256);
const ca = world.key('ca', 'ed25519');
world.key('cert', 'ed25519');
world.certify('ca', 'cert', ['-n', 'bob', '-z', '70']);
world.key('zero', 'ed25519');
world.certify('ca', 'zero', ['-n', 'bob']);

const commits = {
  ed: world.signed('ed'),
  cert: world.signed('cert-cert.pub'),
  zero: world.signed('zero-cert.pub'),
};
const allowed = `bob ${ed}\nbob cert-authority ${ca}\n`;

/** A revocation list by ssh-keygen -k, from a specification (KEY REVOCATION LISTS in its manual). */
function list(specification: string, options: string[] = []): Buffer {
  const path = world.path('list.krl');
  const source = world.write('specification', specification);
  world.run('ssh-keygen', ['-q', '-k', ...options, '-f', path, source]);
  return readFileSync(path);
}

describe('OpenSSH revocation lists: the same verdict as git verify-commit', () => {
  const authority = ['-s', world.path('ca.pub')];
  const table: [name: string, list: Buffer, revoked: (keyof typeof commits)[]][] = [
    ['an empty list', list(''), []],
    ['a key', list(`key: ${ed}\n`), ['ed']],
    ['another key', list(`key: ${other}\n`), []],
    ['a SHA-1 fingerprint', list(`sha1: ${ed}\n`), ['ed']],
    ['a SHA-256 fingerprint', list(`sha256: ${ed}\n`), ['ed']],
    ['an authority', list(`key: ${ca}\n`), ['cert', 'zero']],
    ['the key in a certificate', list(readFileSync(world.path('cert.pub'), 'utf8')), ['cert']],
    ['a certificate', list(readFileSync(world.path('cert-cert.pub'), 'utf8')), ['cert']],
    ['a serial number', list('serial: 70\n', authority), ['cert']],
    ['another serial number', list('serial: 71\n', authority), []],
    ['serial numbers in a range', list('serial: 60-80\n', authority), ['cert']],
    ['a range that ends before it', list('serial: 60-69\n', authority), []],
    [
      'many serial numbers, in a bitmap',
      list(
        Array.from({ length: 60 }, (_, at) => `serial: ${2 * at}\n`)
          .slice(1)
          .join(''),
        authority,
      ),
      ['cert'],
    ],
    [
      'many other serial numbers',
      list(Array.from({ length: 60 }, (_, at) => `serial: ${2 * at + 1}\n`).join(''), authority),
      [],
    ],
    ['a key ID', list('id: id-of-zero\n', authority), ['zero']],
    ['a key ID of every authority', list('id: id-of-cert\n', ['-s', 'none']), ['cert']],
    [
      'serial numbers of another authority',
      list('serial: 70\nid: id-of-zero\n', ['-s', world.path('other.pub')]),
      [],
    ],
  ];
  for (const [name, bytes, revoked] of table)
    it(`${name}: revokes ${revoked.join(' and ') || 'nothing here'}`, () => {
      const signers = AllowedSigners.parse(allowed, 'allowed', RevokedKeys.parse(bytes, 'list'));
      const file = world.write('list', bytes);
      for (const [commit, raw] of Object.entries(commits)) {
        const expected = revoked.some((name) => name === commit) ? 'commit-signer-revoked' : undefined;
        assert.equal(
          hasCodeOf(() => verifyCommitSignature(raw, signers)),
          expected,
          commit,
        );
        assert.equal(world.gitVerify(raw, allowed, file).ok, expected === undefined, commit);
      }
    });

  it('revoked-keys-malformed: every truncation of a list', () => {
    const bytes = list(`key: ${ed}\nserial: 70\nid: an-id\n`, authority);
    let sound = 0;
    for (let length = 8; length < bytes.length; length++) {
      const code = hasCodeOf(() => RevokedKeys.parse(bytes.subarray(0, length), 'list'));
      assert.ok(code === undefined || code === 'revoked-keys-malformed', code);
      if (code === undefined) sound++;
    }
    assert.equal(sound, 2, 'only after the header and after the first of two sections');
  });

  it('revoked-keys-malformed, or a valid list: random mutations', () => {
    const random = randomBelow(2);
    const whole = list(
      `key: ${ed}\nsha1: ${other}\nserial: 70\nserial: 72\nserial: 75\nid: an-id\n`,
      authority,
    );
    const key = parsePublicKeyLine(readFileSync(world.path('cert-cert.pub'), 'utf8'), 'it');
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(whole);
      for (let count = 1 + random(4); count > 0; count--)
        bytes.writeUInt8(random(256), 8 + random(bytes.length - 8));
      const code = hasCodeOf(() => RevokedKeys.parse(bytes, 'list').reason(key));
      assert.ok(code === undefined || code === 'revoked-keys-malformed', code);
    }
  });

  for (const [name, section] of Object.entries({
    'an unknown section': Buffer.from([9, 0, 0, 0, 0]),
    'a signature': Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 0]),
    'a critical extension': Buffer.from([255, 0, 0, 0, 10, 0, 0, 0, 1, 120, 1, 0, 0, 0, 0]),
  })) {
    it(`revoked-keys-malformed: ${name}`, () => {
      const bytes = Buffer.concat([list(''), section]);
      assert.throws(() => RevokedKeys.parse(bytes, 'list'), {
        code: 'revoked-keys-malformed',
        kind: 'usage',
      });
      assert.equal(world.gitVerify(commits.ed, allowed, world.write('list', bytes)).ok, false);
    });
  }

  it('ignores an extension that is not critical', () => {
    const bytes = Buffer.concat([list(''), Buffer.from([255, 0, 0, 0, 10, 0, 0, 0, 1, 120, 0, 0, 0, 0, 0])]);
    assert.equal(RevokedKeys.parse(bytes, 'list').reason(parsePublicKeyLine(ed, 'ed')), null);
  });
});

describe('revoked keys as text', () => {
  const key = parsePublicKeyLine(ed, 'ed');

  it('may be keys or fingerprints, with comments', () => {
    const text = `# stolen in May\n\n${other}\n  ${key.fingerprint} bob\r\n`;
    const revoked = RevokedKeys.parse(Buffer.from(text), 'list');
    assert.equal(revoked.reason(key), 'is revoked');
    assert.equal(revoked.reason(parsePublicKeyLine(other, 'other')), 'is revoked');
    assert.equal(revoked.reason(parsePublicKeyLine(ca, 'ca')), null);
  });

  for (const [name, line] of Object.entries({
    'a word': 'hello',
    'a truncated fingerprint': key.fingerprint.slice(0, -1),
    'an MD5 fingerprint': 'MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff',
    'a truncated key': ed.slice(0, 40),
  })) {
    it(`revoked-keys-malformed: ${name}`, () => {
      assert.throws(() => RevokedKeys.parse(Buffer.from(`\n${line}\n`), 'keys/revoked'), {
        code: 'revoked-keys-malformed',
        kind: 'usage',
        message: /keys\/revoked:2/,
      });
    });
  }
});
