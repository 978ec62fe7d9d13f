import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatZipname, nameProblem, parseZipname } from '../../../src/protocol/control/zipname.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { hash } from './repositories.ts';

const A = hash('a');
const B = hash('b');
const parse = (text: string): unknown => parseZipname(Buffer.from(text));

function refuses(code: string, text: string | Buffer, message?: RegExp): void {
  assert.throws(
    () => parseZipname(Buffer.from(text as string)),
    (error: unknown) => {
      assert(error instanceof SignpipeError);
      assert.equal(error.code, code);
      assert.equal(error.kind, 'invalid');
      if (message) assert.match(error.message, message);
      return true;
    },
  );
}

describe('a zipname', () => {
  it('names one file', () => {
    assert.deepEqual(parse('blender-2.81-windows64.zip\n'), [{ name: 'blender-2.81-windows64.zip' }]);
  });

  it('needs no line feed after the last line', () => {
    assert.deepEqual(parse('a.zip'), [{ name: 'a.zip' }]);
  });

  it('pins a file as sha256sum prints it, in text and in binary mode', () => {
    assert.deepEqual(parse(`${A}  a.zip\n${B} *b.zip\n`), [
      { name: 'a.zip', sha256: A },
      { name: 'b.zip', sha256: B },
    ]);
  });

  it('accepts hashes in upper case, as PowerShell prints them, and returns them in lower case', () => {
    assert.deepEqual(parse(`${A.toUpperCase()}  a.zip\n`), [{ name: 'a.zip', sha256: A }]);
  });

  it('ignores blank lines and comments, and accepts CR LF', () => {
    assert.deepEqual(parse(`# nightly\r\n\r\n  \t\r\n${A}  a.zip\r\n`), [{ name: 'a.zip', sha256: A }]);
  });

  it('lists the pinned entries of a zip under it, with or without a pin of the whole', () => {
    assert.deepEqual(
      parse(`${A}  a.zip!/bin/x y.exe\n${A}  b.zip\n${B}  a.zip!/däta!/z.dll\n${B}  b.zip!/q.exe\n`),
      [
        {
          name: 'a.zip',
          entries: [
            { path: 'bin/x y.exe', sha256: A },
            { path: 'däta!/z.dll', sha256: B },
          ],
        },
        { name: 'b.zip', sha256: A, entries: [{ path: 'q.exe', sha256: B }] },
      ],
    );
  });

  it('accepts names with folders and all permitted characters, up to 255 bytes', () => {
    const long = `${'a'.repeat(251)}.zip`;
    assert.deepEqual(parse(`nightly/v2.9+x_y@z=1-b/.hidden.zip\n${long}\n`), [
      { name: 'nightly/v2.9+x_y@z=1-b/.hidden.zip' },
      { name: long },
    ]);
  });

  it('accepts 100 lines with names, and any number of comments', () => {
    const lines = Array.from({ length: 100 }, (_, i) => `# ${i}\n${A}  f${i}.zip\n`).join('');
    assert.equal(parseZipname(Buffer.from(lines)).length, 100);
  });

  it('is written as it is read', () => {
    const text = `plain.exe\n${A}  a.zip\n${B}  a.zip!/x.exe\n${A}  b.zip!/ü/y.exe\n`;
    assert.equal(formatZipname(parseZipname(Buffer.from(text))).toString(), text);
  });

  it('is not written if it could not be read again', () => {
    assert.throws(() => formatZipname([{ name: '../a.zip' }]), { code: 'zipname-name' });
    assert.throws(() => formatZipname([]), { code: 'zipname-empty' });
    assert.throws(
      () => formatZipname([{ name: 'a.zip', sha256: A, entries: [{ path: 'x\ny', sha256: A }] }]),
      { code: 'zipname-entry' },
    );
  });

  it('pins an entry by its normalised path, however it is spelled', () => {
    for (const path of ['./bin/a.exe', 'bin/./a.exe', 'bin\\a.exe', '.\\bin\\.\\a.exe'])
      assert.deepEqual(parseZipname(Buffer.from(`${A}  a.zip!/${path}\n`))[0]?.entries, [
        { path: 'bin/a.exe', sha256: A },
      ]);
  });

  it('does not change the letters of an entry: another case or Unicode form is another pin', () => {
    for (const path of ['A.exe', 'é.exe'.normalize('NFC'), 'é.exe'.normalize('NFD')])
      assert.equal(parseZipname(Buffer.from(`${A}  a.zip!/${path}\n`))[0]?.entries?.[0]?.path, path);
  });
});

