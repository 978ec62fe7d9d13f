import { contentTypeOf, type ContentType } from '../../../lib/opc/content-types.ts';
import { CENTRAL, extraFields, extraOf, LOCAL, type HeaderShape } from '../../../lib/zip/header-fields.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import type { Archive } from '../../../lib/zip/read-zip.ts';
import type { Part } from './vsix-package.ts';

/*
 * A signature of a package covers the content of parts, not the zip around them. So the zip may say nothing that packers do not
 * write, or an attacker could put a message there while the package still verifies.
 */

/**
 * Extra fields with times and owners, which packers write, by their identifier: whether the data is all that, and nothing more.
 * Times and owners themselves are free.
 */
const EXTRA_FIELDS: ReadonlyMap<number, (data: Buffer) => boolean> = new Map([
  // NTFS (APPNOTE 4.5.5): four reserved bytes, then attribute 1 with three times of 8 bytes.
  [0x000a, (data) => data.length === 32 && data.toString('hex', 0, 8) === '0000000001001800'],
  // Unix times (Info-ZIP): which of three there are, in the local header; the central one holds at most the first.
  [0x5455, (data) => [5, 9, 13].includes(data.length) && data.readUInt8(0) < 8],
  // Unix owner (Info-ZIP): version 1, user and group in 4 bytes each.
  [0x7875, (data) => data.length === 11 && data.readUInt16BE(0) === 0x0104 && data.readUInt8(6) === 4],
]);

const HOSTS: ReadonlySet<number> = new Set([0, 3, 11]);
const VERSIONS: ReadonlySet<number> = new Set([10, 20, 30, 45, 63]);
/** Attributes of a plain file on Windows, and its mode on Unix. */
const MODES: ReadonlySet<number> = new Set([
  0,
  ...[0o600, 0o644, 0o664, 0o666, 0o755, 0o775, 0o777].map((mode) => 0o100000 | mode),
]);
const DOS_ATTRIBUTES: ReadonlySet<number> = new Set([0, 0x20]);
/** Descriptor, effort of compression, names in UTF-8. */
const FLAGS = 0x080e;

function hasKnownExtra(header: Buffer, shape: HeaderShape): boolean {
  const extra = extraOf(header, shape);
  const fields = [...extraFields(extra, () => 'entry')];
  return (
    fields.every(({ id, data }) => EXTRA_FIELDS.get(id)?.(data) ?? false) &&
    new Set(fields.map(({ id }) => id)).size === fields.length &&
    extra.length === fields.reduce((sum, { data }) => sum + 4 + data.length, 0)
  );
}

/** Whether the headers of an entry say only what packers write; a path in two headers has one form. */
function isPlain({ local, central }: ArchiveEntry): boolean {
  const attributes = central.readUInt32LE(38);
  return (
    central.subarray(6, 16).equals(local.subarray(4, 14)) &&
    (local.readUInt16LE(6) & ~FLAGS) === 0 &&
    VERSIONS.has(local.readUInt16LE(4)) &&
    VERSIONS.has(central.readUInt8(4)) &&
    HOSTS.has(central.readUInt8(5)) &&
    central.readUInt16LE(32) === 0 &&
    central.readUInt16LE(34) === 0 &&
    central.readUInt16LE(36) <= 1 &&
    MODES.has(attributes >>> 16) &&
    DOS_ATTRIBUTES.has(attributes & 0xffff) &&
    hasKnownExtra(local, LOCAL) &&
    hasKnownExtra(central, CENTRAL)
  );
}

/** What the zip holds beside its parts: headers with messages, comments, bytes between entries. */
export function zipFaults({ entries, layout, end }: Archive): string[] {
  const odd = entries.find((each) => !isPlain(each));
  let at = 0;
  const gap = layout.some((each) => {
    const stray = each.offset !== at;
    at = each.end;
    return stray;
  });
  return [
    ...(odd ? [`the headers of ${odd.path} hold what no packer of extensions writes`] : []),
    ...(gap || at !== end.directoryOffset ? ['bytes lie between its entries'] : []),
    ...(end.end.length > 22 ? ['the zip has a comment, or bytes at its end'] : []),
  ];
}

/** Content types that no part has. */
export const unusedTypes = (
  types: readonly ContentType[],
  parts: readonly Pick<Part, 'name'>[],
): ContentType[] => {
  const used = new Set(parts.map(({ name }) => contentTypeOf(types, name)));
  return types.filter((each) => !used.has(each));
};

/** A content type for the parts that have it, in the one spelling that packages have here: theirs, or in small letters. */
export function respelled(
  types: readonly ContentType[],
  parts: readonly Pick<Part, 'name'>[],
): ContentType[] {
  const names = new Map(parts.map(({ name }) => [name.toLowerCase(), name]));
  const extensions = new Set(parts.map(({ name }) => /\.([^./]*)$/.exec(name)?.[1]));
  return types.map(({ kind, key, type }) => {
    if (kind === 'Override') return { kind, key: names.get(key.toLowerCase()) ?? key, type };
    return { kind, key: extensions.has(key) ? key : key.toLowerCase(), type };
  });
}
