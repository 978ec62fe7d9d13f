import type { Element } from '@xmldom/xmldom';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { attributeText, childElements, parseXml } from '../../../lib/xml/parse-xml.ts';
import { isSamePart, PART } from './part-names.ts';

const NAMESPACE = 'http://schemas.openxmlformats.org/package/2006/content-types';

/** One rule of `[Content_Types].xml` (ECMA-376 part 2, section 7.2.3). */
interface ContentType {
  readonly element: 'Default' | 'Override';
  /** The extension without its dot, or the part's name with `/` before it. */
  readonly of: string;
  readonly type: string;
}

const KEYS = { Default: 'Extension', Override: 'PartName' } as const;

/** What signing adds, in the order in which signtool does. */
const ADDED = {
  signature: { element: 'Override', of: `/${PART.signature}`, type: 'application/vnd.ms-appx.signature' },
  catalog: { element: 'Override', of: `/${PART.catalog}`, type: 'application/vnd.ms-pkiseccat' },
} as const;

const faulty = (what: string, why: string): SignpipeError =>
  invalid('msix-content-types', `${what}: its [Content_Types].xml ${why}`);

/** The content types of a package, and how they are written with and without a signature. */
export class ContentTypes {
  private constructor(
    /** Without what signing adds. */
    private readonly types: readonly ContentType[],
    /** Whether it lists the signature, and the catalog of programs. */
    readonly lists: { readonly signature: boolean; readonly catalog: boolean },
  ) {}

  /** Throws `msix-content-types` and `xml-…`. */
  static read(xml: Buffer, what: string): ContentTypes {
    const root = parseXml(xml, `${what}: [Content_Types].xml`).documentElement;
    if (root?.localName !== 'Types' || root.namespaceURI !== NAMESPACE)
      throw faulty(what, 'is not a list of content types');
    const types = childElements(root).map((each) => contentType(each, what));
    requireDistinct(types, what);
    const others = types.filter((each) => !Object.values(ADDED).some((added) => isAdded(each, added)));
    const lists = (added: ContentType): boolean =>
      types.some((each) => isAdded(each, added) && each.type === added.type);
    return new ContentTypes(others, { signature: lists(ADDED.signature), catalog: lists(ADDED.catalog) });
  }

  /** As signtool writes it. */
  signed(withCatalog: boolean): Buffer {
    const types = [...this.types, ADDED.signature, ...(withCatalog ? [ADDED.catalog] : [])];
    return Buffer.from(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n${written(types, '/>')}`);
  }

  /** As MakeAppx writes it. */
  unsigned(): Buffer {
    return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>${written(this.types, ' />')}`);
  }

  /** Whether a part has a content type. */
  covers(name: string): boolean {
    const extension = /\.([^./]+)$/.exec(name)?.[1] ?? '';
    return this.types.some(({ element, of }) =>
      element === 'Default' ? isSamePart(of, extension) : isSamePart(unescaped(of), `/${name}`),
    );
  }
}

/** A part's name without escapes; as it is if they are malformed, which no entry's name is. */
function unescaped(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

const isAdded = ({ element, of }: ContentType, { of: part }: ContentType): boolean =>
  element === 'Override' && isSamePart(of, part);

function contentType(element: Element, what: string): ContentType {
  const { localName, namespaceURI, attributes } = element;
  if ((localName !== 'Default' && localName !== 'Override') || namespaceURI !== NAMESPACE)
    throw faulty(what, `holds <${element.tagName}>`);
  const of = element.getAttribute(KEYS[localName]);
  const type = element.getAttribute('ContentType');
  if (!of || !type || attributes.length !== 2 || element.firstChild)
    throw faulty(what, `has a ${localName} with other attributes or content than it may have`);
  return { element: localName, of, type };
}

function requireDistinct(types: readonly ContentType[], what: string): void {
  const keys = new Set<string>();
  for (const { element, of } of types) {
    const key = `${element} ${of.toLowerCase()}`;
    if (keys.has(key)) throw faulty(what, `says twice what "${of}" is`);
    keys.add(key);
  }
}

const written = (types: readonly ContentType[], end: string): string => {
  const elements = types.map(
    ({ element, of, type }) =>
      `<${element} ${KEYS[element]}="${attributeText(of)}" ContentType="${attributeText(type)}"${end}`,
  );
  return `<Types xmlns="${NAMESPACE}">${elements.join('')}</Types>`;
};
