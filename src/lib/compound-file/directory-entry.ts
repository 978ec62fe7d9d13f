/*
 * MS-CFB section 2.6.1, "Compound File Directory Entry", 128 bytes:
 *
 *   0  name, UTF-16LE with NUL (64)   68 left sibling (4)    96  state bits (4)
 *   64 bytes of the name and NUL (2)  72 right sibling (4)   100 creation time (8)
 *   66 type (1)                       76 child (4)           108 modification time (8)
 *   67 colour (1)                     80 CLSID (16)          116 first sector (4)
 *                                                            120 size (8; in version 3, 4)
 */

/** Bytes of a directory entry. */
export const ENTRY_SIZE = 128;
/** Bytes of the name field. */
export const NAME_SIZE = 64;
/** No entry: the end of a link. */
export const NO_ENTRY = 0xffffffff;

export const TYPE = { unused: 0, storage: 1, stream: 2, root: 5 } as const;
export const COLOUR = { red: 0, black: 1 } as const;

/** Offsets of fields. */
export const ENTRY = {
  nameLength: 64,
  type: 66,
  colour: 67,
  left: 68,
  right: 72,
  child: 76,
  clsid: 80,
  state: 96,
  created: 100,
  modified: 108,
  start: 116,
  size: 120,
} as const;

/** An entry that nothing uses, as ole32 writes it. */
export function unusedEntry(): Buffer {
  const entry = Buffer.alloc(ENTRY_SIZE);
  for (const at of [ENTRY.left, ENTRY.right, ENTRY.child]) entry.writeUInt32LE(NO_ENTRY, at);
  return entry;
}

/** A new stream without a place in the tree and without content. */
export function streamEntry(name: string): Buffer {
  const entry = unusedEntry();
  const bytes = Buffer.from(name, 'utf16le');
  if (bytes.length === 0 || bytes.length + 2 > NAME_SIZE)
    throw new RangeError(`a stream cannot have a name of ${name.length} characters`);
  bytes.copy(entry);
  entry.writeUInt16LE(bytes.length + 2, ENTRY.nameLength);
  entry[ENTRY.type] = TYPE.stream;
  return entry;
}
