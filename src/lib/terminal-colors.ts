import { styleText } from 'node:util';

/** Styles by their meaning, which the text always expresses too. */
const STYLES = {
  good: ['green'],
  bad: ['bold', 'red'],
  warning: ['yellow'],
  waiting: ['cyan'],
  alarm: ['bold', 'white', 'bgRed'],
  dim: ['dim'],
} as const satisfies Record<string, readonly Parameters<typeof styleText>[0][]>;

export type Style = keyof typeof STYLES;

/** Colours a text, or returns it unchanged. */
type Paint = (text: string, style: Style) => string;

const isOff = (value: string): boolean => value === '0' || value === 'false';

/**
 * Whether to colour the output to a stream: if the stream is a terminal, unless NO_COLOR (no-color.org) or TERM=dumb is
 * set. FORCE_COLOR overrides all of these (force-color.org); 0 and false mean no.
 */
export function wantsColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  const force = env['FORCE_COLOR'] ?? '';
  if (force !== '') return !isOff(force);
  if ((env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb') return false;
  return stream.isTTY === true;
}

/** Applies the styles one by one, the innermost first: Node 20.18 does not accept a read-only list. */
const styled: Paint = (text, style) =>
  // The stream was checked already; Node would check standard output, whatever the stream is.
  STYLES[style].reduce((inner, each) => styleText(each, inner, { validateStream: false }), text);

export const painter = (colour: boolean): Paint => (colour ? styled : (text) => text);
