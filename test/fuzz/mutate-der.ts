/** Changes of DER that keep all lengths right, so that they get past the first check. */
import { LARGEST, mutateBytes } from './mutate-bytes.ts';
import type { Random } from './random.ts';

interface Node {
  tag: number;
  /** Primitive content, or the children. */
  content: Buffer | Node[];
}

const DEEPEST = 40;

/** Elements that follow one another; null if the bytes are something else. */
function parse(bytes: Buffer, depth = 0): Node[] | null {
  const nodes: Node[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at] ?? 0;
    const first = bytes[at + 1] ?? 0xff;
    const extra = first < 0x80 ? 0 : first & 0x7f;
    if (extra > 4 || at + 2 + extra > bytes.length) return null;
    const length = extra === 0 ? first : bytes.readUIntBE(at + 2, extra);
    const start = at + 2 + extra;
    if (start + length > bytes.length) return null;
    const content = bytes.subarray(start, start + length);
    const children = (tag & 0x20) !== 0 && depth < DEEPEST ? parse(content, depth + 1) : null;
    nodes.push({ tag, content: children ?? content });
    at = start + length;
  }
  return nodes;
}

function encode({ tag, content }: Node): Buffer {
  const body = Buffer.isBuffer(content) ? content : Buffer.concat(content.map(encode));
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  const width = body.length < 0x100 ? 1 : body.length < 0x10000 ? 2 : 3;
  const head = Buffer.alloc(2 + width);
  head.writeUInt8(tag, 0);
  head.writeUInt8(0x80 | width, 1);
  head.writeUIntBE(body.length, 2, width);
  return Buffer.concat([head, body]);
}

const isList = (node: Node): node is Node & { content: Node[] } => Array.isArray(node.content);

const descendants = (nodes: readonly Node[]): Node[] =>
  nodes.flatMap((node) => [node, ...(isList(node) ? descendants(node.content) : [])]);

const copy = ({ tag, content }: Node): Node => ({
  tag,
  content: Buffer.isBuffer(content) ? content : content.map(copy),
});

const TAGS = [1, 2, 3, 4, 5, 6, 10, 12, 19, 22, 23, 24, 30, 0x24, 0x30, 0x31, 0x80, 0x81, 0xa0, 0xa1, 0xa2];

/** Changes the list of an element's children; `any` is a copy of any element. */
function changeChildren(children: Node[], any: () => Node, random: Random): void {
  if (random.chance(0.2)) children.reverse();
  else
    children.splice(random.below(children.length), random.below(2), ...(random.chance(0.6) ? [any()] : []));
}

function change(node: Node, any: () => Node, random: Random): void {
  const choice = random.below(10);
  if (choice === 0) node.tag = random.pick(TAGS);
  else if (choice === 1) node.content = any().content;
  else if (choice === 2) node.content = Buffer.alloc(random.below(4));
  else if (isList(node)) changeChildren(node.content, any, random);
  else if (Buffer.isBuffer(node.content)) node.content = mutateBytes(node.content, Buffer.from('\0'), random);
}

/** Changes one to four elements; null if the bytes are not DER. */
export function mutateDer(bytes: Buffer, random: Random): Buffer | null {
  const nodes = parse(bytes);
  if (!nodes || nodes.length === 0) return null;
  for (let round = random.pick([1, 1, 2, 4]); round > 0; round -= 1) {
    const all = descendants(nodes);
    if (all.length > 0) change(random.pick(all), () => copy(random.pick(all)), random);
  }
  const encoded = Buffer.concat(nodes.map(encode));
  return encoded.length <= LARGEST ? encoded : null;
}
