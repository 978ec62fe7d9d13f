import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import {
  claimedIdentity,
  signedIdentity,
  verifyCommitSignature,
} from '../../../src/lib/git/commit-signature.ts';
import { attachSignature, splitCommit } from '../../../src/lib/git/signed-commit.ts';
import { RevokedKeys } from '../../../src/lib/sshsig/revoked-keys.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { armor, buildSshSig, dearmor, parseSshSig, signedData } from '../../../src/lib/sshsig/sshsig.ts';
import {
  attached,
  COMMITTED,
  commit,
  OTHER_TREE,
  randomBelow,
  SoftwareSecurityKey,
  SshWorld,
  TREE,
} from '../sshsig/ssh-world.ts';

const world = new SshWorld();
after(() => world.close());

const ed = world.key('ed', 'ed25519');
const other = world.key('other', 'ed25519');
const keys = {
  ed25519: ed,
  ecdsa256: world.key('ecdsa256', 'ecdsa', 256),
  ecdsa384: world.key('ecdsa384', 'ecdsa', 384),
  ecdsa521: world.key('ecdsa521', 'ecdsa', 521),
  rsa2048: world.key('rsa2048', 'rsa', 2048),
  rsa3072: world.key('rsa3072', 'rsa', 3072),
};
const rsa1024 = world.key('rsa1024', 'rsa', 1024);
const ca = world.key('ca', 'ecdsa', 256);

/** Certificates for the key `ed` with names of their own. */
function certified(name: string, options: string[]): string {
  const key = world.key(name, 'ed25519');
  world.certify('ca', name, options);
  return key;
}
certified('cert-bob', ['-n', 'bob@example.org,build@example.org']);
certified('cert-eve', ['-n', 'eve@elsewhere.org']);
certified('cert-nobody', []);
certified('cert-host', ['-h', '-n', 'bob@example.org']);
certified('cert-expired', ['-n', 'bob@example.org', '-V', '20200101:20210101']);
certified('cert-future', ['-n', 'bob@example.org', '-V', '20990101:21000101']);
certified('cert-command', ['-n', 'bob@example.org', '-O', 'force-command=ls']);
certified('cert-serial', ['-n', 'bob@example.org', '-z', '77']);
const otherCa = world.key('other-ca', 'ed25519');

const touched = new SoftwareSecurityKey('ed25519');
const touchedEcdsa = new SoftwareSecurityKey('ecdsa', 'ssh:build');

const good = world.signed('ed');
const signatureOf = (raw: Buffer): string => splitCommit(raw).signature ?? '';
const replaced = (raw: Buffer, from: string, to: string): Buffer => {
  assert.ok(raw.includes(from));
  return Buffer.from(raw.toString('latin1').replace(from, to), 'latin1');
};
const withArmor = (armored: string, parts = {}): Buffer => attached(commit(parts), armored);

/** The valid signature's blob with one of its parts replaced. */
function rebuilt(parts: Partial<Parameters<typeof buildSshSig>[0]>): Buffer {
  const { publicKey, namespace, hash, signature } = parseSshSig(dearmor(signatureOf(good), 'it'), 'it');
  return withArmor(armor(buildSshSig({ publicKey: publicKey.blob, namespace, hash, signature, ...parts })));
}

/** Bytes in the reserved field, which OpenSSH does not verify. */
function withReserved(): Buffer {
  const blob = dearmor(signatureOf(good), 'it');
  const at = blob.indexOf(Buffer.from([0, 0, 0, 3, 0x67, 0x69, 0x74])) + 7;
  const changed = Buffer.concat([blob.subarray(0, at), Buffer.from([0, 0, 0, 1, 65]), blob.subarray(at + 4)]);
  return withArmor(armor(changed));
}

function openPgp(): Buffer {
  const text = '-----BEGIN PGP SIGNATURE-----\n\niQEzBAABCAAdFiEE\n=abcd\n-----END PGP SIGNATURE-----';
  return withArmor(text);
}

