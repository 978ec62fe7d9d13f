import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { KEY_SETTINGS } from '../../../src/engine/keys/open.ts';
import { loadBuilderConfig } from '../../../src/app/config/builder.ts';
import { loadCourierConfig } from '../../../src/app/config/courier.ts';
import { deliveredPath } from '../../../src/app/config/delivered-path.ts';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { parseBytes, parseDuration } from '../../../src/app/config/units.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';

const example = resolve(import.meta.dirname, '../../../keys.example');
let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'signpipe-config-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const MINIMAL = `control: { url: "ssh://git@h/c.git" }
exchange: { url: "sftp://s@h/x" }
ssh: { knownHosts: known_hosts }
signing: { pfx: code.pfx, timestamp: ["http://t.example"] }
receipts: { key: receipts }
trust: { allowedSigners: allowed }
`;

async function refusal(text: string): Promise<SignpipeError> {
  const file = join(folder, 'signer.yaml');
  writeFileSync(file, text);
  try {
    await loadSignerConfig(file);
  } catch (error) {
    assert.ok(error instanceof SignpipeError, String(error));
    assert.equal(error.kind, 'usage');
    return error;
  }
  throw new Error('it was accepted');
}

describe('the shipped examples', () => {
  it('signer.yaml is read, its paths beside it, its channels overriding the defaults', async () => {
    const config = await loadSignerConfig(join(example, 'signer.yaml'));
    const release = config.channels.get('release');
    assert.equal(config.channels.get('default')?.signing.pfx, join(example, 'keys/codesign.pfx'));
    assert.equal(config.ssh?.knownHosts, join(example, 'keys/known_hosts'));
    assert.equal(config.limits.archive, 8 * 2 ** 30);
    assert.deepEqual(
      [release?.trust.vouches, release?.trust.delay, release?.trust.pins],
      [1, 3_600_000, 'require'],
    );
    assert.equal(release?.signing.pfx, join(example, 'keys/codesign.pfx'));
  });

  it('a channel with its own key inherits nothing from the default key', async () => {
    const nightly = (await loadSignerConfig(join(example, 'signer.yaml'))).channels.get('nightly');
    assert.deepEqual(
      [nightly?.signing.pfx, nightly?.signing.timestamp],
      [join(example, 'keys/test.pfx'), []],
    );
    assert.equal(nightly?.signing.passphraseFile, join(example, 'keys/test-passphrase'));
  });

  it('builder.yaml is read', async () => {
    const config = await loadBuilderConfig(join(example, 'builder.yaml'));
    assert.equal(config.requests.key, join(example, 'keys/builder_ed25519'));
    assert.equal(config.vouch?.name, 'build-master');
  });

  it('the example has every key that the signer knows', () => {
    const text = readFileSync(join(example, 'signer.yaml'), 'utf8');
    for (const key of [
      'requests',
      'receipts',
      'poll',
      'since',
      'incoming',
      'outgoing',
      'delivered',
      'identity',
      'knownHosts',
      'pfx',
      'certificate',
      'key',
      'keyName',
    ])
      assert.match(text, new RegExp(`\\b${key}:`));
  });
});

describe('courier.yaml', () => {
  it('is read from the shipped example, its paths beside it', async () => {
    const config = await loadCourierConfig(join(example, 'courier.yaml'));
    assert.equal(config.trust.allowedSigners, join(example, 'keys/receipt_signers'));
    assert.equal(config.state, join(example, 'state'));
    assert.deepEqual([config.timeout, config.poll, config.authorities.length], [15_000, 1000, 2]);
  });

  const written = (change: string): string => `control: { url: "file:///c.git" }
