/** Reading XML from outside: only what every reader understands alike. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { attributeText, childElements, parseXml } from '../../../src/lib/xml/parse-xml.ts';

const parse = (text: string | Buffer): ReturnType<typeof parseXml> =>
  parseXml(Buffer.from(text as string), 'a.xml');

describe('an XML document', () => {
  it('is read with its namespaces and attributes, with a byte order mark too', () => {
    for (const mark of ['', '\uFEFF']) {
      const root = parse(
        `${mark}<?xml version="1.0" encoding="utf-8"?>\r\n<a xmlns="urn:a" b="&lt;1&#x41;"> <c/> </a>`,
      ).documentElement;
      assert.equal(root?.namespaceURI, 'urn:a');
      assert.equal(root?.getAttribute('b'), '<1A');
      assert.deepEqual(root && childElements(root).map(({ localName }) => localName), ['c']);
    }
  });

  it('has lines that end in LF, CR or both, and no others', () => {
    const root = parse('<a b="1\r\n2\u0085">\r\n\r\u0085\u2028&#13;</a>').documentElement;
    assert.deepEqual([root?.textContent, root?.getAttribute('b')], ['\n\n\u0085\u2028\r', '1 2\u0085']);
  });

  it('gets back the values of attributes that it is written with', () => {
    const value = 'a "b" <c> & d\té\n';
    assert.equal(parse(`<a b="${attributeText(value)}"/>`).documentElement?.getAttribute('b'), value);
  });

  const refused: [what: string, text: string | Buffer][] = [
    ['nothing', ''],
    ['text', 'text'],
    ...['&#0;', '&#x1;', '&#xD800;', '&#xFFFE;', '&#x110000;', `&#${'9'.repeat(400)};`].map(
      (each): [string, string] => [`a reference to no character, ${each.slice(0, 9)}`, `<a>${each}</a>`],
    ),
    ['an element that does not end', '<a>'],
    ['an element that ends twice', '<a></a></a>'],
    ['an end after a comment', '<a/><!-- </b> --></a>'],
    ['two roots', '<a/><b/>'],
    ['text after the root', '<a/>text'],
    ['an attribute twice', '<a b="1" b="2"/>'],
    ['an attribute twice by its namespace', '<a xmlns:x="u" xmlns:y="u" x:b="1" y:b="2"/>'],
    ['an attribute without quotes', '<a b=1/>'],
    ['an attribute without value', '<a b/>'],
    ['a prefix without namespace', '<x:a/>'],
    ['an entity of its own', '<a>&b;</a>'],
    ['a document type', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'],
    ['a document type that is fetched', '<!DOCTYPE a SYSTEM "http://example.com/a.dtd"><a/>'],
    ['another encoding', '<?xml version="1.0" encoding="ISO-8859-1"?><a/>'],
    ['bytes that are no UTF-8', Buffer.from([0x3c, 0x61, 0xff, 0x2f, 0x3e])],
    ['UTF-16', Buffer.from('\uFEFF<a/>', 'utf16le')],
    ['deep nesting', `${'<a>'.repeat(70)}${'</a>'.repeat(70)}`],
    ['nesting that would exhaust the stack', `${'<a>'.repeat(50_000)}${'</a>'.repeat(50_000)}`],
    ['namespaces at each of many levels', `${'<a xmlns:b="u">'.repeat(50_000)}${'</a>'.repeat(50_000)}`],
    ['thousands of attributes', `<a ${Array.from({ length: 5000 }, (_, at) => `b${at}=""`).join(' ')}/>`],
    ['millions of values in one tag', `<a ${'""'.repeat(4_000_000)}/>`],
    ['comments that do not end', '<a>' + '<!--'.repeat(100_000)],
    ['quotes that do not end', '<a>' + '<b "'.repeat(100_000)],
    ['a NUL', '<a>\0</a>'],
  ];
  for (const [what, text] of refused)
    it(`xml-malformed: ${what}`, () => {
      assert.throws(() => parse(text), { code: 'xml-malformed' });
    });

  it('xml-too-large: more than 16 MiB', () => {
    assert.throws(() => parse(Buffer.alloc(16 * 1024 * 1024 + 1, 32)), { code: 'xml-too-large' });
  });
});
