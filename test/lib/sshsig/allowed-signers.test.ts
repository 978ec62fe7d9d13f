import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { parseAbsoluteTime } from '../../../src/lib/sshsig/allowed-signers-line.ts';
import { AllowedSigners, isRefusal } from '../../../src/lib/sshsig/allowed-signers.ts';
import { matchesWildcards, matchesWildcardList } from '../../../src/lib/sshsig/wildcards.ts';
import { parsePublicKeyLine } from '../../../src/lib/sshsig/ssh-key.ts';
import { hasCodeOf, randomBelow, SoftwareSecurityKey, SshWorld } from './ssh-world.ts';

const world = new SshWorld();
after(() => world.close());
const ed = world.key('ed', 'ed25519');
const other = world.key('other', 'ed25519');
const key = parsePublicKeyLine(ed, 'ed');
const message = Buffer.from('a message\n');
const signature = world.keygenSign('ed', message);
const at = new Date('2024-06-01T12:00:00Z');

describe('the allowed signers file', () => {
  it('returns principals, options and lines', () => {
    const text = [
      '# builders',
      '',
      `bob@example.org,*@build.example.org namespaces="git,file",valid-after="20240101Z" ${ed}`,
      `  "Build Master" cert-authority,valid-before="202501010000Z" ${other} comment`,
    ].join('\n');
    const [bob, master] = AllowedSigners.parse(text, 'it').signers;
    assert.deepEqual(bob, {
      line: 3,
      principals: ['bob@example.org', '*@build.example.org'],
      key,
      certAuthority: false,
      namespaces: ['git', 'file'],
      validAfter: new Date('2024-01-01T00:00:00Z'),
      validBefore: null,
      noTouchRequired: false,
    });
    assert.equal(master?.line, 4);
    assert.deepEqual(master?.principals, ['Build Master']);
    assert.ok(master?.certAuthority);
    assert.deepEqual(master?.validBefore, new Date('2025-01-01T00:00:00Z'));
  });

  it('is read from a file, with a file of revoked keys', async () => {
    const path = world.write('signers', `bob ${ed}\n`);
    const revoked = world.write('revoked-list', `${key.fingerprint}\n`);
    const signers = await AllowedSigners.load(path, { revoked });
    assert.deepEqual(signers.find(key, 'git', at), { reason: 'revoked', detail: 'is revoked' });
  });

  const bad: Record<string, string> = {
    'a name without a key': 'bob@example.org',
    'a key without a name': ed.split(' ').slice(0, 2).join(' '),
    'a truncated key': `bob ${ed.split(' ').slice(0, 2).join(' ').slice(0, -4)}`,
    'a key of a different type than the line says': `bob ssh-rsa ${ed.split(' ')[1]}`,
    'an unknown option': `bob permit-everything ${ed}`,
    'an option twice': `bob namespaces="git",namespaces="file" ${ed}`,
    'a flag with a value': `bob cert-authority="yes" ${ed}`,
    'namespaces without quotes': `bob namespaces=git ${ed}`,
    'namespaces without an end quote': `bob namespaces="git ${ed}`,
    'empty namespaces': `bob namespaces="" ${ed}`,
    'an option list with an empty item': `bob namespaces="git",,valid-after="20200101" ${ed}`,
    'an option list that ends in a comma': `bob namespaces="git", ${ed}`,
    'a time that is none': `bob valid-after="yesterday" ${ed}`,
    'a day that does not exist': `bob valid-after="20240230" ${ed}`,
    'an hour that does not exist': `bob valid-after="202402012400" ${ed}`,
    'an end before the beginning': `bob valid-after="20240201",valid-before="20240101" ${ed}`,
    'an empty name': `bob,,eve ${ed}`,
    'only negated names': `!bob ${ed}`,
    'a quote inside of the names': `bo"b" ${ed}`,
  };
  /** Lines that ssh-keygen accepts; it skips the others without a message. */
  const accepted = new Set([
    'an option list with an empty item',
    'a day that does not exist',
    'an empty name',
    'a quote inside of the names',
  ]);
  for (const [name, line] of Object.entries(bad))
    it(`allowed-signers-malformed: ${name}${accepted.has(name) ? ' (ssh-keygen accepts it)' : ''}`, () => {
      const said = world.keygenVerify(signature, message, { allowed: `${line}\n`, principal: 'bob' });
      assert.equal(said.ok, accepted.has(name), said.said);
      assert.throws(
        () => AllowedSigners.parse(`# first\n${line}\n`, 'keys/allowed'),
        (error: Error) => {
          assert.match(error.message, /keys\/allowed:2/);
          assert.match(String(Reflect.get(error, 'hint')), /PRINCIPALS/);
          assert.equal(Reflect.get(error, 'code'), 'allowed-signers-malformed');
          assert.equal(Reflect.get(error, 'kind'), 'usage');
          return true;
        },
      );
    });

  it('allowed-signers-malformed: a DSA key', () => {
    assert.throws(() => AllowedSigners.parse(`bob ssh-dss AAAAB3NzaC1kc3M=\n`, 'it'), {
      message: /of the type "ssh-dss"/,
    });
  });

  it('allowed-signers-malformed, or a valid line: random mutations', () => {
    const random = randomBelow(1);
    const text = Buffer.from(`"b b",*@x namespaces="git",valid-after="20240101Z",cert-authority ${ed}\n`);
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(text);
      for (let count = 1 + random(4); count > 0; count--) bytes.writeUInt8(random(128), random(bytes.length));
      const code = hasCodeOf(() => AllowedSigners.parse(bytes.toString(), 'it'));
      assert.ok(code === undefined || code === 'allowed-signers-malformed', code);
    }
  });

  it('allowed-signers-malformed: a certificate in place of a key', () => {
    world.certify('other', 'ed', ['-n', 'bob']);
    const certificate = world.run('cat', [world.path('ed-cert.pub')]).trim();
    assert.throws(() => AllowedSigners.parse(`bob ${certificate}\n`, 'it'), {
      message: /it:1 lists a certificate/,
    });
  });

  it('allowed-signers-malformed: bytes that are not UTF-8', async () => {
    const path = world.write('latin1', Buffer.from(`b\xf6b ${ed}\n`, 'latin1'));
    await assert.rejects(AllowedSigners.load(path), { code: 'allowed-signers-malformed' });
  });

  it('allowed-signers-unreadable: no file', async () => {
    await assert.rejects(AllowedSigners.load(world.path('missing')), {
      code: 'allowed-signers-unreadable',
      kind: 'usage',
    });
  });
});