interface Case {
  name: string;
  /** The commit; a valid one by the key `ed` unless given. */
  raw?: Buffer;
  /** The allowed signers file; `bob@example.org` with the key `ed` unless given. */
  allowed?: string;
  /** The revoked keys file. */
  revoked?: string | Buffer;
  /** The principal, `bob@example.org` unless given, or the code of the error. */
  expect?: string | undefined;
  /** Why git accepts what is refused here. */
  stricter?: string;
}

const bob = `bob@example.org ${ed}\n`;
const names = (line: string): string => `bob@example.org ${line}\n`;
const caLine = (options = ''): string => `*@example.org cert-authority${options} ${ca}\n`;

/** Signatures by the key `ed` under different allowed signers. */
const listed = (rows: readonly (readonly [name: string, allowed: string, expect?: string])[]): Case[] =>
  rows.map(([name, allowed, expect]) => ({ name, allowed, expect }));

/** Signatures by the certificate NAME of the key `ed`. */
const certificates = (
  rows: readonly (readonly [name: string, certificate: string, allowed: string, expect?: string])[],
): Case[] =>
  rows.map(([name, certificate, allowed, expect]) => ({
    name,
    raw: world.signed(`${certificate}-cert.pub`),
    allowed,
    expect,
  }));

/** Commits that are refused with the same code. */
const refused = (expect: string, rows: readonly (readonly [name: string, raw: Buffer])[]): Case[] =>
  rows.map(([name, raw]) => ({ name, raw, expect }));