describe('a zipname is refused', () => {
  it('zipname-empty', () => {
    refuses('zipname-empty', '');
    refuses('zipname-empty', '# only this\n\n');
  });

  it('zipname-too-large', () => refuses('zipname-too-large', `#${'x'.repeat(64 * 1024)}\n`));

  it('zipname-too-many-lines', () => {
    refuses('zipname-too-many-lines', Array.from({ length: 101 }, (_, i) => `f${i}.zip\n`).join(''));
  });

  it('zipname-encoding', () => {
    refuses('zipname-encoding', Buffer.from([0x61, 0xff, 0x0a]));
    refuses('zipname-encoding', Buffer.from('\uFEFFa.zip\n'));
    refuses('zipname-encoding', Buffer.from('\uFEFFa.zip\r\n', 'utf16le'));
  });

  for (const name of [
    '/etc/passwd',
    '../a.zip',
    'a/../b.zip',
    './a.zip',
    'a//b.zip',
    'a/',
    '-rf',
    'a/-b.zip',
    'a b.zip',
    'a\\b.zip',
    'a.zip ',
    ' a.zip',
    'ä.zip',
    'C:a.zip',
    'a.zip\0',
    'a.zip\rb.zip',
    'a.zip!/x.exe',
    '$(id).zip',
    `${A.slice(1)}  a.zip`,
    `${A} a.zip`,
    `${A}\ta.zip`,
    `${A}   a.zip`,
    `${A}  ../a.zip`,
    `${A}  !/x.exe`,
    `\\${A}  a.zip`,
  ])
    it(`zipname-name: ${JSON.stringify(name.replace(A, 'HEX'))}`, () => refuses('zipname-name', `${name}\n`));

  it('zipname-name-too-long', () => refuses('zipname-name-too-long', `${'a'.repeat(256)}\n`));

  it('zipname-entry', () => {
    refuses('zipname-entry', `${A}  a.zip!/\n`);
    refuses('zipname-entry', `${A}  a.zip!/x\u001b[2J.exe\n`);
    refuses('zipname-entry', `${A}  a.zip!/x\u0085.exe\n`);
  });

  it('zipname-duplicate', () => {
    refuses('zipname-duplicate', 'a.zip\na.zip\n');
    refuses('zipname-duplicate', `a.zip\n${A}  a.zip\n`);
    refuses('zipname-duplicate', `${A}  a.zip\na.zip\n`);
    refuses('zipname-duplicate', `${A}  a.zip\n${B}  a.zip\n`);
    refuses('zipname-duplicate', `${A}  a.zip!/x\n${A}  a.zip!/x\n`);
    refuses('zipname-duplicate', `a.zip\n${A}  a.zip!/x\n`);
    refuses('zipname-duplicate', `${A}  a.zip!/x/y\n${B}  a.zip!/./x\\.\\y\n`);
  });

  it('with the number of the line, and its text escaped', () => {
    refuses(
      'zipname-name',
      'a.zip\n\n\u001b[31m\u202egpj.exe\n',
      /^zipname line 3: "\\u\{1b\}\[31m\\u\{202e\}gpj\.exe"/,
    );
  });
});

describe('nameProblem', () => {
  it('is null for a valid name', () => assert.equal(nameProblem('a/b.zip'), null));
  it('says what is wrong', () => assert.equal(nameProblem('a/..'), 'has a segment . or ..'));
});
