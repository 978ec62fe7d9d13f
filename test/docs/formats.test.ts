/** docs/formats.md and the table of formats in docs/protocol.md say what the registry says. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { FORMATS } from '../../src/engine/formats/registry.ts';
import { readDocuments, tableRows, type Document } from './markdown.ts';

/** The bold words that begin the paragraphs of each format's section. */
const PARAGRAPHS = ['Covered', 'Unproven', 'Unnoticed', 'Judges'];

let formats: Document;
let protocol: Document;
before(async () => {
  const documents = await readDocuments();
  formats = documents.find(({ path }) => path === 'docs/formats.md') ?? assert.fail();
  protocol = documents.find(({ path }) => path === 'docs/protocol.md') ?? assert.fail();
});

const spansIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span);

/** The rows of the table at the beginning; sections may have tables of their own. */
const formatRows = (): string[][] => tableRows(formats.text.split(/^## /m)[0] ?? '');

/** The section under a heading of the second level, without the heading. */
const sectionOf = ({ text }: Document, title: string): string =>
  text.split(/^## /m).find((section) => section.startsWith(`${title}\n`)) ?? '';

describe('docs/formats.md', () => {
  it('has rows for all formats with their extensions', () => {
    const listed = formatRows().map((cells) => spansIn(cells[1] ?? ''));
    const known = FORMATS.map(({ extensions }) => extensions.map((extension) => `.${extension}`));
    assert.deepEqual(listed.flat().sort(), known.flat().sort(), 'the second column, of all rows together');
  });

  it('says of each format whether it is signed, verified, taken apart and opened, and what judged it', () => {
    for (const [name = '', , ...answers] of formatRows()) {
      assert.equal(answers.length, 5, name);
      for (const answer of answers) assert.match(answer, /^(?:-|\S.{1,120})$/, name);
    }
  });

  it('has a section for each row, which tells what is covered, unproven, unnoticed, and by what it was judged', () => {
    for (const [first = ''] of formatRows()) {
      const [, title = '', anchor = ''] = /^\[([^\]]+)\]\(#([^)]+)\)$/.exec(first) ?? [];
      assert(formats.anchors.has(anchor), `${first}: links to its section`);
      const bold = [...sectionOf(formats, title).matchAll(/^\*\*(\w+):\*\*/gm)].map(([, word]) => word);
      assert.deepEqual(bold, PARAGRAPHS, `${title}: the first words of its paragraphs`);
    }
  });
});

describe('docs/protocol.md', () => {
  it('has a row in "Detached signatures" for each format, with the extension', () => {
    const [, section = ''] = protocol.text.split(/^### Detached signatures$/m);
    const rows = tableRows(section.split(/^###? /m)[0] ?? '').map((cells) =>
      [cells[0] ?? '', cells[2] ?? ''].flatMap(spansIn),
    );
    const expected = FORMATS.map(({ name, detachedExtension = 'p7' }): [string, string] => [
      name,
      detachedExtension,
    ]);
    assert.deepEqual(new Map(rows as [string, string][]), new Map(expected));
  });
});
