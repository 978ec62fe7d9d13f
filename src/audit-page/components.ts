/** Pieces that several parts of the page are made of: digests, codes, marks, tables within. */
import { el, type Child } from './dom.ts';
import { short } from './format.ts';

/** A digest or commit id; a brief one shows all of itself under the pointer. */
export const hash = (hex: string, brief = false): HTMLElement =>
  el('code', { class: 'hash', title: brief ? hex : null }, brief ? short(hex) : hex);

/** A key's fingerprint, or a serial number. */
export const fingerprint = (text: string): HTMLElement => el('span', { class: 'hash' }, text);

/** What is stable and machine-readable: why something was refused, or does not hold. */
export const code = (text: string): HTMLElement => el('code', { class: 'code' }, text);

/** A mark that warns: `TEST`, `NOT PROVEN`. */
export const warning = (word: string): HTMLElement => el('b', { class: 'test' }, ` ${word}`);

/** A text that may break before each `@`, where addresses are best broken. */
export const breakable = (text: string): Child[] =>
  text.split(/(?=@)/).flatMap((part, i) => (i === 0 ? [part] : [el('wbr'), part]));

/** A table within the page, which scrolls sideways where it has no room. */
export const innerTable = (titles: readonly string[], rows: readonly HTMLTableRowElement[]): HTMLElement =>
  el(
    'div',
    { class: 'scroll' },
    el(
      'table',
      { class: 'inner' },
      el('thead', {}, el('tr', {}, ...titles.map((title) => el('th', { scope: 'col' }, title)))),
      el('tbody', {}, ...rows),
    ),
  );
