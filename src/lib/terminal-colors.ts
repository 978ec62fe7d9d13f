import { styleText } from 'node:util';

/** What a colour says; it never says anything that the words beside it do not. */
const STYLES = {
  good: ['green'],
  bad: ['bold', 'red'],
  warning: ['yellow'],
  waiting: ['cyan'],
  alarm: ['bold', 'white', 'bgRed'],
  dim: ['dim'],
} as const satisfies Record<string, readonly Parameters<typeof styleText>[0][]>;

export type Style = keyof typeof STYLES;

/** Colours a text, or leaves it as it is. */
export type Paint = (text: string, style: Style) => string;

const isOff = (value: string): boolean => value === '0' || value === 'false';

/**
 * Whether to colour what goes to a stream: if a person looks at it, as the stream is a terminal, and has not said
 * otherwise by NO_COLOR (no-color.org) or TERM=dumb. FORCE_COLOR overrides all of these (force-color.org); 0 and
 * false mean no.
 */
export function wantsColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  const force = env['FORCE_COLOR'] ?? '';
  if (force !== '') return !isOff(force);
  if ((env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb') return false;
  return stream.isTTY === true;
}

/** One style within another, the innermost first: Node 20.18 takes no list of them for a read-only tuple. */
const styled: Paint = (text, style) =>
  // The stream was looked at already; Node would look at standard output, whatever this goes to.
  STYLES[style].reduce((inner, each) => styleText(each, inner, { validateStream: false }), text);

export const painter = (colour: boolean): Paint => (colour ? styled : (text) => text);