const find = (text: string, moments: Date | readonly [Date, ...Date[]] = at, namespace = 'git') => {
  const finding = AllowedSigners.parse(text, 'it').find(key, namespace, moments);
  return isRefusal(finding) ? finding.reason : `${finding.principal}:${finding.line}`;
};

describe('AllowedSigners.find', () => {
  it('requires that every moment is permitted by some line with the same name', () => {
    const until = `bob valid-before="20240701Z" ${ed}\n`;
    const from = `bob valid-after="20240701Z" ${ed}\n`;
    const later = new Date('2025-01-01T00:00:00Z');
    assert.equal(find(until, [at, later]), 'expired');
    assert.equal(find(until + from, [at, later]), 'bob:1');
    assert.equal(find(until + from.replace('bob', 'eve'), [at, later]), 'expired');
    assert.equal(find(from, [at, later]), 'not-yet-valid');
  });

  it('requires the given namespace', () => {
    assert.equal(find(`bob namespaces="file" ${ed}\n`, at, 'file'), 'bob:1');
    assert.equal(find(`bob namespaces="file" ${ed}\n`), 'namespace');
  });

  it('requires that security keys were touched, if a proof is given', () => {
    const software = new SoftwareSecurityKey('ed25519');
    const sk = parsePublicKeyLine(software.line, 'sk');
    const signers = AllowedSigners.parse(`bob ${software.line}\n`, 'it');
    const securityKey = { userPresent: false, userVerified: false, counter: 1 };
    assert.ok(
      !isRefusal(signers.find(sk, 'git', at, { securityKey: { ...securityKey, userPresent: true } })),
    );
    assert.deepEqual(signers.find(sk, 'git', at, { securityKey }), {
      reason: 'touch',
      detail: 'is a security key that was not touched, as it:1 requires',
    });
  });

  it('agrees with ssh-keygen -Y verify about names, patterns and times', () => {
    const table: [line: string, principal: string, ok: boolean][] = [
      [`bob ${ed}`, 'bob', true],
      [`bob ${ed}`, 'eve', false],
      [`b?b ${ed}`, 'bob', true],
      [`*@x.org,!eve@x.org ${ed}`, 'bob@x.org', true],
      [`*@x.org,!eve@x.org ${ed}`, 'eve@x.org', false],
      [`bob valid-before="20240601120000Z" ${ed}`, 'bob', true],
      [`bob valid-before="20240601115959Z" ${ed}`, 'bob', false],
      [`bob valid-after="20240601120000Z" ${ed}`, 'bob', true],
      [`bob valid-after="20240601120001z" ${ed}`, 'bob', false],
      [`bob valid-after="20240601Z",namespaces="git" ${ed}`, 'bob', true],
      [`bob namespaces="*,!git" ${ed}`, 'bob', false],
    ];
    for (const [line, principal, ok] of table) {
      const said = world.keygenVerify(signature, message, {
        allowed: `${line}\n`,
        principal,
        at: '20240601120000Z',
      });
      assert.equal(said.ok, ok, `${line}: ${said.said}`);
      const signers = AllowedSigners.parse(line, 'it');
      const finding = signers.find(key, 'git', at);
      const named = matchesWildcardList(principal, signers.signers[0]?.principals ?? []);
      assert.equal(named && !isRefusal(finding), ok, line);
    }
  });
});

