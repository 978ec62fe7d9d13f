import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { readDer } from '../../../lib/asn1/der.ts';
import type { BlockStyle } from './block-style.ts';

/*
 * The block of lines that carries a script's signature, in base64. Windows ends the lines of a block with CR LF, whatever the
 * lines of the script end with. Only a block that is exactly so is read: a reader that is less strict could see another
 * signature, or none, and bytes that nothing checks could hide between the lines.
 */

const CRLF = '\r\n';

/** The most characters that a block may have: the largest signatures, of 32 nested ones with timestamps, have a tenth of it. */
const MAX_BLOCK = 4 * 1024 * 1024;

/** Where a block lies in the text, in units, with the line end before it; and the signature in it. */
export interface SignatureBlock {
  readonly start: number;
  readonly end: number;
  readonly der: Buffer;
}

/** A block with this signature, and the line ends before and after it. */
export function formatBlock(
  der: Buffer,
  { begin, end, prefix, suffix, widths }: BlockStyle,
  width = widths[0],
): string {
  const base64 = der.toString('base64');
  const lines: string[] = [];
  for (let at = 0; at < base64.length; at += width ?? 64)
    lines.push(`${prefix}${base64.slice(at, at + (width ?? 64))}${suffix}`);
  return [`${CRLF}${begin}`, ...lines, end, ''].join(CRLF);
}

/** What is known about blocks in a text. */
export interface BlockSearch {
  readonly block: SignatureBlock | null;
  /** Why a block must not be added. */
  readonly fault: SignpipeError | null;
}

/**
 * Finds the one block of a text.
 *
 * | code                       | meaning                                                                     |
 * | -------------------------- | --------------------------------------------------------------------------- |
 * | `script-block-malformed`   | lines of a block that are not exactly as Windows writes them                |
 * | `script-block-unended`     | a first line without a last one, or more than 4 MiB before it               |
 * | `script-text-after-block`  | something follows the block, and would not be covered by the signature      |
 * | `script-several-markers`   | a second block, or text that a reader could take for one                    |
 */
export function findBlock(text: string, style: BlockStyle, name: string): BlockSearch {
  const start = text.indexOf(`${CRLF}${style.begin}${CRLF}`);
  if (start < 0) return withoutBlock(text, style, name);
  const block = readBlock(text, start, style, name);
  if (!text.startsWith(style.followedBy, block.end) || (style.followedBy === '' && block.end < text.length))
    throw invalid(
      'script-text-after-block',
      `${name}: ${style.followedBy === '' ? 'text follows' : `${style.followedBy} does not follow`} its signature block`,
      { hint: 'the signature does not cover it: sign the script again, without its old block' },
    );
  const [before, after] = [mentionsIn(text.slice(0, start), style), mentionsIn(text.slice(block.end), style)];
  if (before.length + after.length > 0) throw severalMarkers(name);
  return { block, fault: null };
}

const severalMarkers = (name: string): SignpipeError =>
  invalid(
    'script-several-markers',
    `${name}: it has more than one text that can be taken for a signature block`,
    {
      hint: 'remove the old block, or write such a text in two parts ("SIG " + "# Begin")',
    },
  );

/** Positions of what can be taken for a part of a block; two are enough to know. */
function mentionsIn(text: string, { mention }: BlockStyle): number[] {
  const found: number[] = [];
  for (const { index } of text.matchAll(mention)) if (found.push(index) === 2) break;
  return found;
}

function withoutBlock(text: string, style: BlockStyle, name: string): BlockSearch {
  const mentions = mentionsIn(text, style);
  if (mentions.length === 0) return { block: null, fault: null };
  if (mentions.some((at) => beginsLine(text, at)))
    throw invalid(
      'script-block-malformed',
      `${name}: its signature block is not written as Windows writes it`,
      {
        hint: 'lines of a block end with CR LF; git and editors may have changed that: sign the script again, without its old block',
      },
    );
  return { block: null, fault: severalMarkers(name) };
}

/** Characters that comments and elements of a block begin with, and white space. */
const OPENING = /^[\s#/*<!'-]*$/;

/** How far back a line is looked at, in characters. */
const LOOK_BACK = 64;

/** Whether a mention stands at the beginning of its line, after what opens a comment. */
function beginsLine(text: string, at: number): boolean {
  const before = text.slice(Math.max(0, at - LOOK_BACK), at);
  const lineStart = Math.max(before.lastIndexOf('\n'), before.lastIndexOf('\r')) + 1;
  return (lineStart > 0 || at <= LOOK_BACK) && OPENING.test(before.slice(lineStart));
}

function readBlock(text: string, start: number, style: BlockStyle, name: string): SignatureBlock {
  const from = start + CRLF.length + style.begin.length;
  const last = `${CRLF}${style.end}${CRLF}`;
  const to = text.slice(from, from + MAX_BLOCK).indexOf(last);
  if (to < 0)
    throw invalid('script-block-unended', `${name}: its signature block does not end`, {
      hint: 'the file was cut short, or changed after it was signed',
    });
  const end = from + to + last.length;
  const der = decodeLines(text.slice(from, from + to), style);
  const block = text.slice(start, end);
  if (!der || !style.widths.some((width) => formatBlock(der, style, width) === block))
    throw invalid(
      'script-block-malformed',
      `${name}: its signature block is not written as Windows writes it`,
      {
        hint: 'the block was changed after it was written: sign the script again, without its old block',
      },
    );
  if (readDer(der, `${name}: signature`).rest.length > 0)
    throw invalid('script-block-malformed', `${name}: bytes follow the signature in its block`);
  return { start, end, der };
}

/** The bytes in the lines of a block; what is no base64 in them shows when they are written again. */
function decodeLines(lines: string, { prefix, suffix }: BlockStyle): Buffer | null {
  const parts: string[] = [];
  for (const line of lines.split(CRLF).slice(1)) {
    if (!line.startsWith(prefix) || !line.endsWith(suffix)) return null;
    parts.push(line.slice(prefix.length, line.length - suffix.length));
  }
  const der = Buffer.from(parts.join(''), 'base64');
  return der.length > 0 ? der : null;
}
