/** PowerShell files: what is hashed and written, and what is refused by name. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { readIndirectData } from '../../../../src/engine/authenticode/indirect-data.ts';
import { parseSignature } from '../../../../src/engine/authenticode/signature.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { createTestPki, testSigningKey } from '../../../../src/sandbox/certificates.ts';
import { inFolder, tool } from '../../authenticode/tools.ts';
import { buildPe } from '../../../fixtures/pe.ts';
import { itKeepsTheContract } from '../contract.ts';
import { digestOf, ENCODINGS, judge, openScript, signScript, tryToSign } from '../script/scripts.ts';

itKeepsTheContract({
  format: 'powershell',
  fileName: 'setup.ps1',
  unsigned: () => Buffer.from('Write-Output 1\n'),
  another: () => Buffer.from('Write-Output 2\n'),
  differs: 'strip-body-differs',
  appends: false,
});

let key: SigningKey;
before(async () => {
  key = testSigningKey((await createTestPki({ key: 'p256', intermediate: false })).codeSigning);
});

describe('the digest of a PowerShell file', () => {
  it('is over its text in UTF-16LE, line ends as they are, and FF FE before it if it has a byte order mark', async () => {
    const { utf8, 'utf8-bom': utf8Bom, 'utf16le-bom': utf16 } = ENCODINGS;
    const withBom = '148d1cc0683a6af64fc2d8b65215b41a30872170f834724eb842f78a531dae11';
    assert.equal(
      await digestOf('a.ps1', utf8('Write-Output 1\n')),
      '6cec0eeecdec579a64bd97bc72cd5f9c6006272e070cffae8bc6b7bef3d37695',
    );
    assert.equal(await digestOf('a.ps1', utf8Bom('Write-Output 1\r\n')), withBom);
    assert.equal(await digestOf('a.mof', utf16('Write-Output 1\r\n')), withBom);
  });

  it('decodes UTF-8, characters beyond 16 bits too', async () => {
    const expected = '488f15723c993e7e1198ba587525cebcab7bf3e8072ed986ea5281a61fc2440e';
    assert.equal(await digestOf('a.psd1', ENCODINGS['utf8-bom']('Grüße 𝄞\r\n')), expected);
    assert.equal(await digestOf('a.psd1', ENCODINGS['utf16le-bom']('Grüße 𝄞\r\n')), expected);
  });

  it('does not depend on where a long text is cut to be decoded', async () => {
    const text = `${'x'.repeat(64 * 1024 - 2)}${'ü𝄞€'.repeat(30_000)}`;
    assert.equal(
      await digestOf('a.ps1', ENCODINGS['utf8-bom'](text)),
      await digestOf('a.ps1', ENCODINGS['utf16le-bom'](text)),
    );
  });

  it('stands beside the UUID of the subject interface package', async () => {
    const signed = await openScript('a.ps1', await signScript('a.ps1', Buffer.from('1'), key));
    const { content } = parseSignature(signed.signatures[0] ?? assert.fail(), 'it');
    assert.equal(
      readIndirectData(content, 'it').value.toString('hex'),
      '3026020301000004101fcc3b60594b084eb724d2c6297ef351' + '020100'.repeat(5),
    );
  });
});

const LINES = {
  ps1: ['# SIG # Begin signature block', /^# [A-Za-z0-9+/=]{1,64}$/, '# SIG # End signature block'],
  psc1: [
    '<!-- SIG # Begin signature block -->',
    /^<!-- [A-Za-z0-9+/=]{1,64} -->$/,
    '<!-- SIG # End signature block -->',
  ],
  mof: [
    '/* SIG # Begin signature block */',
    /^\/\* [A-Za-z0-9+/=]{1,64} \*\/$/,
    '/* SIG # End signature block */',
  ],
} as const;

