import type { Element } from '@xmldom/xmldom';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import { DIGEST_BYTES } from '../../../lib/asn1/oids.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { attributeText, childElements, parseXml, xmlText } from '../../../lib/xml/parse-xml.ts';

/** Uncompressed bytes of a block. */
export const BLOCK = 64 * 1024;

const NAMESPACE = 'http://schemas.microsoft.com/appx/2010/blockmap';
/** Namespaces of FileHash, which MakeAppx writes for files of more than one block. */
const FILE_HASH_NAMESPACES: ReadonlySet<string | null> = new Set(
  ['2015', '2017', '2021'].map((year) => `http://schemas.microsoft.com/appx/${year}/blockmap`),
);

/** HashMethod, and the digest algorithm that a signature of the package must have. */
const HASH_METHODS: ReadonlyMap<string, DigestName> = new Map([
  ['http://www.w3.org/2001/04/xmlenc#sha256', 'sha256'],
  ['http://www.w3.org/2001/04/xmldsig-more#sha384', 'sha384'],
  ['http://www.w3.org/2001/04/xmlenc#sha512', 'sha512'],
]);

export interface Block {
  readonly hash: Buffer;
  /** Compressed, in bytes; null in a file that is stored. */
  readonly size: number | null;
}

export interface MappedFile {
  /** With `/`. */
  readonly name: string;
  /** Uncompressed, in bytes. */
  readonly size: number;
  /** The length of the local header with the name. */
  readonly headerSize: number | null;
  readonly blocks: readonly Block[];
  readonly fileHash: Buffer | null;
}

export interface BlockMap {
  /** What precedes the first file: the XML declaration and the tag of the root. */
  readonly opening: string;
  readonly hash: DigestName;
  /** In its order; no two names are the same to Windows. */
  readonly files: readonly MappedFile[];
}

const faulty = (what: string, why: string): SignpipeError =>
  invalid('msix-block-map', `${what}: its block map ${why}`);

/** Reads AppxBlockMap.xml; throws `msix-block-map` and `xml-…`. */
export function readBlockMap(xml: Buffer, what: string): BlockMap {
  const root = parseXml(xml, `${what}: AppxBlockMap.xml`).documentElement;
  if (root?.localName !== 'BlockMap' || root.namespaceURI !== NAMESPACE) throw faulty(what, 'is none');
  const method = root.getAttribute('HashMethod') ?? '';
  const hash = HASH_METHODS.get(method);
  if (!hash) throw faulty(what, `has the unknown HashMethod "${method.slice(0, 80)}"`);
  const files = childElements(root).map((each) => mappedFile(each, hash, what));
  const names = new Set(files.map(({ name }) => name.toLowerCase()));
  if (names.size < files.length) throw faulty(what, 'lists a file twice');
  return { opening: openingOf(xmlText(xml, what), method), hash, files };
}

/** The root's tag with the namespaces that MakeAppx knew when it wrote the block map, or else those of 2021. */
const openingOf = (text: string, method: string): string =>
  /^(?:<\?xml[^<>]*\?>)?\s*<BlockMap\b[^<>]*[^<>/]>/.exec(text)?.[0] ??
  '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\r\n' +
    `<BlockMap xmlns="${NAMESPACE}" xmlns:b4="http://schemas.microsoft.com/appx/2021/blockmap"` +
    ` IgnorableNamespaces="b4" HashMethod="${method}">`;

function mappedFile(element: Element, hash: DigestName, what: string): MappedFile {
  if (element.localName !== 'File' || element.namespaceURI !== NAMESPACE)
    throw faulty(what, `holds <${element.tagName}>`);
  const name = element.getAttribute('Name');
  const size = sizeIn(element, 'Size', what);
  if (!name || size === null) throw faulty(what, 'has a File without Name or Size');
  const parts = childElements(element);
  const blocks = parts.filter(
    ({ localName, namespaceURI }) => localName === 'Block' && namespaceURI === NAMESPACE,
  );
  const [fileHash, ...others] = parts.filter((each) => !blocks.includes(each));
  if (others.length > 0 || (fileHash && !isFileHash(fileHash)))
    throw faulty(what, `holds something unknown in "${name}"`);
  return {
    name: name.replaceAll('\\', '/'),
    size,
    headerSize: sizeIn(element, 'LfhSize', what),
    blocks: blocks.map((each) => ({ hash: hashIn(each, hash, what), size: sizeIn(each, 'Size', what) })),
    fileHash: fileHash ? hashIn(fileHash, hash, what) : null,
  };
}

const isFileHash = ({ localName, namespaceURI }: Element): boolean =>
  localName === 'FileHash' && FILE_HASH_NAMESPACES.has(namespaceURI);

function sizeIn(element: Element, name: string, what: string): number | null {
  const text = element.getAttribute(name);
  if (text === null) return null;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw faulty(what, `has ${name}="${text.slice(0, 40)}", which is no size`);
}

function hashIn(element: Element, hash: DigestName, what: string): Buffer {
  const text = element.getAttribute('Hash') ?? '';
  const value = Buffer.from(text, 'base64');
  if (value.length === DIGEST_BYTES[hash] && value.toString('base64') === text) return value;
  throw faulty(what, `has a Hash that is not ${hash} in base64`);
}

/** The prefix of the first namespace that has FileHash. */
const HASH_PREFIX =
  /\sxmlns:([\w.-]+)=["']http:\/\/schemas\.microsoft\.com\/appx\/20(?:15|17|21)\/blockmap["']/;

/** AppxBlockMap.xml as MakeAppx writes it. */
export function writeBlockMap({ opening, files }: BlockMap): Buffer {
  const prefix = HASH_PREFIX.exec(opening)?.[1];
  return Buffer.from(`${opening}${files.map((file) => written(file, prefix)).join('')}</BlockMap>`);
}

/** Older versions of MakeAppx knew no FileHash. */
function written(
  { name, size, headerSize, blocks, fileHash }: MappedFile,
  prefix: string | undefined,
): string {
  const header = headerSize === null ? '' : ` LfhSize="${headerSize}"`;
  const file = `<File Name="${attributeText(name.replaceAll('/', '\\'))}" Size="${size}"${header}`;
  const elements = blocks.map(
    (each) =>
      `<Block Hash="${each.hash.toString('base64')}"${each.size === null ? '' : ` Size="${each.size}"`}/>`,
  );
  if (fileHash && prefix !== undefined)
    elements.push(`<${prefix}:FileHash Hash="${fileHash.toString('base64')}"/>`);
  return elements.length === 0 ? `${file}/>` : `${file}>${elements.join('')}</File>`;
}
