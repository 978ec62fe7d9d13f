/** New values for attributes in a document whose other bytes stay. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { editAttributes } from '../../../src/lib/xml/edit-attributes.ts';

const edit = (xml: string, change: (attributes: ReadonlyMap<string, string>) => [string, string][]): string =>
  editAttributes(Buffer.from(xml), 'p', (attributes) => new Map(change(attributes)), 'a.xml').toString();

describe('attributes in an XML document', () => {
  it('get new values; spaces, quotes of others, comments and line ends stay', () => {
    const xml =
      '\uFEFF<?xml version="1.0"?>\r\n<!-- <p a="1"/> -->\r\n<r p="0">\t<p  b=\'x\' a = "1" />\r\n<x:p xmlns:x="u" a="2"/></r>\r\n';
    assert.equal(
      edit(xml, (attributes) => [['a', `${Number(attributes.get('a')) + 10}`]]),
      xml.replace('a = "1"', 'a = "11"').replace('a="2"', 'a="12"'),
    );
  });

  it('are chosen by their decoded values, and escaped', () => {
    assert.equal(
      edit('<r><p a="1" f="&lt;"/><p a="1" f="&gt;"/></r>', (attributes) =>
        attributes.get('f') === '<' ? [['a', '"&"']] : [],
      ),
      '<r><p a="&quot;&amp;&quot;" f="&lt;"/><p a="1" f="&gt;"/></r>',
    );
  });

  it('are not those in CDATA, in other elements or with other names', () => {
    const xml = '<r><![CDATA[<p a="1"/>]]><pp a="1"/><q><p aa="1" A="1"/></q></r>';
    assert.equal(
      edit(xml, () => [['a', '2']]),
      xml,
    );
  });

  it('xml-malformed: are not sought in what is no XML', () => {
    assert.throws(() => edit('<p a="1">', () => []), { code: 'xml-malformed' });
  });
});