const cases: Case[] = [
  // --- good -------------------------------------------------------------------------------------
  ...Object.entries(keys).map(([name, line]) => ({
    name: `a signature by ${name}`,
    raw: world.signed(name === 'ed25519' ? 'ed' : name),
    allowed: names(line),
  })),
  { name: 'sha256 as the message digest', raw: withArmor(world.keygenSign('ed', commit(), 'git', 'sha256')) },
  {
    name: 'a commit with parents, merge tag, encoding and UTF-8',
    raw: world.signed('ed', {
      parents: ['11'.repeat(20), '22'.repeat(20)],
      headers: 'encoding UTF-8\nmergetag object 00\n type commit\n gpgsig no\n \n tagged\n',
      message: 'Signiere Übung\n\ngpgsig in the message\n',
      committer: 'Jürgen Ø <j@example.org>',
    }),
  },
  { name: 'an empty message', raw: world.signed('ed', { message: '' }) },
  { name: 'a touched security key, Ed25519', raw: touched.signed(), allowed: names(touched.line) },
  { name: 'a touched security key, ECDSA', raw: touchedEcdsa.signed(), allowed: names(touchedEcdsa.line) },

  // --- allowed signers ---------------------------------------------------------------------------
  ...listed([
    ['the first of several names', `first@x.org,second@x.org ${ed}\n`, 'first@x.org'],
    ['a wildcard is its own name', `*@example.org ${ed}\n`, '*@example.org'],
    ['a name with a blank, in quotes', `"Build Master" ${ed}\n`, 'Build Master'],
    ['comments, blank lines, tabs and CRLF', `# who\r\n\r\n\tbob@example.org\t \t${ed} comment here\r\n`],
    ['the first of several lines', `a@x.org ${ed}\nb@x.org ${ed}\n`, 'a@x.org'],
    ['namespaces that hold git', `bob@example.org namespaces="file,g*" ${ed}\n`],
    ['options in capitals', `bob@example.org NameSpaces="git",Valid-After="20240101Z" ${ed}\n`],
    [
      'within valid-after and valid-before, local time',
      `bob@example.org valid-after="20240501",valid-before="202407011200" ${ed}\n`,
    ],
    [
      'an expired line before a valid one',
      `old@x.org valid-before="20230101" ${ed}\nnew@x.org ${ed}\n`,
      'new@x.org',
    ],
    [
      'the same name in two lines with different namespaces',
      `bob@example.org namespaces="file" ${ed}\nbob@example.org namespaces="git" ${ed}\n`,
    ],
    [
      'two names where the second line permits git',
      `a@x.org namespaces="file" ${ed}\nb@x.org ${ed}\n`,
      'commit-signature-namespace',
    ],
    ['namespaces without git', `bob@example.org namespaces="file" ${ed}\n`, 'commit-signature-namespace'],
    [
      'namespaces that except git',
      `bob@example.org namespaces="*,!git" ${ed}\n`,
      'commit-signature-namespace',
    ],
    [
      'a second after valid-before',
      `bob@example.org valid-before="20240601115959Z" ${ed}\n`,
      'commit-signer-expired',
    ],
    ['at valid-before itself', `bob@example.org valid-before="20240601120000Z" ${ed}\n`],
    [
      'a second before valid-after',
      `bob@example.org valid-after="20240601120001Z" ${ed}\n`,
      'commit-signer-not-yet-valid',
    ],
    ['another key', names(other), 'commit-signer-unknown'],
    ['an empty list', '# nobody\n', 'commit-signer-unknown'],
  ]),
  {
    name: 'an authority that signs by itself',
    raw: world.signed('ca'),
    allowed: caLine(),
    expect: 'commit-signer-unknown',
  },

  // --- certificates ------------------------------------------------------------------------------
  ...certificates([
    ['a certificate', 'cert-bob', caLine()],
    [
      'a certificate in the order of the patterns',
      'cert-bob',
      `build@*,bob@* cert-authority ${ca}\n`,
      'build@example.org',
    ],
    [
      'a name excepted from the authority',
      'cert-bob',
      `!bob@example.org,*@example.org cert-authority ${ca}\n`,
      'build@example.org',
    ],
    ['a certificate for a name of elsewhere', 'cert-eve', caLine(), 'commit-signer-certificate'],
    ['a certificate without names', 'cert-nobody', caLine(), 'commit-signer-certificate'],
    ['a host certificate', 'cert-host', caLine(), 'commit-signer-certificate'],
    ['an expired certificate', 'cert-expired', caLine(), 'commit-signer-expired'],
    ['a certificate of the future', 'cert-future', caLine(), 'commit-signer-not-yet-valid'],
  ]),
  {
    name: 'an expired certificate when it was good',
    raw: world.signed('cert-expired-cert.pub', { time: 1_600_000_000 }),
    allowed: caLine(),
  },
  ...certificates([
    [
      'a certificate by another authority',
      'cert-bob',
      names(`cert-authority ${otherCa}`),
      'commit-signer-unknown',
    ],
    [
      'a certificate whose authority is listed without cert-authority',
      'cert-bob',
      names(ca),
      'commit-signer-unknown',
    ],
    [
      'a certificate where the bare key is listed',
      'cert-bob',
      names(readFileSync(world.path('cert-bob.pub'), 'utf8').trim()),
      'commit-signer-unknown',
    ],
    ['an expired authority', 'cert-bob', caLine(',valid-before="20230101"'), 'commit-signer-expired'],
    ['an authority for files only', 'cert-bob', caLine(',namespaces="file"'), 'commit-signature-namespace'],
  ]),
  {
    name: 'a certificate with force-command',
    raw: world.signed('cert-command-cert.pub'),
    allowed: caLine(),
    expect: 'commit-signer-certificate',
    stricter: 'ssh-keygen does not look at critical options',
  },

  // --- revoked -----------------------------------------------------------------------------------
  { name: 'a revoked key', revoked: `# stolen\n${ed}\n`, expect: 'commit-signer-revoked' },
  { name: 'another key revoked', revoked: `${other}\n` },
  {
    name: 'a revoked key in a certificate',
    raw: world.signed('cert-bob-cert.pub'),
    allowed: caLine(),
    revoked: readFileSync(world.path('cert-bob.pub')),
    expect: 'commit-signer-revoked',
  },
  {
    name: 'a revoked authority',
    raw: world.signed('cert-bob-cert.pub'),
    allowed: caLine(),
    revoked: `${ca}\n`,
    expect: 'commit-signer-revoked',
  },

  // --- signatures --------------------------------------------------------------------------------
  ...refused('commit-unsigned', [['no signature', commit()]]),
  ...refused('commit-signature-wrong', [
    ['another tree', replaced(good, TREE, OTHER_TREE)],
    ['another message', replaced(good, 'build.zip', 'virus.zip')],
    ['another committer time', replaced(good, `> ${COMMITTED} +0000\ngpgsig`, '> 1717243201 +0000\ngpgsig')],
    ['another author', replaced(good, 'author Bob', 'author Eve')],
    ['a parent added', replaced(good, 'author', `parent ${OTHER_TREE}\nauthor`)],
    [
      'the signature of another commit',
      attached(commit(), signatureOf(world.signed('ed', { message: 'else\n' }))),
    ],
    ['one bit of the signature', rebuilt({ signature: flipped() })],
  ]),
  {
    name: 'the key of another person',
    raw: rebuilt({ publicKey: Buffer.from(other.split(' ')[1] ?? '', 'base64') }),
    allowed: names(other),
    expect: 'commit-signature-wrong',
  },
  ...refused('commit-signature-wrong', [['sha256 claimed over sha512', rebuilt({ hash: 'sha256' })]]),
  ...refused('commit-signature-namespace', [['the namespace file', world.signed('ed', {}, 'file')]]),
  ...refused('commit-signature-wrong', [['the namespace file renamed git', attached(commit(), renamed())]]),
  ...refused('commit-signed-openpgp', [['an OpenPGP signature', openPgp()]]),
  ...refused('commit-signed-x509', [
    ['an X.509 signature', withArmor('-----BEGIN SIGNED MESSAGE-----\nMIAG\n-----END SIGNED MESSAGE-----')],
  ]),
  ...refused('commit-signature-malformed', [
    ['a signature of no known kind', withArmor('hello')],
    ['truncated armor', withArmor(signatureOf(good).slice(0, 200))],
    ['armor without its footer', withArmor(signatureOf(good).replace(/\n-----END.*\n/, '\n'))],
    ['a truncated blob', withArmor(armor(dearmor(signatureOf(good), 'it').subarray(0, -4)))],
    [
      'bytes after the blob',
      withArmor(armor(Buffer.concat([dearmor(signatureOf(good), 'it'), Buffer.of(0)]))),
    ],
    ['garbage in the armor', withArmor(armor(Buffer.from('garbage')))],
    ['a digest that is not known', rebuilt({ hash: 'md5' as 'sha256' })],
  ]),
  {
    name: 'text after the armor',
    raw: withArmor(`${signatureOf(good)}more`),
    expect: 'commit-signature-malformed',
    stricter: 'ssh-keygen stops at the footer',
  },
  {
    name: 'blanks in the armor',
    raw: withArmor(signatureOf(good).replace('\nU1NI', '\n  U1NI')),
    expect: 'commit-signature-malformed',
    stricter: 'ssh-keygen skips white space in base64',
  },
  {
    name: 'bytes in the reserved field',
    raw: withReserved(),
    expect: 'commit-signature-malformed',
    stricter: 'ssh-keygen verifies as if the field were empty',
  },
  {
    name: 'two gpgsig headers',
    raw: replaced(good, 'gpgsig ', `gpgsig ${signatureOf(good).replaceAll('\n', '\n ').trim()}\ngpgsig `),
    expect: 'commit-signature-malformed',
    stricter: 'git joins the two, ssh-keygen stops at the first footer',
  },
  {
    name: 'a gpgsig-sha256 header beside gpgsig',
    raw: replaced(good, 'gpgsig ', 'gpgsig-sha256 anything\ngpgsig '),
    expect: 'commit-signature-malformed',
    stricter: 'git leaves the header out of what is verified, so anyone can add one',
  },
  ...refused('commit-signature-malformed', [
    ['only a gpgsig-sha256 header', replaced(good, 'gpgsig ', 'gpgsig-sha256 ')],
  ]),
  {
    name: 'a security key that was not touched',
    raw: touched.signed({}, { flags: 0 }),
    allowed: names(touched.line),
    expect: 'commit-signer-absent',
    stricter: 'ssh-keygen does not look at the flags',
  },
  {
    name: 'an RSA key of 1024 bits',
    raw: world.signed('rsa1024'),
    allowed: '# nobody\n',
    expect: 'commit-signature-malformed',
  },
  {
    name: 'a commit with a NUL',
    raw: world.signed('ed', { message: 'seen\0unseen' }),
    expect: 'commit-malformed',
    stricter: 'git verifies it, and shows the message up to the NUL',
  },
  {
    name: 'a committer beside another',
    raw: world.signed('ed', { headers: 'committer Eve <e@x.org> 1 +0000\n' }),
    expect: 'commit-malformed',
    stricter: 'git fsck complains, verify-commit does not',
  },
];