describe('the signature block of a PowerShell file', () => {
  for (const [extension, [begin, line, end]] of Object.entries(LINES))
    it(`follows the text of a .${extension} in its own encoding, after CR LF in any case`, async () => {
      for (const encoding of ['utf8', 'utf8-bom', 'utf16le-bom'] as const)
        for (const text of ['a\r\n', 'a\n', 'a', '']) {
          const name = `a.${extension}`;
          const original = ENCODINGS[encoding](text);
          const signed = await signScript(name, original, key);
          assert.deepEqual(signed.subarray(0, original.length), original);
          const added = signed
            .subarray(original.length)
            .toString(encoding === 'utf16le-bom' ? 'utf16le' : 'latin1');
          const lines = added.split('\r\n');
          assert.deepEqual([lines[0], lines[1], lines.at(-2), lines.at(-1)], ['', begin, end, '']);
          const data = lines.slice(2, -2);
          assert.ok(data.length > 5 && data.every((each) => line.test(each)));
          assert.ok(data.slice(0, -1).every(({ length }) => length === data[0]?.length));
          assert.equal(await judge(name, signed), 'intact');
        }
    });

  it('is understood by osslsigncode', () =>
    inFolder(async (folder) => {
      for (const [name, bytes] of [
        ['a.ps1', ENCODINGS.utf8('Write-Output 1\r\n')],
        ['b.psm1', ENCODINGS['utf16le-bom']('Write-Output 1\r\n')],
        ['c.ps1xml', ENCODINGS.utf8('<a/>\n')],
        ['d.mof', ENCODINGS.utf8('class A {};\n')],
      ] as const) {
        const path = join(folder, name);
        await writeFile(path, await signScript(name, bytes, key));
        const { text } = await tool('osslsigncode', 'verify', '-in', path);
        const [, stated, calculated] =
          /Current message digest\s*: ([0-9A-F]+)\s[^]*Calculated message digest\s*: ([0-9A-F]+)/.exec(
            text,
          ) ?? [];
        assert.ok(stated !== undefined && stated === calculated, `${name}: ${text}`);
      }
    }));
});

describe('a text that is not signed as a PowerShell file', () => {
  const refused: [code: string, what: string, bytes: Buffer][] = [
    ['script-encoding-unknown', 'UTF-8 without a byte order mark', ENCODINGS.utf8('ü')],
    ['script-encoding-unknown', 'Windows-1252', Buffer.from('ü', 'latin1')],
    ['script-utf16-without-bom', 'UTF-16LE', Buffer.from('Write-Output 1', 'utf16le')],
    ['script-utf16be', 'UTF-16BE', ENCODINGS['utf16be-bom']('Write-Output 1')],
    [
      'script-utf16be',
      'UTF-16BE without a byte order mark',
      Buffer.from('Write-Output 1', 'utf16le').swap16(),
    ],
    ['script-binary', 'NUL characters', Buffer.from('a\0b')],
    ['script-binary', 'NUL characters in UTF-16', ENCODINGS['utf16le-bom']('a\0b')],
    ['script-binary', 'UTF-32', Buffer.from('fffe0000610000000a000000', 'hex')],
    ['script-binary', 'half a code unit', Buffer.concat([ENCODINGS['utf16le-bom']('ab'), Buffer.from('c')])],
    ['script-not-utf8', 'a byte order mark before Windows-1252', Buffer.from('efbbbffc0a', 'hex')],
    ['script-not-utf8', 'an overlong form', Buffer.from('efbbbfc0af', 'hex')],
    ['script-not-utf8', 'half of a surrogate pair in UTF-8', Buffer.from('efbbbfeda080', 'hex')],
    ['script-bom-repeated', 'two marks', ENCODINGS['utf8-bom']('\ufeffa')],
    ['script-bom-repeated', 'two marks in UTF-16', ENCODINGS['utf16le-bom']('\ufeffa')],
    [
      'script-several-markers',
      'a marker in a string',
      Buffer.from('$a = "# SIG # Begin signature block"\r\n'),
    ],
    ['script-several-markers', 'an end marker', Buffer.from('x # SIG # End signature block\r\n')],
    [
      'script-several-markers',
      'the marker in lower case',
      Buffer.from('x # sig # begin signature block\r\n'),
    ],
  ];
  for (const [code, what, bytes] of refused)
    it(`${code}: ${what}`, async () => {
      assert.equal(await tryToSign('a.ps1', bytes, key), code);
      assert.equal(await judge('a.ps1', bytes), 'unsigned');
    });

  it('stays a PE file if it is one, whatever its name', async () => {
    assert.equal((await openScript('a.ps1', buildPe())).format, 'pe');
  });
});

