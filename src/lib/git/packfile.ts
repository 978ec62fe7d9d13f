import { createHash } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { objectId, type ObjectType } from './objects.ts';

export interface NewObject {
  type: ObjectType;
  content: Buffer;
}

const TYPE_NUMBER: Record<ObjectType, number> = { commit: 1, tree: 2, blob: 3 };

/** Type and size of a packed object: four bits of size, then seven a byte, lowest first. */
function packedHeader(type: ObjectType, size: number): Buffer {
  const bytes: number[] = [];
  let byte = (TYPE_NUMBER[type] << 4) | (size & 15);
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes.push(byte | 0x80);
    byte = rest & 0x7f;
  }
  bytes.push(byte);
  return Buffer.from(bytes);
}

/** One packfile with these objects (gitformat-pack, version 2, no deltas). A repeated object is packed once. */
export function buildPack(objects: readonly NewObject[]): Buffer {
  const unique = new Map(objects.map((object) => [objectId(object.type, object.content), object]));
  const head = Buffer.alloc(12);
  head.write('PACK', 'latin1');
  head.writeUInt32BE(2, 4);
  head.writeUInt32BE(unique.size, 8);
  const packed = [...unique.values()].flatMap(({ type, content }) => [
    packedHeader(type, content.length),
    deflateSync(content),
  ]);
  const body = Buffer.concat([head, ...packed]);
  return Buffer.concat([body, createHash('sha1').update(body).digest()]);
}