const escape = (text: string): string => text.replaceAll(/[*?.]/g, String.raw`\$&`);

function flipped(): Buffer {
  const { signature } = parseSshSig(dearmor(signatureOf(good), 'it'), 'it');
  const bytes = Buffer.from(signature);
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 40) ^ 1, bytes.length - 40);
  return bytes;
}

function renamed(): string {
  const { publicKey, hash, signature } = parseSshSig(
    dearmor(world.keygenSign('ed', commit(), 'file'), 'it'),
    'it',
  );
  return armor(buildSshSig({ publicKey: publicKey.blob, namespace: 'git', hash, signature }));
}

/** The principal, or the code of the error. */
function outcome(...request: Parameters<typeof verify>): string {
  try {
    return verify(...request).principal;
  } catch (error) {
    assert.ok(error instanceof SignpipeError, String(error));
    assert.ok(error.hint, `${error.code} has a hint`);
    return error.code;
  }
}

function verify(
  { raw = good, allowed = bob, revoked }: Pick<Case, 'raw' | 'allowed' | 'revoked'>,
  now?: Date,
) {
  const list = revoked === undefined ? undefined : RevokedKeys.parse(Buffer.from(revoked), 'revoked');
  return verifyCommitSignature(raw, AllowedSigners.parse(allowed, 'allowed', list), now ? { now } : {});
}

