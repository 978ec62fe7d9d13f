import {
  bold,
  bullet,
  entry,
  heading,
  italic,
  literal,
  page,
  pageHead,
  paragraph,
  plain,
  subheading,
  type PageHead,
} from './roff.ts';

/** Markdown within a line: code spans and bold text become bold, links their text, emphasis italics. */
function inline(text: string): string {
  const parts = text
    .replace(/\[([^\]]+)\]\([^)\s]+\)/g, '$1')
    .split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/);
  return parts
    .map((part) => {
      if (part.startsWith('`')) return bold(part.slice(1, -1));
      if (part.startsWith('**')) return bold(part.slice(2, -2).replaceAll('`', ''));
      return part.startsWith('*') && part.length > 1 ? italic(part.slice(1, -1)) : plain(part);
    })
    .join('');
}

/** Neither a paragraph's line nor an entry may begin with what looks like a macro after a code span was replaced. */
const safe = (text: string): string => text.replace(/^(?=[.'])/, '\\&');

const cells = (line: string): string[] =>
  line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('\\|', '|'));

/** A table as a list: the first cell is the term, the middle ones are named by their column. */
function tableEntries(lines: readonly string[]): string[] {
  const [head = '', , ...rows] = lines;
  const names = cells(head);
  return rows.map((row) => {
    const [term = '', ...rest] = cells(row);
    const last = rest.at(-1) ?? '';
    const notes = rest.slice(0, -1).map((cell, index) => `${names[index + 1] ?? ''}: ${cell}`);
    const text = [last, ...notes.map((note) => `[${note}]`)].join(' ');
    return entry(safe(inline(term)), safe(inline(text)));
  });
}

type Block = (lines: string[]) => string[];

/** How each kind of block begins, whether a line continues it, and what it becomes. */
const BLOCKS: readonly { start: RegExp; more: RegExp; toRoff: Block }[] = [
  {
    start: /^\|/,
    more: /^\|/,
    toRoff: tableEntries,
  },
  {
    start: /^(?:-|\d+\.) /,
    more: /^(?: {2,}\S|(?:-|\d+\.) )/,
    toRoff: (lines) =>
      lines
        .join('\n')
        .split(/^(?:-|\d+\.) /m)
        .slice(1)
        .map((item) => bullet(safe(inline(item.replace(/\s+/g, ' ').trim())))),
  },
  {
    start: /^\S/,
    more: /^(?![|#]|```|- |\d+\. )\S/,
    toRoff: (lines) => [paragraph(safe(inline(lines.join(' '))))],
  },
];

const HEADING = /^(#{2,4}) (.+)$/;

function headingPart(line: string): string | null {
  const [, marks = '', text = ''] = HEADING.exec(line) ?? [];
  if (marks === '') return null;
  const bare = text.replaceAll('`', '');
  return marks.length === 2 ? heading(bare) : subheading(bare);
}

/** The first line from `at` on that does not continue a block. */
function endOf(lines: readonly string[], at: number, more: RegExp): number {
  const end = lines.findIndex((line, index) => index >= at && !more.test(line));
  return end < 0 ? lines.length : end;
}

/** The block that begins at a line, and the line after it. */
function readBlock(lines: readonly string[], at: number): { parts: string[]; end: number } {
  const line = lines[at] ?? '';
  const title = headingPart(line);
  if (title !== null) return { parts: [title], end: at + 1 };
  if (line.startsWith('```')) {
    const end = endOf(lines, at + 1, /^(?!```)/);
    return { parts: [literal(lines.slice(at + 1, end))], end: end + 1 };
  }
  const block = BLOCKS.find(({ start }) => start.test(line));
  const end = block ? endOf(lines, at + 1, block.more) : at + 1;
  return { parts: block?.toRoff(lines.slice(at, end)) ?? [], end };
}

/** Converts what the documents use of Markdown. */
function body(lines: readonly string[]): string[] {
  const all: string[] = [];
  for (let at = 0; at < lines.length;) {
    const { parts, end } = readBlock(lines, at);
    all.push(...parts);
    at = end;
  }
  return all;
}

/** A document as a manual page; its first heading is left out. */
export const documentPage = (head: PageHead, summary: string, markdown: string): string =>
  page([
    pageHead(head),
    heading('Name'),
    `${plain(head.name)} \\- ${plain(summary)}`,
    heading('Description'),
    ...body(markdown.replace(/^# .*\n/, '').split('\n')),
    heading('See also'),
    `${bold('signpipe')}(1)`,
  ]);
