import { fileURLToPath } from 'node:url';
import { readOnce } from '../../../lib/bytes/byte-source.ts';
import { messageOf, SignpipeError, usage } from '../../../lib/errors.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { printable } from '../../../lib/printable.ts';

/** What `docs/errors.md` says about a code. */
export interface ErrorCodeText {
  readonly code: string;
  /** Who has to act: `usage`, `invalid` and so on. */
  readonly kinds: readonly string[];
  readonly meaning: string;
  /** The heading above it. */
  readonly topic: string;
}

const DOCUMENT = 'docs/errors.md';
const DOCUMENT_LIMIT = 4 * 1024 * 1024;
/** A longer text is no code. */
const MOST_LENGTH = 100;
const MOST_SUGGESTED = 5;

async function readDocument(): Promise<string> {
  const path = fileURLToPath(new URL(DOCUMENT, packageRoot));
  try {
    const bytes = await readOnce(path, DOCUMENT_LIMIT);
    if (bytes !== null) return bytes.toString('utf8');
  } catch (cause) {
    throw new SignpipeError('local', 'document-missing', `${path}: cannot be read: ${messageOf(cause)}`, {
      hint: 'install signpipe again: the file belongs to it',
      cause,
    });
  }
  throw new SignpipeError('local', 'document-missing', `${path}: is too large to be ${DOCUMENT}`);
}

/** Markdown as plain text: links as their text, code without its marks. */
const plain = (markdown: string): string =>
  markdown
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll('`', '')
    .trim();

/** The rows of the document's tables of codes. */
function parseErrorCodes(text: string): ErrorCodeText[] {
  const codes: ErrorCodeText[] = [];
  let topic = '';
  for (const line of text.split('\n')) {
    topic = /^## (.*)$/.exec(line)?.[1] ?? topic;
    const [, code = '', kinds = '', meaning = ''] =
      /^\| `([a-z0-9-]+)` \| ([a-z, -]+) \| (.*) \|$/.exec(line) ?? [];
    if (code !== '' && topic !== '')
      codes.push({ code, kinds: kinds.split(', '), meaning: plain(meaning), topic: plain(topic) });
  }
  return codes;
}

/** How many letters have to be changed, added or removed to make one text of the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The codes that may be meant, the likeliest first. */
function similar(code: string, codes: readonly ErrorCodeText[]): string[] {
  const most = Math.max(2, Math.floor(code.length / 4));
  const ranked = codes.flatMap(({ code: each }) => {
    const isPart = code.length > 3 && (each.includes(code) || code.includes(each));
    const changes = isPart ? 1 : distance(code, each);
    return changes <= most ? [{ each, changes }] : [];
  });
  return ranked
    .toSorted((a, b) => a.changes - b.changes)
    .slice(0, MOST_SUGGESTED)
    .map(({ each }) => each);
}

/** What the document says about a code, given as in a message, with or without brackets. Throws `code-unknown`. */
export async function explainCode(text: string): Promise<ErrorCodeText> {
  const code = text
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
    .slice(0, MOST_LENGTH);
  const codes = parseErrorCodes(await readDocument());
  const known = codes.find((each) => each.code === code);
  if (known) return known;
  const suggestions = similar(code, codes);
  throw usage(
    'code-unknown',
    `"${printable(text, MOST_LENGTH)}" is neither an error code nor the id of a request`,
    {
      hint:
        suggestions.length > 0
          ? `did you mean ${suggestions.join(', ')}?`
          : `give the code in the brackets of a message, or a commit id; ${DOCUMENT} lists all codes`,
    },
  );
}