describe('commit signatures: the same verdict as git verify-commit', () => {
  for (const example of cases) {
    const { name, raw = good, expect = 'bob@example.org', stricter, revoked } = example;
    const accepted = /[@ ]/.test(expect);
    const suffix = stricter === undefined ? '' : ` (git accepts: ${stricter})`;
    it(`${accepted ? 'accepts' : `${expect}:`} ${name}${suffix}`, () => {
      assert.equal(outcome(example), expect);
      const file = revoked === undefined ? undefined : world.write('revoked', revoked);
      const git = world.gitVerify(raw, example.allowed ?? bob, file);
      assert.equal(git.ok, accepted || stricter !== undefined, git.said);
      if (accepted) assert.match(git.said, new RegExp(`signature for ${escape(expect)} with`));
    });
  }
});

describe('allowed signers made up at random: the same verdict and name as git verify-commit', () => {
  const random = randomBelow(11);
  const pick = <T>(...choices: readonly T[]): T => choices[random(choices.length)] ?? assert.fail();
  const line = (): string => {
    const options = [
      pick('', '', 'cert-authority'),
      pick('', '', 'namespaces="git"', 'namespaces="file"', 'namespaces="g*,!git"'),
      pick('', '', 'valid-after="20240101Z"', 'valid-after="20250101Z"'),
      pick('', '', 'valid-before="20260101Z"', 'valid-before="20240202Z"'),
    ];
    const sound = options[2]?.includes('2025') === true ? options.slice(0, 3) : options;
    const list = sound.filter((option) => option !== '').join(',');
    const who = pick(
      'bob@example.org',
      '*@example.org',
      'a@x.org,bob@example.org',
      '!bob@example.org,*@example.org',
      'b*',
    );
    return `${who} ${list === '' ? '' : `${list} `}${pick(ed, ed, ca, ca, other)}\n`;
  };
  for (let round = 0; round < 60; round++) {
    const allowed = Array.from({ length: 1 + random(4) }, line).join('');
    const [name, raw] = pick(
      ['a key', good] as const,
      ['a certificate', world.signed('cert-bob-cert.pub')] as const,
    );
    it(`${round}: ${name}`, () => {
      const git = world.gitVerify(raw, allowed);
      const principal = /^Good "git" signature for (.*) with /m.exec(git.said)?.[1];
      const ours = outcome({ raw, allowed });
      assert.equal(!ours.startsWith('commit-'), git.ok, `${allowed}${git.said}`);
      // Git's name for `!bob,*` is "!bob", which is the exception; signpipe's is "*".
      if (git.ok) assert.equal(ours, principal?.startsWith('!') ? '*@example.org' : principal);
    });
  }
});

