import type { Attr, Document, Element, Node } from '@xmldom/xmldom';

/*
 * Canonical XML 1.0 (W3C, 15 March 2001), inclusive, without comments: of a document, or of an element with all that it
 * holds. Document types are refused when a document is parsed, so attributes have no defaults and there are no entities.
 */

const XMLNS = 'http://www.w3.org/2000/xmlns/';
const XML = 'http://www.w3.org/XML/1998/namespace';

/** Namespace names by prefix; the default namespace has the empty prefix. */
type Scope = ReadonlyMap<string, string>;

/** The canonical form of a document, or of an element as a part of its document; UTF-8 is its encoding. */
export function canonicalXml(node: Document | Element): string {
  if (isElement(node)) return ofElement(node, new Map(), scopeAround(node), inheritedXml(node));
  let [text, afterRoot] = ['', false];
  for (const child of childrenOf(node)) {
    if (isElement(child)) {
      text += ofElement(child, new Map(), new Map(), []);
      afterRoot = true;
    } else if (child.nodeType === child.PROCESSING_INSTRUCTION_NODE && child.nodeName !== 'xml')
      text += afterRoot ? `\n${ofInstruction(child)}` : `${ofInstruction(child)}\n`;
  }
  return text;
}

const isElement = (node: Node): node is Element => node.nodeType === node.ELEMENT_NODE;

function childrenOf(node: Node): Node[] {
  const children: Node[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) children.push(child);
  return children;
}

const ofInstruction = (node: Node): string =>
  `<?${node.nodeName}${node.nodeValue ? ` ${node.nodeValue.replaceAll('\r', '&#xD;')}` : ''}?>`;

/** Recursion is as deep as the document, which is bounded when it is parsed. `rendered` is what the output declares already. */
function ofElement(element: Element, rendered: Scope, outer: Scope, inherited: readonly Attr[]): string {
  const own = attributesOf(element);
  const scope = new Map(outer);
  for (const each of own) if (each.namespaceURI === XMLNS) scope.set(prefixOf(each), each.value);
  const declared = [...scope].filter(
    ([prefix, name]) => (rendered.get(prefix) ?? '') !== name && prefix !== 'xml',
  );
  const attributes = [...own.filter((each) => each.namespaceURI !== XMLNS), ...inherited];
  const start = [
    element.tagName,
    ...declared.sort(([one], [other]) => compare(one, other)).map(ofDeclaration),
    ...attributes.sort(byName).map(({ name, value }) => `${name}="${escapeAttribute(value)}"`),
  ];
  const inside = new Map([...rendered, ...declared]);
  const content = childrenOf(element).map((child) => ofChild(child, inside, scope));
  return `<${start.join(' ')}>${content.join('')}</${element.tagName}>`;
}

function ofChild(child: Node, rendered: Scope, scope: Scope): string {
  if (isElement(child)) return ofElement(child, rendered, scope, []);
  if (child.nodeType === child.TEXT_NODE || child.nodeType === child.CDATA_SECTION_NODE)
    return escapeText(child.nodeValue ?? '');
  return child.nodeType === child.PROCESSING_INSTRUCTION_NODE ? ofInstruction(child) : '';
}

const attributesOf = ({ attributes }: Element): Attr[] => [...attributes];

/** The prefix that a namespace declaration is about. */
const prefixOf = ({ prefix, localName }: Attr): string => (prefix ? (localName ?? '') : '');

const ofDeclaration = ([prefix, name]: readonly [string, string]): string =>
  `xmlns${prefix && `:${prefix}`}="${escapeAttribute(name)}"`;

/** By code points, which UTF-16 units order differently only beyond U+D800. */
const compare = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other));

const byName = (one: Attr, other: Attr): number =>
  compare(one.namespaceURI ?? '', other.namespaceURI ?? '') ||
  compare(one.localName ?? one.name, other.localName ?? other.name);

const ancestorsOf = (element: Element): Element[] => {
  const ancestors: Element[] = [];
  for (let node = element.parentNode; node && isElement(node); node = node.parentNode) ancestors.push(node);
  return ancestors;
};

/** The namespaces that ancestors declare. */
function scopeAround(element: Element): Scope {
  const scope = new Map<string, string>();
  for (const ancestor of ancestorsOf(element).reverse())
    for (const each of attributesOf(ancestor))
      if (each.namespaceURI === XMLNS) scope.set(prefixOf(each), each.value);
  return scope;
}

/** Attributes such as xml:lang of ancestors, which an element that is taken out of its document gets (section 2.4). */
function inheritedXml(element: Element): Attr[] {
  const found = new Set(attributesOf(element).map(({ name }) => name));
  const inherited: Attr[] = [];
  for (const each of ancestorsOf(element).flatMap(attributesOf)) {
    if (each.namespaceURI !== XML || found.has(each.name)) continue;
    found.add(each.name);
    inherited.push(each);
  }
  return inherited;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ['\t', '&#x9;'],
  ['\n', '&#xA;'],
  ['\r', '&#xD;'],
]);

const escapeText = (text: string): string => text.replace(/[&<>\r]/g, (each) => ESCAPES.get(each) ?? each);

const escapeAttribute = (text: string): string =>
  text.replace(/[&<"\t\n\r]/g, (each) => ESCAPES.get(each) ?? each);