describe('times in allowed signers', () => {
  it('are UTC with Z, and local without it', () => {
    assert.deepEqual(parseAbsoluteTime('20240601Z'), new Date('2024-06-01T00:00:00Z'));
    assert.deepEqual(parseAbsoluteTime('202406011230z'), new Date('2024-06-01T12:30:00Z'));
    assert.deepEqual(parseAbsoluteTime('20240601123015UTC'), new Date('2024-06-01T12:30:15Z'));
    assert.deepEqual(parseAbsoluteTime('20240601'), new Date(2024, 5, 1));
    assert.deepEqual(parseAbsoluteTime('20240601123015'), new Date(2024, 5, 1, 12, 30, 15));
    assert.deepEqual(parseAbsoluteTime('20240229Z'), new Date('2024-02-29T00:00:00Z'));
  });

  for (const text of [
    '',
    '2024',
    '20230229',
    '20241301',
    '202406016',
    '2024060112301',
    '20240601 ',
    '19691231',
    '0x60000000',
  ]) {
    it(`are refused otherwise: ${JSON.stringify(text)}`, () =>
      assert.equal(parseAbsoluteTime(text), undefined));
  }
});

describe('wildcards', () => {
  for (const [text, pattern, ok] of [
    ['', '', true],
    ['', '*', true],
    ['a', '', false],
    ['abc', 'abc', true],
    ['abc', 'a?c', true],
    ['abc', 'a*', true],
    ['abc', '*c', true],
    ['abc', '*b*', true],
    ['abc', '*d*', false],
    ['abcabd', '*ab?', true],
    ['abc', 'ABC', false],
    ['a.c', 'a.c', true],
    ['axc', 'a.c', false],
  ] as const) {
    it(`${JSON.stringify(pattern)} ${ok ? 'matches' : 'does not match'} ${JSON.stringify(text)}`, () => {
      assert.equal(matchesWildcards(text, pattern), ok);
    });
  }

  it('do not hang', () => assert.equal(matchesWildcards('a'.repeat(2000), `${'*a'.repeat(200)}b`), false));

  it('in a list: one must match, and none of the negated may', () => {
    assert.ok(matchesWildcardList('bob', ['eve', 'b*']));
    assert.ok(!matchesWildcardList('bob', ['b*', '!bob']));
    assert.ok(!matchesWildcardList('bob', ['!eve']));
  });
});