describe('verifyCommitSignature', () => {
  it('returns the principal, the key and the time', () => {
    const said = verify({ raw: world.signed('ecdsa384'), allowed: `a@x.org,b@x.org ${keys.ecdsa384}\n` });
    const listed = world.run('ssh-keygen', ['-l', '-f', world.path('ecdsa384.pub')]).split(' ')[1];
    assert.deepEqual(said, {
      principal: 'a@x.org',
      principals: ['a@x.org', 'b@x.org'],
      fingerprint: listed,
      committedAt: new Date(COMMITTED * 1000),
    });
  });

  it('names the certified key of a certificate by its fingerprint', () => {
    const said = verify({ raw: world.signed('cert-bob-cert.pub'), allowed: caLine() });
    assert.equal(
      said.fingerprint,
      world.run('ssh-keygen', ['-l', '-f', world.path('cert-bob.pub')]).split(' ')[1],
    );
  });

  it('commit-signer-expired: a key that has expired, in a commit that claims to be older', () => {
    const allowed = `bob@example.org valid-before="20240701Z" ${ed}\n`;
    assert.equal(outcome({ raw: good, allowed }), 'bob@example.org');
    assert.equal(outcome({ raw: good, allowed }, new Date('2024-06-30')), 'bob@example.org');
    assert.equal(outcome({ raw: good, allowed }, new Date('2024-07-02')), 'commit-signer-expired');
  });

  it('commit-signer-expired: a certificate that has expired', () => {
    const raw = world.signed('cert-expired-cert.pub', { time: 1_600_000_000 });
    assert.equal(outcome({ raw, allowed: caLine() }, new Date('2024-07-02')), 'commit-signer-expired');
  });

  it('reports the commit, the key and the line, and what to do', () => {
    const allowed = `bob@example.org valid-before="20230101Z" ${ed}\n`;
    const id = splitCommit(good).id.slice(0, 12);
    const fingerprint = world.run('ssh-keygen', ['-l', '-f', world.path('ed.pub')]).split(' ')[1];
    assert.throws(() => verify({ raw: good, allowed }), {
      code: 'commit-signer-expired',
      kind: 'not-allowed',
      message: `commit ${id} is signed by ${fingerprint}, which was valid until 2023-01-01T00:00:00.000Z (allowed:1)`,
      hint: /valid-before/,
    });
    assert.throws(() => verify({ raw: openPgp() }), {
      code: 'commit-signed-openpgp',
      hint: /git config gpg\.format ssh/,
    });
  });

  it('commit-signer-revoked: by fingerprint, which only signpipe supports', () => {
    const fingerprint = world.run('ssh-keygen', ['-l', '-f', world.path('ed.pub')]).split(' ')[1] ?? '';
    assert.equal(
      outcome({ raw: good, revoked: `# stolen\n${fingerprint} of bob\n` }),
      'commit-signer-revoked',
    );
  });

  it('accepts an untouched security key if no-touch-required says so', () => {
    const allowed = `bob@example.org no-touch-required ${touched.line}\n`;
    assert.equal(outcome({ raw: touched.signed({}, { flags: 0 }), allowed }), 'bob@example.org');
  });

  it('commit-signature-malformed: a signature made by a browser', () => {
    const signature = touchedEcdsa.rawSign(signedData('git', 'sha512', commit()));
    const name = 'sk-ecdsa-sha2-nistp256@openssh.com';
    const webauthn = Buffer.concat([
      Buffer.from([0, 0, 0, name.length + 9]),
      Buffer.from(`webauthn-${name}`),
      signature.subarray(4 + name.length),
    ]);
    const raw = withArmor(
      armor(
        buildSshSig({ publicKey: touchedEcdsa.blob, namespace: 'git', hash: 'sha512', signature: webauthn }),
      ),
    );
    assert.throws(() => verify({ raw, allowed: names(touchedEcdsa.line) }), {
      code: 'commit-signature-malformed',
      message: /web browser/,
    });
  });

  it('commit-signature-malformed: CRLF in the armor, which git never stores and not every OpenSSH reads', () => {
    const raw = withArmor(world.keygenSign('ed', commit()).replaceAll('\n', '\r\n'));
    assert.equal(outcome({ raw }), 'commit-signature-malformed');
  });

  it('commit-signature-malformed: RSA with SHA-1', () => {
    const { publicKey, signature } = parseSshSig(dearmor(world.keygenSign('rsa2048', commit()), 'it'), 'it');
    const sha1 = Buffer.concat([
      Buffer.from([0, 0, 0, 7]),
      Buffer.from('ssh-rsa'),
      signature.subarray(4 + 'rsa-sha2-512'.length),
    ]);
    const raw = withArmor(
      armor(buildSshSig({ publicKey: publicKey.blob, namespace: 'git', hash: 'sha512', signature: sha1 })),
    );
    assert.throws(() => verify({ raw, allowed: names(keys.rsa2048) }), {
      code: 'commit-signature-malformed',
      message: /SHA-256 or SHA-512/,
    });
    assert.equal(world.gitVerify(raw, names(keys.rsa2048)).ok, false);
  });

  it('usage: an RSA key of 1024 bits in the allowed signers', () => {
    assert.throws(() => AllowedSigners.parse(names(rsa1024), 'allowed'), {
      kind: 'usage',
      message: /1024 bits/,
    });
  });
});

