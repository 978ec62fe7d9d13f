/** Creates and finds elements. Texts from the repository become text nodes, never markup. */

/** Content of an element; null, undefined and false are left out. */
export type Child = Node | string | number | null | undefined | false;

const isShown = (child: Child): child is Node | string | number =>
  child !== null && child !== undefined && child !== false;

/** Creates an element. An attribute that is null or false is left out; one that is true is set to ''. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string | boolean | null>> = {},
  ...content: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== null && value !== false) element.setAttribute(key, value === true ? '' : value);
  for (const child of content.filter(isShown))
    element.append(typeof child === 'number' ? String(child) : child);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** Creates an SVG element. */
export function svg(
  name: string,
  attributes: Readonly<Record<string, string | number>> = {},
  ...content: readonly (Node | string)[]
): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...content);
  return element;
}

/** The value, which must not be missing. */
export function must<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('the page is incomplete');
  return value;
}

export const byId = (id: string): HTMLElement => must(document.getElementById(id));

export const inputById = (id: string): HTMLInputElement => byId(id) as HTMLInputElement;
