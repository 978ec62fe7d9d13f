/** Scripts of Windows Script Host: what is hashed and written, and what is refused by name. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { readIndirectData } from '../../../../src/engine/authenticode/indirect-data.ts';
import { parseSignature } from '../../../../src/engine/authenticode/signature.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import { createTestPki, testSigningKey } from '../../../../src/sandbox/certificates.ts';
import { itKeepsTheContract } from '../contract.ts';
import { digestOf, ENCODINGS, judge, openScript, signScript, tryToSign } from '../script/scripts.ts';

itKeepsTheContract({
  format: 'script-host',
  fileName: 'setup.vbs',
  unsigned: () => Buffer.from('WScript.Echo 1\n'),
  another: () => Buffer.from('WScript.Echo 2\n'),
  differs: 'strip-body-differs',
  appends: false,
  flips: false,
});

itKeepsTheContract({
  format: 'script-host',
  fileName: 'setup.wsf',
  unsigned: () => Buffer.from('<job>\n<script/>\n</job>\n'),
  another: () => Buffer.from('<job>\n<script/>\n</job> \n'),
  differs: 'strip-length-differs',
  appends: false,
  // 02 01 01 and 02 01 03 in base64, at the same place in every signature.
  unnoticed: (signed) => {
    const at = signed.indexOf('** SIG ** ') + '** SIG ** '.length + 34;
    return [
      { start: at, end: at + 1, why: 'the version of SignedData may be 1 or 3, and nothing depends on it' },
    ];
  },
});

let key: SigningKey;
before(async () => {
  key = testSigningKey((await createTestPki({ key: 'p256', intermediate: false })).codeSigning);
});

describe('the digest of a script of Windows Script Host', () => {
  it('is over its text in UTF-16LE without a mark, and the position of the block in code units', async () => {
    const expected = '18e25dedd08723df587c28041dbf3993cc74467571c72b21965de92d35fec37f';
    for (const encode of Object.values(ENCODINGS))
      assert.equal(await digestOf('a.js', encode('WScript.Echo(1);\n')), expected);
    assert.notEqual(await digestOf('a.js', ENCODINGS.utf8('WScript.Echo(1);\r\n')), expected);
  });

  it('is over all of a .wsf, with the position of </job>', async () => {
    assert.equal(
      await digestOf('a.wsf', Buffer.from('<job>\n<script/>\n</job>\n')),
      '42c556b356ef14ef36301f0ed95595d0658517b2b7d1d4a027a9079a5f4ef62a',
    );
  });

  for (const [extension, uuid] of [
    ['js', '10e0c906ce38d411a2a300104bd35090'],
    ['jse', '10e0c906ce38d411a2a300104bd35090'],
    ['vbs', '4ef029169927b54d8fe5ace10f17ebab'],
    ['vbe', '4ef029169927b54d8fe5ace10f17ebab'],
    ['wsf', '7005611ace38d411a2a300104bd35090'],
  ] as const)
    it(`stands beside the UUID of the subject interface package in a .${extension}`, async () => {
      const name = `a.${extension}`;
      const signed = await openScript(name, await signScript(name, Buffer.from('<job></job>'), key));
      const { content } = parseSignature(signed.signatures[0] ?? assert.fail(), 'it');
      assert.equal(
        readIndirectData(content, 'it').value.toString('hex'),
        `30240201010410${uuid}${'020100'.repeat(5)}`,
      );
    });
});

describe('the signature block of a script of Windows Script Host', () => {
  for (const [name, mark] of [
    ['a.js', '// SIG // '],
    ['a.vbs', "'' SIG '' "],
  ] as const)
    it(`follows the text of ${name} in its own encoding, 44 characters of base64 a line`, async () => {
      for (const [encoding, encode] of Object.entries(ENCODINGS))
        for (const text of ['a\r\n', 'a\n', 'a', '']) {
          const original = encode(text);
          const signed = await signScript(name, original, key);
          assert.deepEqual(signed.subarray(0, original.length), original);
          const added = signed.subarray(original.length);
          const lines = (encoding.startsWith('utf16be') ? Buffer.from(added).swap16() : added)
            .toString(encoding.startsWith('utf16') ? 'utf16le' : 'latin1')
            .split('\r\n');
          assert.deepEqual([lines[0], lines[1]], ['', `${mark}Begin signature block`]);
          assert.deepEqual(lines.slice(-2), [`${mark}End signature block`, '']);
          const data = lines.slice(2, -2);
          assert.ok(data.every((each) => each.startsWith(mark)));
          assert.ok(data.slice(0, -1).every(({ length }) => length === mark.length + 44));
          assert.equal(await judge(name, signed), 'intact');
        }
    });

  it('is read too with 64 characters a line, as other tools write it, and with no other number', async () => {
    const signed = (await signScript('a.js', Buffer.from('1'), key)).toString('latin1');
    const [begin, end] = ['// SIG // Begin signature block\r\n', '// SIG // End signature block\r\n'];
    const from = signed.indexOf(begin) + begin.length;
    const base64 = signed.slice(from, signed.indexOf(end)).replaceAll(/\/\/ SIG \/\/ |\r\n/g, '');
    const wrapped = (width: number): Buffer => {
      const lines = base64.match(new RegExp(`.{1,${width}}`, 'g')) ?? [];
      return Buffer.from(signed.slice(0, from) + lines.map((each) => `// SIG // ${each}\r\n`).join('') + end);
    };
    assert.equal(wrapped(44).toString('latin1'), signed);
    assert.equal(await judge('a.js', wrapped(64)), 'intact');
    assert.equal(await judge('a.js', wrapped(48)), 'script-block-malformed');
  });

  it('is an element before </job> in a .wsf; what follows stays', async () => {
    for (const encode of Object.values(ENCODINGS)) {
      const [before, after] = ['<package>\n<job id="ü">\n<script/>\n', '</job>\n</package>\n'];
      const text = (before + after).replace('ü', encode === ENCODINGS.utf8 ? 'u' : 'ü');
      const signed = await signScript('a.wsf', encode(text), key);
      assert.equal(await judge('a.wsf', signed), 'intact');
      if (encode !== ENCODINGS.utf8) continue;
      const block = signed.subarray(before.length, -after.length).toString('latin1');
      assert.match(
        block,
        /^\r\n<signature>\r\n(?:\*\* SIG \*\* [A-Za-z0-9+/=]{1,44}\r\n)+<\/signature>\r\n$/,
      );
    }
  });
});

describe('a text that is not signed as a script of Windows Script Host', () => {
  const wsf = (text: string): Buffer => Buffer.from(text);
  const refused: [code: string, what: string, name: string, bytes: Buffer][] = [
    ['script-encoding-unknown', 'UTF-8 without a byte order mark', 'a.js', ENCODINGS.utf8('ü')],
    ['script-utf16-without-bom', 'UTF-16BE', 'a.js', Buffer.from('WScript.Echo(1)', 'utf16le').swap16()],
    [
      'script-binary',
      'a zip at its end',
      'a.vbs',
      Buffer.concat([Buffer.from('x\r\n'), Buffer.from('504b0506', 'hex'), Buffer.alloc(18)]),
    ],
    [
      'script-several-markers',
      'a marker in a string',
      'a.js',
      Buffer.from('var a = "// SIG // Begin signature block";'),
    ],
    ['script-several-markers', 'an end marker', 'a.vbs', Buffer.from("a = 1 '' SIG '' End signature block")],
    ['script-several-markers', 'a signature element', 'a.wsf', wsf('<job><signature/></job>')],
    ['script-several-markers', 'a line of a block', 'a.wsf', wsf('<job>x ** SIG ** y</job>')],
    ['wsf-no-job', 'no job', 'a.wsf', wsf('<package/>')],
    ['wsf-no-job', 'an empty job', 'a.wsf', wsf('<job/>')],
    ['wsf-several-jobs', 'two jobs', 'a.wsf', wsf('<package><job></job><job></job></package>')],
    ['wsf-several-jobs', 'an end tag in capitals', 'a.wsf', wsf('<JOB></JOB>')],
    ['wsf-several-jobs', 'an end tag with white space', 'a.wsf', wsf('<job></job\n>')],
    ['wsf-several-jobs', 'a second end tag with white space', 'a.wsf', wsf('<job></job></ job >')],
    ['wsf-job-hidden', 'an end tag in a comment', 'a.wsf', wsf('<job><!-- x> </job> -->')],
    [
      'wsf-job-hidden',
      'an end tag in a CDATA section',
      'a.wsf',
      wsf('<job><script><![CDATA[a>\n</job>]]></script>'),
    ],
    ['wsf-job-hidden', 'an end tag in a processing instruction', 'a.wsf', wsf('<job><?job x>\n</job> ?>')],
    ['wsf-job-hidden', 'an end tag in a script', 'a.wsf', wsf('<job><Script>a = "<b>\n</job>"</script>')],
    ['wsf-job-hidden', 'an end tag behind text', 'a.wsf', wsf('<job><script>a = 1 </job>')],
  ];
  for (const [code, what, name, bytes] of refused)
    it(`${code}: ${what}`, async () => {
      assert.equal(await tryToSign(name, bytes, key), code);
      assert.equal(await judge(name, bytes), 'unsigned');
    });

  it('may be a .wsf with all that is no end of its job: comments, scripts and instructions that end', async () => {
    const text =
      '<?job debug="true"?>\n<job><!-- <script> -->\n<script>a = "<script>"</script>\n<script/>\n</job>\n';
    assert.equal(await tryToSign('a.wsf', wsf(text), key), 'signed');
  });

  it('not-signable: .wsc, which signtool refuses, and .hta', async () => {
    for (const name of ['a.wsc', 'a.hta', 'a.sct', 'a.txt'])
      assert.equal(await tryToSign(name, Buffer.from('<job></job>'), key), 'not-signable');
  });
});

describe('a signed .wsf that was changed', () => {
  let signed: string;
  before(async () => {
    signed = (await signScript('a.wsf', Buffer.from('<job>\r\n<script/>\r\n</job>\r\n'), key)).toString(
      'latin1',
    );
  });
  const altered: [outcome: string, what: string, change: (text: string) => string][] = [
    [
      'script-text-after-block',
      'with text between the block and </job>',
      (text) => text.replace('</job>', '<script/></job>'),
    ],
    ['script-text-after-block', 'with white space between them', (text) => text.replace('</job>', ' </job>')],
    ['script-text-after-block', 'without </job>', (text) => text.replace('</job>', '')],
    ['script-text-after-block', 'with </JOB>', (text) => text.replace('</job>', '</JOB>')],
    [
      'script-several-markers',
      'with a second block behind it',
      (text) => `${text}<signature>\r\n</signature>\r\n`,
    ],
    ['script-several-markers', 'with a second block before it', (text) => `<signature></signature>${text}`],
    [
      'script-block-malformed',
      'with an attribute of the element',
      (text) => text.replace('<signature>', '<signature a="b">'),
    ],
    [
      'script-block-malformed',
      'with a script in the element',
      (text) => text.replace('** SIG', '<script/>\r\n** SIG'),
    ],
    [
      'script-block-malformed',
      'with a comment behind a line',
      (text) => text.replace('\r\n</sig', '<!-- -->\r\n</sig'),
    ],
    ['bad wsf-several-jobs', 'with a second job', (text) => `${text}<job></job>`],
    [
      'bad wsf-job-hidden',
      'with a comment around the block',
      (text) => text.replace('<script/>', '<!-- <script/>'),
    ],
    ['bad file-digest-differs', 'with text behind </job>', (text) => `${text}x`],
    [
      'bad file-digest-differs',
      'with the block and </job> elsewhere in the same text',
      (text) => {
        const at = text.indexOf('\r\n<signature>');
        return `${text.slice(0, at).replace('<script/>\r\n', '')}${text.slice(at)}<script/>\r\n`;
      },
    ],
  ];
  for (const [outcome, what, change] of altered)
    it(`${outcome}: ${what}`, async () => {
      assert.notEqual(change(signed), signed);
      assert.equal(await judge('a.wsf', Buffer.from(change(signed), 'latin1')), outcome);
    });

  it('authenticode-kind: a signature of another kind of script', async () => {
    const text = (await signScript('a.js', Buffer.from('x'), key)).toString('latin1');
    const asVbs = text.replaceAll('// SIG // ', "'' SIG '' ");
    assert.match(await judge('a.vbs', Buffer.from(asVbs, 'latin1')), /^bad authenticode-kind/);
    assert.equal(await judge('a.jse', Buffer.from(text, 'latin1')), 'intact');
  });
});