describe('splitCommit and attachSignature', () => {
  it('are inverse, and write the same bytes as git', () => {
    const { payload, signature, id } = splitCommit(good);
    assert.deepEqual(payload, commit());
    assert.deepEqual(attachSignature(payload, signature ?? ''), good);
    assert.equal(id, world.run('git', ['hash-object', '-t', 'commit', '--stdin'], good).trim());
  });

  it('split commits that git itself signed', () => {
    const git = ['-C', world.repository, '-c', 'gpg.format=ssh', '-c', `user.signingkey=${world.path('ed')}`];
    const who = ['-c', 'user.name=Bob', '-c', 'user.email=bob@example.org'];
    const id = world.run('git', [...git, ...who, 'commit-tree', '-S', '-m', 'by git', TREE]).trim();
    const raw = Buffer.from(world.run('git', ['-C', world.repository, 'cat-file', 'commit', id]));
    const { payload, signature } = splitCommit(raw);
    assert.equal(splitCommit(raw).id, id);
    assert.deepEqual(attachSignature(payload, signature ?? ''), raw);
    assert.equal(outcome({ raw }), 'bob@example.org');
  });

  it('support SHA-256 repositories, which sign in gpgsig-sha256', () => {
    const repository = world.path('sha256');
    world.run('git', ['init', '-q', '--object-format=sha256', repository]);
    const git = ['-C', repository, '-c', 'gpg.format=ssh', '-c', `user.signingkey=${world.path('ed')}`];
    const who = ['-c', 'user.name=Bob', '-c', 'user.email=bob@example.org'];
    world.run('git', [...git, ...who, 'commit', '-q', '-S', '--allow-empty', '-m', 'by git']);
    const raw = Buffer.from(world.run('git', ['-C', repository, 'cat-file', 'commit', 'HEAD']));
    const { id, payload, signature } = splitCommit(raw);
    assert.equal(id, world.run('git', ['-C', repository, 'rev-parse', 'HEAD']).trim());
    assert.deepEqual(attachSignature(payload, signature ?? ''), raw);
    assert.equal(outcome({ raw }), 'bob@example.org');
  });

  it('commit-signed-already: a commit is not signed twice', () => {
    assert.throws(() => attachSignature(good, signatureOf(good)), {
      code: 'commit-signed-already',
      kind: 'usage',
    });
  });

  for (const [name, raw] of Object.entries({
    'no commit': Buffer.from('hello'),
    nothing: Buffer.alloc(0),
    'no end of a header': Buffer.from(`tree ${TREE}\nauthor`),
    'no author': Buffer.from(`tree ${TREE}\ncommitter B <b@x> 1 +0000\n\n`),
    'no committer time': replaced(
      commit(),
      `committer Bob <bob@example.org> ${COMMITTED}`,
      'committer Bob <bob@example.org>',
    ),
    'two trees': commit({ headers: `tree ${TREE}\n` }),
    'too many bytes': commit({ message: 'x'.repeat(1024 * 1024) }),
  })) {
    it(`commit-malformed: ${name}`, () =>
      assert.throws(() => splitCommit(raw), { code: 'commit-malformed', kind: 'invalid' }));
  }
});

