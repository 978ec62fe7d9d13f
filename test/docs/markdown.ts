/** Just enough Markdown to compare the documents with the program: code blocks, code spans, links, headings, tables. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './error-codes.ts';

export interface Block {
  /** The words after the fence: `yaml signer`, `console`. */
  readonly info: string;
  readonly lines: readonly string[];
}

export interface Document {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** The text without its code blocks. */
  readonly prose: string;
  /** The contents of `code spans` in the prose. */
  readonly spans: readonly string[];
  /** Link targets in the prose, and pictures. */
  readonly links: readonly string[];
  /** Anchors that GitHub makes from the headings. */
  readonly anchors: ReadonlySet<string>;
}

const FENCE = /^(```+)([^\n]*)\n([^]*?)^\1 *$/gm;

function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .trim()
    .replaceAll(' ', '-');
}

function parse(path: string, text: string): Document {
  const blocks = [...text.matchAll(FENCE)].map(([, , info = '', body = '']): Block => {
    return { info: info.trim(), lines: body.split('\n').slice(0, -1) };
  });
  const prose = text.replace(FENCE, '');
  return {
    path,
    text,
    blocks,
    prose,
    spans: [...prose.matchAll(/`([^`\n]+(?:\n[^`\n]+)?)`/g)].map(([, span = '']) => span.replace('\n', ' ')),
    links: [...prose.matchAll(/(?:\]\(|\bsrc(?:set)?=")([^)\s"]+)[)"]/g)].map(([, target = '']) => target),
    anchors: new Set([...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading))),
  };
}

/** README.md, the other documents beside it, and those in docs/. */
export async function readDocuments(): Promise<Document[]> {
  const inDocs = (await readdir(join(root, 'docs'))).filter((name) => name.endsWith('.md')).sort();
  const paths = [
    'README.md',
    'CHANGELOG.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    ...inDocs.map((name) => `docs/${name}`),
  ];
  return Promise.all(paths.map(async (path) => parse(path, await readFile(join(root, path), 'utf8'))));
}

/** The rows of all tables, as cells, without heads and rulers. */
export function tableRows(text: string): string[][] {
  const lines = text.split('\n');
  return lines
    .filter((line, i) => {
      const isHead = /^\| *-/.test(lines[i + 1] ?? '');
      return line.startsWith('| ') && !isHead && !/^\| *-/.test(line);
    })
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** Joins lines that end in a backslash with the next one. */
function joined(lines: readonly string[]): string[] {
  return lines
    .join('\n')
    .replace(/\\\n\s*/g, '')
    .split('\n');
}

/** Names of committers and first lines of messages, which are not commands. */
const COMMITTERS: ReadonlySet<string> = new Set(['signpipe signer', 'signpipe builder', 'signpipe health']);

/** Every command line that begins with `signpipe`, in code blocks and code spans. */
export function commandLines({ blocks, spans }: Document): string[] {
  const inBlocks = blocks.flatMap(({ lines }) =>
    joined(lines).flatMap((line) => {
      const command = /^(?:\$ |# )?(?:.*(?:&& |\| |; |\$\())?(signpipe [a-z-].*)$/.exec(
        line.replace(/\s#\s.*$/, ''),
      );
      return command?.[1] !== undefined && !/^\s*(?:signpipe):/.test(line) ? [command[1]] : [];
    }),
  );
  const inSpans = spans.filter((span) => /^signpipe [a-z-]/.test(span) && !COMMITTERS.has(span));
  return [...inBlocks, ...inSpans];
}
