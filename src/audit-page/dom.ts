/** Makes and finds elements. Whatever the repository says becomes text in them, never markup. */

/** What an element can be given; null, undefined and false are left out. */
export type Child = Node | string | number | null | undefined | false;

const isShown = (child: Child): child is Node | string | number =>
  child !== null && child !== undefined && child !== false;

/** An element. An attribute that is null or false is left out; one that is true stands there empty. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string | boolean | null>> = {},
  ...content: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== null && value !== false) made.setAttribute(key, value === true ? '' : value);
  for (const child of content.filter(isShown)) made.append(typeof child === 'number' ? String(child) : child);
  return made;
}

const SVG = 'http://www.w3.org/2000/svg';

/** An element of a drawing. */
export function svg(
  name: string,
  attributes: Readonly<Record<string, string | number>> = {},
  ...content: readonly (Node | string)[]
): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...content);
  return made;
}

/** What has to be there. */
export function must<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('the page is not whole');
  return value;
}

export const byId = (id: string): HTMLElement => must(document.getElementById(id));

export const inputById = (id: string): HTMLInputElement => byId(id) as HTMLInputElement;