describe('hostile commits', () => {
  it('are refused with a SignpipeError, whatever is mutated', () => {
    const random = randomBelow(20_240_601);
    const mutate = (bytes: Buffer): Buffer => {
      const copy = Buffer.from(bytes);
      for (let count = 1 + random(3); count > 0; count--) copy.writeUInt8(random(256), random(copy.length));
      const cut = random(copy.length);
      return (
        [copy, copy, copy.subarray(0, cut), Buffer.concat([copy, copy.subarray(cut)])][random(4)] ?? copy
      );
    };
    const allowed = AllowedSigners.parse(
      [bob, caLine(), ...Object.values(keys).map(names), names(touched.line)].join(''),
      'allowed',
    );
    const seeds = [
      good,
      world.signed('cert-bob-cert.pub'),
      world.signed('ecdsa521'),
      world.signed('rsa2048'),
      touched.signed(),
      touchedEcdsa.signed(),
    ];
    const codes = new Set<string>();
    for (let round = 0; round < 3000; round++) {
      const seed = seeds[random(seeds.length)] ?? good;
      const blob = mutate(dearmor(signatureOf(seed), 'it'));
      const raw = round % 3 === 0 ? mutate(seed) : withArmor(armor(blob));
      try {
        verifyCommitSignature(raw, allowed);
        assert.ok(
          blob.equals(dearmor(signatureOf(seed), 'it')) || raw.equals(seed),
          'a mutated commit was accepted',
        );
      } catch (error) {
        if (!(error instanceof SignpipeError)) throw error;
        codes.add(error.code);
      }
    }
    assert.ok(
      codes.has('commit-signature-malformed') &&
        codes.has('commit-signature-wrong') &&
        codes.has('commit-malformed'),
    );
  });
});

describe('the identity of what was signed', () => {
  const identity = signedIdentity(good);

  it('is SHA-256 over the length of the plain key, the key, and the payload', () => {
    const key = Buffer.from(ed.split(' ')[1] ?? '', 'base64');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(key.length);
    const { payload } = splitCommit(good);
    assert.equal(identity, createHash('sha256').update(length).update(key).update(payload).digest('hex'));
    assert.equal(claimedIdentity(good), identity);
  });

  it('is the same for other armor and another id', () => {
    const signature = signatureOf(good);
    const body = signature.split('\n').slice(1, -2).join('');
    const [begin, end] = ['-----BEGIN SSH SIGNATURE-----', '-----END SSH SIGNATURE-----'];
    const copy = withArmor(`${begin}\n${body.slice(0, 31)}\n${body.slice(31)}\n${end}\n`);
    assert.notEqual(splitCommit(copy).id, splitCommit(good).id);
    assert.equal(signedIdentity(copy), identity);
  });

  it('is that of the certified key, whatever the certificate', () => {
    const certifiedBy = world.signed('cert-bob-cert.pub');
    const plain = Buffer.from(readFileSync(world.path('cert-bob.pub'), 'utf8').split(' ')[1] ?? '', 'base64');
    const { namespace, hash, signature } = parseSshSig(dearmor(signatureOf(certifiedBy), 'it'), 'it');
    const bare = withArmor(armor(buildSshSig({ publicKey: plain, namespace, hash, signature })));
    assert.notEqual(signedIdentity(certifiedBy), null);
    assert.equal(signedIdentity(bare), signedIdentity(certifiedBy));
  });

  it('differs by key, and by payload', () => {
    assert.notEqual(signedIdentity(world.signed('ecdsa384')), identity);
    assert.notEqual(signedIdentity(world.signed('ed', { message: 'else\n' })), identity);
  });

  it('is null without a valid signature, though it may be claimed', () => {
    for (const raw of [commit(), openPgp(), Buffer.alloc(0)])
      assert.deepEqual([signedIdentity(raw), claimedIdentity(raw)], [null, null]);
    const wrong = rebuilt({ signature: flipped() });
    assert.deepEqual([signedIdentity(wrong), claimedIdentity(wrong)], [null, identity]);
  });
});
