import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import type { ChecksumsConfig } from '../../../src/app/config/checksums.ts';
import { temporaryFolder } from '../../lib/zip/zips.ts';

const folder = await temporaryFolder();

const MINIMAL = `control: { url: "file:///c.git" }
exchange: { url: "file:///x" }
signing: { pfx: code.pfx, timestamp: ["http://t.example"] }
receipts: { key: receipts }
trust: { allowedSigners: allowed }
`;

const withOthers = MINIMAL.replace('pfx:', 'others: checksum, pfx:');

/** The section `checksums` of each channel. */
async function sections(text: string): Promise<Record<string, ChecksumsConfig | undefined>> {
  const file = join(folder, 'signer.yaml');
  await writeFile(file, text);
  const { channels } = await loadSignerConfig(file);
  return Object.fromEntries([...channels].map(([name, { checksums }]) => [name, checksums]));
}

describe('the section checksums', () => {
  it('has paths relative to the file, and programs that are looked up in PATH', async () => {
    const { default: section } = await sections(`${MINIMAL}checksums:
  openpgp: { command: [gpg, --detach-sign, keys/x], publicKey: keys/release.asc }
  ssh: { key: keys/sums, passphraseFile: keys/pass }
  minisign: { key: /etc/minisign.key }
`);
    assert.deepEqual(section, {
      openpgp: {
        command: ['gpg', '--detach-sign', 'keys/x'],
        publicKey: join(folder, 'keys/release.asc'),
      },
      ssh: { key: join(folder, 'keys/sums'), passphraseFile: join(folder, 'keys/pass') },
      minisign: { key: '/etc/minisign.key' },
    });
  });

  it('is inherited by channels, but not by one with a signing key of its own', async () => {
    const section = { ssh: { key: join(folder, 'sums') } };
    const found = await sections(`${MINIMAL}checksums: { ssh: { key: sums } }
channels:
  same: { trust: { vouches: 1 } }
  test: { signing: { pfx: test.pfx } }
  command: { signing: { certificate: c.pem, command: [./sign] } }
  none: { checksums: false }
  own: { signing: { pfx: test.pfx }, checksums: {} }
`);
    assert.deepEqual(found, {
      default: section,
      same: section,
      test: undefined,
      command: undefined,
      none: undefined,
      own: {},
    });
  });

  const wrong: readonly [string, string, RegExp][] = [
    ['neither key nor command', '{ openpgp: {} }', /either key, a file, or command/],
    ['both', '{ openpgp: { key: k, command: [gpg], publicKey: p } }', /either key, a file, or command/],
    ['a command without public key', '{ openpgp: { command: [gpg] } }', /publicKey is missing/],
    [
      'a passphrase for a command',
      '{ openpgp: { command: [gpg], publicKey: p, passphraseFile: f } }',
      /belongs/,
    ],
    ['a public key for a file', '{ openpgp: { key: k, publicKey: p } }', /publicKey belongs to command/],
    ['another kind of key', '{ gpg: { key: k } }', /gpg/],
    ['a key without a path', '{ ssh: {} }', /key/],
    ['false at the top level', 'false', /checksums/],
  ];
  for (const [what, section, says] of wrong)
    it(`config-invalid: ${what}`, () =>
      assert.rejects(sections(`${MINIMAL}checksums: ${section}\n`), {
        code: 'config-invalid',
        message: says,
      }));
});

describe('signing.others: checksum', () => {
  it('is accepted with the section checksums', async () => {
    assert.deepEqual(await sections(`${withOthers}checksums: {}\n`), { default: {} });
  });

  for (const [what, text, says] of [
    ['without it', withOthers, /the section checksums, which the channel default/],
    [
      'in a channel that does not inherit it',
      `${withOthers}checksums: {}\nchannels: { test: { signing: { pfx: t.pfx } } }\n`,
      /the channel test/,
    ],
    [
      'in a channel of a signer without it',
      `${MINIMAL}channels: { any: { signing: { others: checksum } } }\n`,
      /the channel any/,
    ],
  ] as const)
    it(`config-invalid: ${what}`, () =>
      assert.rejects(sections(text), { code: 'config-invalid', message: says }));
});