describe('a signed PowerShell file that was changed', () => {
  let signed: string;
  before(async () => {
    signed = (await signScript('a.ps1', Buffer.from('Write-Output 1\r\n'), key)).toString('latin1');
  });
  const altered: [outcome: string, what: string, change: (text: string) => string][] = [
    ['script-block-malformed', 'with line ends as git changes them', (text) => text.replaceAll('\r\n', '\n')],
    [
      'script-block-malformed',
      'with one other line end in the block',
      (text) => text.replace(/\r\n(# M)/, '\n$1'),
    ],
    [
      'script-block-malformed',
      'with a space behind the first line',
      (text) => text.replace('block\r\n', 'block \r\n'),
    ],
    ['script-block-malformed', 'with a space in a line', (text) => text.replace('# MI', '# M I')],
    [
      'script-block-malformed',
      'with a space behind a line',
      (text) => text.replace(/\r\n(# M[^\r]*)/, '\r\n$1 '),
    ],
    ['script-block-malformed', 'with a line without a comment', (text) => text.replace('\r\n# M', '\r\nM')],
    [
      'script-block-malformed',
      'with code in the block',
      (text) => text.replace('\r\n# M', '\r\nevil\r\n# M'),
    ],
    [
      'script-block-malformed',
      'with an empty line in the block',
      (text) => text.replace('\r\n# M', '\r\n\r\n# M'),
    ],
    ['script-block-malformed', 'with shorter lines', (text) => text.replace(/(# M.{10})/, '$1\r\n# ')],
    ['script-block-malformed', 'with base64url', (text) => text.replace(/# M.{4}/, '# MII-_')],
    [
      'script-block-malformed',
      'without base64',
      (text) => text.replace(/(block\r\n)[^]*(\r\n# SIG # End)/, '$1# $2'),
    ],
    ['script-block-unended', 'without its last line', (text) => text.slice(0, text.lastIndexOf('# SIG'))],
    ['script-block-unended', 'without its last line end', (text) => text.slice(0, -2)],
    ['script-block-unended', 'with another last line', (text) => text.replace('SIG # End', 'SIG # end')],
    ['script-text-after-block', 'with an empty line behind it', (text) => `${text}\r\n`],
    ['script-text-after-block', 'with a NUL behind it', (text) => `${text}\0`],
    ['script-text-after-block', 'with code behind it', (text) => `${text}evil\r\n`],
    [
      'script-text-after-block',
      'with a second block',
      (text) => text + text.slice(text.indexOf('\r\n# SIG')),
    ],
    ['script-several-markers', 'with a marker before it', (text) => `"# SIG # Begin signature block"${text}`],
    [
      'script-several-markers',
      'with an XML marker before it',
      (text) => `<!-- SIG # Begin signature block -->${text}`,
    ],
    ['bad file-digest-differs', 'with code before it', (text) => `evil\r\n${text}`],
    ['bad file-digest-differs', 'with one line end more', (text) => text.replace('\r\n', '\r\n\r\n')],
    ['bad script-encoding-unknown', 'with a character beyond ASCII', (text) => `\xfc${text}`],
    ['bad script-binary', 'with a NUL', (text) => `\0${text}`],
    ['bad file-digest-differs', 'with a byte order mark', (text) => `\xef\xbb\xbf${text}`],
  ];
  for (const [outcome, what, change] of altered)
    it(`${outcome}: ${what}`, async () => {
      assert.notEqual(change(signed), signed);
      assert.equal(await judge('a.ps1', Buffer.from(change(signed), 'latin1')), outcome);
    });

  it('authenticode-kind: renamed to a kind with another signature block it is unsigned; with the same it stays good', async () => {
    const bytes = Buffer.from(signed, 'latin1');
    assert.equal(await judge('a.psm1', bytes), 'intact');
    assert.equal(await judge('a.js', bytes), 'unsigned');
    assert.equal(await judge('a.mof', bytes), 'script-block-malformed');
  });
});
