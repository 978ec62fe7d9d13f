import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { canonicalXml } from '../../../src/lib/xml/canonical-xml.ts';
import { isPlainXml } from '../../../src/lib/xml/plain-xml.ts';
import { childElements, parseXml } from '../../../src/lib/xml/parse-xml.ts';
import { inFolder } from '../../engine/authenticode/tools.ts';

const run = promisify(execFile);

/** The examples of the standard (section 3) that need no document type, and places where implementations differ. */
const documents: Record<string, string> = {
  'processing instructions around the root':
    '<?xml version="1.0"?>\n<?xml-stylesheet   href="doc.xsl"\n   type="text/xsl"   ?>\n<doc>Hello, world!</doc>\n<?pi-without-data     ?>\n',
  'white space': '<doc>\n   <clean>   </clean>\n   <dirty>   A   B   </dirty>\n</doc>',
  'empty elements, and attributes in order':
    '<doc><e1   /><e2   ></e2><e3   name = "elem3"   id="elem3"   /><e5 a:attr="out" b:attr="sorted" attr2="all" attr="I\'m" xmlns:b="http://www.ietf.org" xmlns:a="http://www.w3.org" xmlns="http://example.org"/></doc>',
  'namespaces that are declared again, or taken back':
    '<doc xmlns="http://a.example"><e6 xmlns="" xmlns:a="http://www.w3.org"><e7 xmlns="http://www.ietf.org"><e8 xmlns="" xmlns:a="http://www.w3.org"><e9 xmlns="" xmlns:a="http://www.ietf.org" a:attr="x"/></e8></e7></e6><x:f xmlns:x="http://a.example"><x:g/></x:f></doc>',
  'character references and CDATA':
    '<doc><text>First line&#x0d;&#10;Second line</text><value>&#x32;</value><compute><![CDATA[value>"0" && value<"10"]]></compute><norm attr=\' &apos;   &#x20;&#13;&#xa;&#9;   &apos; \'/></doc>',
  'line ends, and blanks in attributes': '<doc a="x\ty\r\nz">line\r\nend\rx</doc>',
  'characters of two to four bytes': '<doc xml:lang="de" b="\u{1F600}" a="é">ä€\u{1F600}</doc>',
};

describe('Canonical XML', () => {
  it('is what libxml2 makes of the same documents', () =>
    inFolder(async (folder) => {
      for (const [what, text] of Object.entries(documents)) {
        const path = join(folder, 'a.xml');
        await writeFile(path, text);
        const { stdout } = await run('xmllint', ['--c14n', path]);
        assert.equal(canonicalXml(parseXml(Buffer.from(text), what)), stdout, what);
      }
    }));

  it('leaves comments out', () =>
    assert.equal(
      canonicalXml(parseXml(Buffer.from('<a>1<!-- 2 --><b/><!----></a>'), 'it')),
      '<a>1<b></b></a>',
    ));

  it('of an element has the namespaces and the language that it inherits', () => {
    const text =
      '<a xmlns="http://a.example" xmlns:b="http://b.example" xml:lang="en" c="d"><b:e xmlns:f="http://f.example"><g/></b:e></a>';
    const [inner = assert.fail()] = childElements(
      parseXml(Buffer.from(text), 'it').documentElement ?? assert.fail(),
    );
    assert.equal(
      canonicalXml(inner),
      '<b:e xmlns="http://a.example" xmlns:b="http://b.example" xmlns:f="http://f.example" xml:lang="en"><g></g></b:e>',
    );
  });
});

describe('plain XML', () => {
  it('has one form, apart from blanks between elements', () => {
    for (const text of [
      '<a/>',
      '\uFEFF<?xml version="1.0" encoding="utf-8"?><a b="c" d="" />',
      '<a>\n <b>c</b>\n</a>\n',
    ])
      assert.ok(isPlainXml(text), text);
  });

  for (const text of [
    '<a><!-- b --></a>',
    '<?b c?><a/>',
    '<a><![CDATA[b]]></a>',
    '<a  b="c"/>',
    '<a\tb="c"/>',
    '<a b ="c"/>',
    "<a b='c'/>",
    '<a b="c"  />',
    '</a >',
    '<a><',
    '<?xml version="1.0" encoding="utf-8"  ?><a/>',
    '<?xml version="1.1" encoding="utf-8"?><a/>',
    '<?xml version="1.0"?><a/>',
  ])
    it(`is not ${text}`, () => assert.ok(!isPlainXml(text)));

  it('is told in linear time', () => {
    const start = performance.now();
    assert.ok(!isPlainXml(`${'<a b="c">x'.repeat(200_000)}<`));
    assert.ok(performance.now() - start < 2000);
  });
});