trust: { allowedSigners: a }
authorities: ["http://t.example"]
${change}
`;
  const wrong: [what: string, text: string, message: RegExp][] = [
    [
      'no authority',
      written('').replace('["http://t.example"]', '[]'),
      /authorities: must name at least one/,
    ],
    ['an authority that is no URL', written('').replace('http:', 'ftp:'), /authorities\.0: must be an http/],
    ['a pause that is too short', written('poll: 0'), /poll: must be at least 1s/],
    [
      'a branch, which it does not use',
      written('').replace('c.git"', 'c.git", requests: main'),
      /unknown key/,
    ],
    ['no allowed signers', written('').replace(/^trust.*$/m, ''), /trust: is missing/],
  ];
  for (const [what, text, message] of wrong)
    it(`config-invalid: ${what}`, async () => {
      const file = join(folder, 'courier.yaml');
      writeFileSync(file, text);
      await assert.rejects(loadCourierConfig(file), message);
    });
});

describe('signer.yaml', () => {
  it('delivers signed files by name, or to the path in exchange.delivered', async () => {
    const file = join(folder, 'signer.yaml');
    const templateOf = async (text: string): Promise<string> => {
      writeFileSync(file, text);
      return (await loadSignerConfig(file)).exchange.delivered;
    };
    assert.equal(await templateOf(MINIMAL), '{name}');
    const template = await templateOf(
      MINIMAL.replace('s@h/x"', 's@h/x", delivered: "nightly/r-{request}/{name}"'),
    );
    const request = '0123456789'.repeat(4);
    assert.equal(deliveredPath(template, { request, name: 'a/$&.zip' }), `nightly/r-${request}/a/$&.zip`);
    assert.equal(
      (await loadSignerConfig(join(example, 'signer.yaml'))).exchange.delivered,
      '{request}/{name}',
    );
  });

  it('has safe defaults', async () => {
    const file = join(folder, 'signer.yaml');
    writeFileSync(file, MINIMAL);
    const config = await loadSignerConfig(file);
    const channel = config.channels.get('default');
    assert.deepEqual(
      [
        channel?.trust.unsignedRequests,
        channel?.trust.pins,
        channel?.trust.vouches,
        channel?.signing.alreadySigned,
        channel?.signing.digest,
      ],
      ['reject', 'require', 0, 'keep', 'sha256'],
    );
    assert.deepEqual(
      [config.control.requests, config.control.receipts, config.exchange.incoming],
      ['main', 'signed', 'incoming'],
    );
  });

  const roots: [written: string, read: string[]][] = [
    ['public', ['public']],
    ['tsa.pem', ['FOLDER/tsa.pem']],
    ['./public', ['FOLDER/public']],
    ['[public, tsa.pem, /etc/tsa.pem]', ['public', 'FOLDER/tsa.pem', '/etc/tsa.pem']],
  ];
  for (const [written, read] of roots)
    it(`accepts timestampRoots: ${written}`, async () => {
      const file = join(folder, 'signer.yaml');
      writeFileSync(file, MINIMAL.replace('pfx: code.pfx', `pfx: code.pfx, timestampRoots: ${written}`));
      const { channels } = await loadSignerConfig(file);
      const inFolder = read.map((name) => name.replace('FOLDER', folder));
      assert.deepEqual(channels.get('default')?.signing.timestampRoots, inFolder);
    });

  it('a channel that names a key does not inherit the successor; one that does not name a key has it too', async () => {
    const file = join(folder, 'successor.yaml');
    const successor = 'successor: { pfx: next.pfx, from: 2027-03-01 }';
    const channels = 'channels: { own: { signing: { pfx: o.pfx } }, same: { trust: { vouches: 1 } } }';
    writeFileSync(file, `${MINIMAL.replace('pfx: code.pfx', `pfx: code.pfx, ${successor}`)}${channels}\n`);
    const config = await loadSignerConfig(file);
    const expected = { pfx: join(folder, 'next.pfx'), from: new Date('2027-03-01T00:00:00Z') };
    assert.deepEqual(config.channels.get('same')?.signing.successor, expected);
    assert.equal(config.channels.get('own')?.signing.successor, undefined);
  });

  it('accepts timestamp authorities as URLs, or with the way to them', async () => {
    const file = join(folder, 'signer.yaml');
    const authorities = '["http://t.example", { url: "http://u.example", via: ssh, every: 15s }]';
    writeFileSync(file, MINIMAL.replace('["http://t.example"]', authorities));
    const { channels } = await loadSignerConfig(file);
    assert.deepEqual(channels.get('default')?.signing.timestamp, [
      { url: 'http://t.example', via: 'direct' },
      { url: 'http://u.example', via: 'ssh', every: 15_000 },
    ]);
  });

  /** A timestamp authority in the minimal configuration. */
  const authority = (text: string): string => MINIMAL.replace('["http://t.example"]', `[${text}]`);

  const refused: [what: string, text: string, code: string, message: RegExp][] = [
    [
      'a way to a timestamp authority that does not exist',
      authority('{ url: "http://t.example", via: proxy }'),
      'config-invalid',
      /:4:\d+: signing\.timestamp\.0\.via: must be one of direct, ssh, courier/,
    ],
    [
      'a pause between requests that no timestamp would wait for',
      authority('{ url: "http://t.example", every: 2m }'),
      'config-invalid',
      /:4:\d+: signing\.timestamp\.0\.every: must be at most 1m/,
    ],
    [
      'a timestamp authority without a URL',
      authority('{ via: ssh }'),
      'config-invalid',
      /signing\.timestamp\.0\.url: is missing/,
    ],
    [
      'an unknown key of a timestamp authority',
      authority('{ url: "http://t.example", through: ssh }'),
      'config-invalid',
      /unknown key "signing\.timestamp\.0\.through"/,
    ],
    [
      'a password for an authority by courier, which Git would show',
      authority('{ url: "https://user:secret@t.example", via: courier }'),
      'config-invalid',
      /signing\.timestamp\.0\.url: must have no user and password(?!.*secret)/,
    ],
    [
      'a timestamp authority with another scheme',
      authority('ftp://t.example'),
      'config-invalid',
      /signing\.timestamp\.0\.url: must be an http/,
    ],
    [
      'via: ssh for an exchange in a folder',
      authority('{ url: "http://t.example", via: ssh }').replace('sftp://s@h/x', 'file:///x'),
      'config-invalid',
      /signing\.timestamp\.0\.via: ssh needs an exchange on an SSH host/,
    ],
    [
      'via: ssh in a channel, for an exchange in a folder',
      `${MINIMAL.replace('sftp://s@h/x', 'file:///x')}channels: { a: { signing: { timestamp: [{ url: "http://t.example", via: ssh }] } } }\n`,
      'config-invalid',
      /channels\.a\.signing\.timestamp\.0\.via: ssh needs/,
    ],
    [
      'no timestamp root in a list',
      MINIMAL.replace('pfx: code.pfx', 'pfx: code.pfx, timestampRoots: []'),
      'config-invalid',
      /signing\.timestampRoots/,
    ],
    [
      'an unknown key, with its line and column',
      `${MINIMAL}limitz: {}\n`,
      'config-invalid',
      /signer\.yaml:7:1: unknown key "limitz"/,
    ],
    [
      'an unknown key further in',
      MINIMAL.replace('pfx: code.pfx', 'pfx: code.pfx, pfxx: 1'),
      'config-invalid',
      /:4:27: unknown key "signing.pfxx"/,
    ],
    [
      'a value of the wrong type',
      MINIMAL.replace('receipts: { key: receipts }', 'receipts: { key: 7 }'),
      'config-invalid',
      /:5:18: receipts\.key/,
    ],
    ['a missing section', MINIMAL.replace(/^receipts.*\n/m, ''), 'config-invalid', /receipts/],
    [
      'provenance that is neither true nor false',
      `${MINIMAL}provenance: maybe\n`,
      'config-invalid',
      /provenance: must be true or false/,
    ],
    ['no key to sign with', MINIMAL.replace('pfx: code.pfx, ', ''), 'config-invalid', /no signing key/],
    [
      'two keys to sign with',
      MINIMAL.replace('pfx: code.pfx', 'pfx: code.pfx, key: k, certificate: c'),
      'config-invalid',
      /not both/,
    ],
    [
      'a successor without a date',
      MINIMAL.replace('pfx: code.pfx', 'pfx: code.pfx, successor: { pfx: next.pfx }'),
      'config-invalid',
      /:4:38: signing\.successor\.from: is missing: give a day, such as 2027-03-01/,
    ],
    ...['soon', '2027-02-30', '2027-03-01T06:00:00', '03/01/2027', '20270301'].map(
      (from): [string, string, string, RegExp] => [
        `a successor whose date is ${from}`,
        MINIMAL.replace('pfx: code.pfx', `pfx: code.pfx, successor: { pfx: next.pfx, from: "${from}" }`),
        'config-invalid',
        /signing\.successor\.from: must be a day, such as 2027-03-01 \(.*\), or a time/,
      ],
    ),
    [
      'a successor without a key',
      MINIMAL.replace('pfx: code.pfx', 'pfx: code.pfx, successor: { from: 2027-03-01 }'),
      'config-invalid',
      /signing\.successor: no signing key: give signing\.successor\.pfx, or signing\.successor\.certificate/,
    ],
    [
      'a successor with two keys',
      MINIMAL.replace(
        'pfx: code.pfx',
        'pfx: code.pfx, successor: { pfx: n.pfx, key: n.key, certificate: n.pem, from: 2027-03-01 }',
      ),
      'config-invalid',
      /signing\.successor: two signing keys: give either signing\.successor\.pfx, /,
    ],
    [
      'a successor that is the key in use',
      MINIMAL.replace('pfx: code.pfx', 'pfx: code.pfx, successor: { pfx: code.pfx, from: 2027-03-01 }'),
      'config-invalid',
      /signing\.successor: names the same key and certificate as signing itself/,
    ],
    [
      'a successor that is the command in use',
      MINIMAL.replace(
        'pfx: code.pfx',
        'certificate: c, command: [a, b], successor: { certificate: c, command: [a, b], from: 2027-03-01 }',
      ),
      'config-invalid',
      /signing\.successor: names the same key and certificate as signing itself/,
    ],
    [
      'a successor of a channel without a key',
      `${MINIMAL}channels: { nightly: { signing: { successor: { from: 2027-03-01 } } } }\n`,
      'config-invalid',
      /channels\.nightly\.signing\.successor: no signing key/,
    ],
    [
      'an unknown key in a successor',
      MINIMAL.replace(
        'pfx: code.pfx',
        'pfx: code.pfx, successor: { pfx: n.pfx, until: 2027-03-01, from: 2027-03-01 }',
      ),
      'config-invalid',
      /unknown key "signing\.successor\.until"/,
    ],
    [
      'no allowed signers',
      MINIMAL.replace('allowedSigners: allowed', 'vouches: 1'),
      'config-invalid',
      /allowedSigners is missing/,
    ],
    ['no section ssh for a remote host', MINIMAL.replace(/^ssh.*\n/m, ''), 'config-invalid', /knownHosts/],
    [
      'a schedule that is not one',
      MINIMAL.replace('c.git"', 'c.git", poll: "often"'),
      'config-invalid',
      /cron/,
    ],
    [
      'polls without a pause',
      MINIMAL.replace('c.git"', 'c.git", poll: 99ms'),
      'config-invalid',
      /control\.poll: must be at least 100ms/,
    ],
    [
      'an HTTP URL for the control repository',
      MINIMAL.replace('ssh://git@h', 'https://h'),
      'config-invalid',
      /ssh:\/\//,
    ],
    [
      'a size that is not one',
      `${MINIMAL}limits: { archive: big }\n`,
      'config-invalid',
      /"big" is not a size/,
    ],
    [
      'a folder above the exchange',
      MINIMAL.replace('s@h/x"', 's@h/x", incoming: "../in"'),
      'config-invalid',
      /incoming/,
    ],
    ...[
      '{request}',
      '{name}/x',
      '../{name}',
      '/{name}',
      '{name}{name}',
      '-x/{name}',
      '{other}/{name}',
      '',
    ].map((template): [string, string, string, RegExp] => [
      `a delivered path that is not below outgoing: ${JSON.stringify(template)}`,
      MINIMAL.replace('s@h/x"', `s@h/x", delivered: "${template}"`),
      'config-invalid',
      /exchange\.delivered: must be \{name\}, or folders before it/,
    ]),
    [
      'a delivered path that is too long after {request} was replaced',
      MINIMAL.replace('s@h/x"', `s@h/x", delivered: "${'{request}'.repeat(12)}/{name}"`),
      'config-invalid',
      /exchange\.delivered: must have at most/,
    ],
    [
      'a delivered path other than {name} if outgoing equals incoming',
      MINIMAL.replace('s@h/x"', 's@h/x", outgoing: incoming, delivered: "{request}/{name}"'),
      'config-invalid',
      /exchange\.delivered: must be \{name\} if outgoing equals incoming/,
    ],
    ...(
      [
        [
          'a command that is a text',
          '"sign-helper"',
          /signing\.command: must be a list: \[PROGRAM, ARGUMENT, …\]/,
        ],
        ['a command with a number', '[a, 9]', /signing\.command\.1: must be a text: write quotes around it/],
        ['a command without a program', '[]', /signing\.command/],
        ['a command whose program is empty', '[""]', /must name a program/],
        ['a command with a NUL character', '[a, "b\\0"]', /NUL/],
        [
          'a command that gets our variables',
          'a, commandEnvironment: [SIGNPIPE_PASSPHRASE]',
          /not one of signpipe's own/,
        ],
        ['no signatures at a time', '[a], concurrency: 0', /signing\.concurrency/],
        ['too many signatures at a time', '[a], concurrency: 257', /signing\.concurrency/],
        ['no time to sign', '[a], keyTimeout: 0', /must be longer than 0, and at most 1h/],
        ['more time to sign than a timer has', '[a], keyTimeout: 30d', /at most 1h/],
      ] as const
    ).map(([what, command, message]): [string, string, string, RegExp] => [
      what,
      MINIMAL.replace('pfx: code.pfx', `certificate: c.pem, command: ${command}`),
      'config-invalid',
      message,
    ]),
    [
      'a command without a certificate',
      MINIMAL.replace('pfx: code.pfx', 'command: [sign-helper]'),
      'config-invalid',
      /sign-helper: signs with a key whose certificate is not named/,
    ],
    [
      'a URI that names no program',
      MINIMAL.replace('pfx: code.pfx', 'certificate: c.pem, key: "exec:"'),
      'config-invalid',
      /"exec:": names no program/,
    ],
    ...['1.5', 'true', '[8GiB]'].map((value): [string, string, string, RegExp] => [
      `a size that is none: ${value}`,
      `${MINIMAL}limits: { archive: ${value} }\n`,
      'config-invalid',
      /limits\.archive: must be a size: 500MiB, 8GiB, or a whole number of bytes/,
    ]),
    ...['60', '1.5', '[60s]', 'true'].map((value): [string, string, string, RegExp] => [
      `a time span that has no unit: ${value}`,
      MINIMAL.replace('pfx: code.pfx', `certificate: c.pem, command: [a], keyTimeout: ${value}`),
      'config-invalid',
      /signing\.keyTimeout: must be a time span with its unit, such as 30s, 10m, 2h or 1d/,
    ]),
    ...(
      [
        ['pfx: c.pfx, concurrency: 4', 'concurrency'],
        ['pfx: c.pfx, keyTimeout: 5s', 'keyTimeout'],
        ['certificate: c, key: k, keyName: Main', 'keyName'],
        ['certificate: c, key: k, commandEnvironment: [A]', 'commandEnvironment'],
        ['certificate: c, key: "awskms:///alias/a", passphraseFile: p', 'passphraseFile'],
        ['certificate: c, key: "awskms:///alias/a", commandEnvironment: [A]', 'commandEnvironment'],
        ['key: "pkcs11:token=a?module-path=/m.so", keyName: Main', 'keyName'],
        ['certificate: c, key: "exec:sign", passphraseFile: p', 'passphraseFile'],
        ['certificate: c, command: [sign], keyName: Main', 'keyName'],
      ] as const
    ).map(([settings, name]): [string, string, string, RegExp] => [
      `a setting that does not belong to the key: ${settings}`,
      MINIMAL.replace('pfx: code.pfx', settings),
      'config-invalid',
      new RegExp(`:4:10: signing: signing\\.${name}: .* has no such setting`),
    ]),
    ...(
      [
        ['concurrency: 4', /signing\.concurrency: a key in a PKCS#12 file has no such setting/],
        ['certificate: c.pem', /no signing key/],
        ['key: k.pem', /no signing key/],
        ['key: "awskms:///alias/a"', /awskms: signs with a key whose certificate is not named/],
        ['key: "awskms:alias"', /certificate|awskms/],
        ['pfx: o.pfx, command: [sign]', /two signing keys/],
        ['pfx: o.pfx, keyTimeout: 5s', /signing\.keyTimeout: a key in a PKCS#12 file/],
      ] as const
    ).map(([settings, message]): [string, string, string, RegExp] => [
      `a channel whose key is wrong: ${settings}`,
      `${MINIMAL}channels: { nightly: { signing: { ${settings} } } }\n`,
      'config-invalid',
      new RegExp(`channels\\.nightly\\.signing: .*${message.source}`),
    ]),
    [
      'a channel whose successor is its own key',
      `${MINIMAL}channels: { nightly: { signing: { successor: { pfx: code.pfx, from: 2027-03-01 } } } }\n`,
      'config-invalid',
      /channels\.nightly\.signing\.successor: names the same key/,
    ],
    ['a key twice', `${MINIMAL}state: a\nstate: b\n`, 'config-not-yaml', /:8:1/],
    ['broken YAML', 'control: [', 'config-not-yaml', /:1:11/],
  ];
  for (const [what, text, code, message] of refused) {
    it(`${code}: ${what}`, async () => {
      const error = await refusal(text);
      assert.equal(error.code, code);
      assert.match(error.message, message);
    });
  }

  it('a channel that names a key inherits no key setting', async () => {
    const file = join(folder, 'own-key.yaml');
    for (const settings of [
      'pfx: code.pfx, keyName: Main, passphraseFile: secret',
      'certificate: d.pem, command: [sign], commandEnvironment: [A], concurrency: 4, keyTimeout: 5s',
    ]) {
      const base = MINIMAL.replace('pfx: code.pfx', settings);
      writeFileSync(file, `${base}channels: { own: { signing: { certificate: c.pem, key: k.pem } } }\n`);
      const { signing } = (await loadSignerConfig(file)).channels.get('own') ?? {};
      assert.deepEqual(
        Object.fromEntries(
          KEY_SETTINGS.map((name) => [name, signing?.[name]] as const).filter(
            ([, value]) => value !== undefined,
          ),
        ),
        { certificate: join(folder, 'c.pem'), key: join(folder, 'k.pem') },
      );
      assert.deepEqual(signing?.timestamp, [{ url: 'http://t.example', via: 'direct' }]);
    }
  });

  it('a program with a slash is relative to the file, another is left to PATH, and arguments stay', async () => {
    const file = join(folder, 'command.yaml');
    const cases = [
      ['command: [bin/sign, a/b]', { command: [join(folder, 'bin/sign'), 'a/b'] }],
      ['command: [sign, a/b]', { command: ['sign', 'a/b'] }],
      ['key: "exec:bin/sign"', { key: `exec:${join(folder, 'bin/sign')}` }],
      ['key: "exec:sign"', { key: 'exec:sign' }],
    ] as const;
    for (const [written, expected] of cases) {
      writeFileSync(file, MINIMAL.replace('pfx: code.pfx', `certificate: c.pem, ${written}`));
      const { signing } = (await loadSignerConfig(file)).channels.get('default') ?? {};
      assert.deepEqual({ ...signing, ...expected }, signing);
    }
  });

  it('a channel that names a command inherits no key setting', async () => {
    const file = join(folder, 'own-command.yaml');
    writeFileSync(
      file,
      `${MINIMAL}channels: { own: { signing: { certificate: c.pem, command: [sign] } } }\n`,
    );
    assert.equal((await loadSignerConfig(file)).channels.get('own')?.signing.pfx, undefined);
  });

  it('config-not-found: no such file', async () => {
    await assert.rejects(
      loadSignerConfig(join(folder, 'none.yaml')),
      (error) => error instanceof SignpipeError && error.code === 'config-not-found',
    );
  });
});

describe('units', () => {
  it('reads only sizes and time spans', () => {
    assert.deepEqual(['8GiB', '1.5 MiB', '12', '3kB'].map(parseBytes), [
      8 * 2 ** 30,
      1.5 * 2 ** 20,
      12,
      3000,
    ]);
    assert.deepEqual(
      ['30s', '1h30m', '2d', '500ms', '1m5ms'].map(parseDuration),
      [30_000, 5_400_000, 172_800_000, 500, 60_005],
    );
    assert.deepEqual(['', '-1', '1XB', '1e3', 'GiB'].map(parseBytes), Array(5).fill(undefined));
    assert.deepEqual(['', '5', 'm', '1y', '-1s'].map(parseDuration), Array(5).fill(undefined));
  });
});
