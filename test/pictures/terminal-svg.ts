/** Draws terminal output as SVG in which the text stays text. */

const SIZE = { cell: 8, line: 19, font: 13.3, edge: 18, bar: 30 } as const;
const [PAPER, INK, BAR] = ['#16181b', '#e6e6e3', '#262a2f'];
const COLOURS: ReadonlyMap<number, string> = new Map([
  [31, '#f2857c'],
  [32, '#6fc492'],
  [33, '#e0b25a'],
  [34, '#8ab8f0'],
  [35, '#e58bd6'],
  [36, '#7fd0d6'],
  [90, '#8b9099'],
]);

interface Style {
  readonly colour: string | null;
  readonly bold: boolean;
  readonly dim: boolean;
  readonly inverse: boolean;
}

interface Span extends Style {
  readonly text: string;
  readonly column: number;
}

const PLAIN: Style = { colour: null, bold: false, dim: false, inverse: false };

function styleAfter(style: Style, code: number): Style {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...style, bold: true };
  if (code === 2) return { ...style, dim: true };
  if (code === 7) return { ...style, inverse: true };
  if (code === 22) return { ...style, bold: false, dim: false };
  if (code === 27) return { ...style, inverse: false };
  if (code === 39) return { ...style, colour: null };
  return { ...style, colour: COLOURS.get(code) ?? style.colour };
}

/** Renderers differ in what they do with several spaces. */
const unbroken = (text: string): string => text.replaceAll(' ', '\u00a0');

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

// oxlint-disable-next-line no-control-regex -- the escape sequences of a terminal
const SEQUENCE = /\u001b\[([\d;]*)m/g;

/** The lines of a text with escape sequences, broken where a terminal of some columns breaks them. */
function linesOf(text: string, columns: number): Span[][] {
  let style = PLAIN;
  const lines: Span[][] = [];
  for (const line of text.split('\n')) {
    let spans: Span[] = [];
    let column = 0;
    const add = (part: string): void => {
      for (const character of part) {
        if (column === columns) {
          lines.push(spans);
          [spans, column] = [[], 0];
        }
        const last = spans.at(-1);
        if (last && sameStyle(last, style))
          spans[spans.length - 1] = { ...last, text: last.text + character };
        else spans.push({ ...style, text: character, column });
        column += 1;
      }
    };
    let at = 0;
    for (const match of line.matchAll(SEQUENCE)) {
      add(line.slice(at, match.index));
      for (const code of (match[1] ?? '').split(';')) style = styleAfter(style, Number(code));
      at = match.index + match[0].length;
    }
    add(line.slice(at));
    lines.push(spans);
  }
  return lines;
}

const sameStyle = (a: Style, b: Style): boolean =>
  a.colour === b.colour && a.bold === b.bold && a.dim === b.dim && a.inverse === b.inverse;

function spanText({ text, column, colour, bold, dim, inverse }: Span, y: number): string {
  if (text.trim() === '' && !inverse) return '';
  const x = SIZE.edge + column * SIZE.cell;
  const width = Array.from(text).length * SIZE.cell;
  const fill = inverse ? PAPER : (colour ?? INK);
  const attributes = [
    `x="${x}" y="${y}" textLength="${width}"`,
    fill === INK ? '' : ` fill="${fill}"`,
    bold ? ' font-weight="700"' : '',
    dim ? ' opacity="0.65"' : '',
  ];
  const back = inverse
    ? `<rect x="${x}" y="${y - 14}" width="${width}" height="${SIZE.line}" fill="${colour ?? INK}"/>`
    : '';
  return `${back}<text ${attributes.join('')}>${unbroken(escaped(text))}</text>`;
}

/** A picture of a terminal that shows a text. `title` says what it shows, for readers who do not see it. */
export function terminalSvg(text: string, { columns, title }: { columns: number; title: string }): string {
  const lines = linesOf(text.replace(/\n+$/, ''), columns);
  const width = columns * SIZE.cell + 2 * SIZE.edge;
  const height = SIZE.bar + lines.length * SIZE.line + SIZE.edge;
  const rows = lines.flatMap((spans, i) =>
    spans.map((span) => spanText(span, SIZE.bar + 16 + i * SIZE.line)).filter((row) => row !== ''),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title">
<title id="title">${escaped(title)}</title>
<rect width="${width}" height="${height}" rx="8" fill="${PAPER}"/>
<path d="M0 ${SIZE.bar - 8}V8a8 8 0 0 1 8-8H${width - 8}a8 8 0 0 1 8 8V${SIZE.bar - 8}z" fill="${BAR}"/>
<g fill="#5c6068"><circle cx="18" cy="11" r="4.5"/><circle cx="34" cy="11" r="4.5"/><circle cx="50" cy="11" r="4.5"/></g>
<g font-family="ui-monospace, 'SF Mono', 'Cascadia Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="${SIZE.font}" fill="${INK}">
${rows.join('\n')}
</g>
</svg>
`;
}
