/** Components that several parts of the page use: digests, codes, warnings, inner tables. */
import { el, type Child } from './dom.ts';
import { short } from './format.ts';

/** A digest or commit id; a brief one shows all digits in its tooltip. */
export const hash = (hex: string, brief = false): HTMLElement =>
  el('code', { class: 'hash', title: brief ? hex : null }, brief ? short(hex) : hex);

/** A key's fingerprint, or a serial number. */
export const fingerprint = (text: string): HTMLElement => el('span', { class: 'hash' }, text);

/** An error code: stable and machine-readable. */
export const code = (text: string): HTMLElement => el('code', { class: 'code' }, text);

/** A warning: `TEST`, `NOT PROVEN`. */
export const warning = (word: string): HTMLElement => el('b', { class: 'test' }, ` ${word}`);

/** A text that may break before each `@`, the best place in an address. */
export const breakable = (text: string): Child[] =>
  text.split(/(?=@)/).flatMap((part, i) => (i === 0 ? [part] : [el('wbr'), part]));

/** A table within a section; it scrolls sideways if there is no room. */
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
