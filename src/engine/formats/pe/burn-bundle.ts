import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { invalid } from '../../../lib/errors.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import type { PeLayout } from './pe-layout.ts';

/*
 * Installers made by WiX Burn (WiX Toolset 3 and later; BurnCommon.cs, and section.cpp of its engine):
 *
 *   stub | first container | signature of the engine | other containers | signature of the bundle
 *   '------------------ engine ---------------------'
 *
 * The engine is a program of its own, which Burn copies out of the bundle to run elevated and to uninstall later. It finds
 * the other containers where it ends itself: by its section `.wixburn` if that names its signature, else at the
 * signature in its headers. So a bundle that is signed as a whole, without its engine, does not find its containers.
 *
 * The section `.wixburn`, in units of 32 bits: magic, version, bundle id (4), size of the stub; the engine's CheckSum, and the
 * offset and size of its certificate table, which the headers had before the containers were attached; format of the
 * containers, number of containers, size of each.
 */

const MAGIC = 0x00f14300;
const VERSIONS: ReadonlySet<number> = new Set([2, 3]);
const CABINETS = 1;

const AT = { version: 4, stub: 24, original: 28, format: 40, count: 44, sizes: 48 };
const ORIGINAL_SIZE = 12;
/** The least that the engine asks for: one container. */
const SMALLEST = AT.sizes + 4;
/** The longest section that is read, in bytes: room for 16,000 containers. */
const LONGEST = 64 * 1024;

/** The engine's header fields before the containers were attached. */
interface EngineFields {
  readonly checksum: number;
  readonly tableOffset: number;
  readonly tableSize: number;
}

/** A bundle whose engine and containers were found, or why they were not. */
export type BurnBundle = BurnParts | { readonly fault: string };

export interface BurnParts {
  readonly fault: null;
  /** Where the section keeps the engine's fields. */
  readonly originalAt: number;
  readonly engine: ByteRange;
  /** What the section says of the engine; all 0 if it is not signed. */
  readonly original: EngineFields;
  /** The containers behind the engine; empty if there are none, as in the engine itself. */
  readonly attached: ByteRange;
}

/** Reads the section `.wixburn` of a PE file; null if there is none. `end` is where a signature of the file would begin. */
export async function readBurnBundle(
  source: ByteSource,
  { sections, bodyEnd }: PeLayout,
): Promise<BurnBundle | null> {
  const section = sections.find(({ name }) => name === '.wixburn');
  if (!section) return null;
  const size = section.end - section.start;
  if (size < SMALLEST || size > LONGEST) return { fault: `its section .wixburn has ${size} bytes` };
  const stubEnd = sections.reduce((most, { end }) => Math.max(most, end), 0);
  const parts = partsOf(await source.read(section.start, size), { at: section.start, stubEnd, bodyEnd });
  if (parts.fault !== null) return parts;
  const { end } = parts.attached;
  // Padding is left out when another engine is attached: nothing else may be there.
  if ((await source.read(end, bodyEnd - end)).every((byte) => byte === 0)) return parts;
  return { fault: `${bodyEnd - end} bytes that are not zero follow its containers` };
}

interface Surroundings {
  /** The offset of the section. */
  readonly at: number;
  /** Where the last section ends. */
  readonly stubEnd: number;
  readonly bodyEnd: number;
}

function partsOf(section: Buffer, { at, stubEnd, bodyEnd }: Surroundings): BurnBundle {
  const field = (offset: number): number => section.readUInt32LE(offset);
  const [version, format, count] = [field(AT.version), field(AT.format), field(AT.count)];
  if (field(0) !== MAGIC || !VERSIONS.has(version) || format !== CABINETS)
    return { fault: `its section .wixburn is of version ${version} and format ${format}` };
  if (count === 0 || AT.sizes + 4 * count > section.length)
    return { fault: `its section .wixburn names ${count} containers` };
  const [first = 0, ...others] = Array.from({ length: count }, (_, index) => field(AT.sizes + 4 * index));
  const stub = field(AT.stub);
  if (stub < stubEnd) return { fault: `its stub has ${stub} bytes, and its sections end at ${stubEnd}` };
  const original = {
    checksum: field(AT.original),
    tableOffset: field(AT.original + 4),
    tableSize: field(AT.original + 8),
  };
  const end = engineEnd(stub + first, original);
  if (end === null)
    return { fault: 'its section .wixburn names a signature that does not follow the engine' };
  const attachedEnd = others.reduce((sum, each) => sum + each, end);
  const parts = { fault: null, originalAt: at + AT.original, engine: { start: 0, end }, original } as const;
  if (isPadded(attachedEnd, bodyEnd)) return { ...parts, attached: { start: end, end: attachedEnd } };
  if (isPadded(end, bodyEnd)) return { ...parts, attached: { start: end, end } };
  return { fault: `its containers end at byte ${attachedEnd}, and the file at ${bodyEnd}` };
}

/** The end of the engine with its signature, which begins at the next multiple of eight; null if it does not. */
function engineEnd(unsigned: number, { tableOffset, tableSize }: EngineFields): number | null {
  if (tableOffset === 0) return tableSize === 0 ? unsigned : null;
  return isPadded(unsigned, tableOffset) && tableSize >= 8 ? tableOffset + tableSize : null;
}

/** Whether `end` is `start`, or the next multiple of eight. */
const isPadded = (start: number, end: number): boolean => end === start || end === Math.ceil(start / 8) * 8;

/** Whether a bundle has containers behind its engine, and the engine is not signed. */
const hasUnsignedEngine = ({ attached, original }: BurnParts): boolean =>
  attached.start < attached.end && original.tableOffset === 0;

/** Throws `burn-bundle` if a bundle would not find its containers once it is signed. */
export function requireSignableBundle(bundle: BurnBundle, name: string): void {
  const what = `${name}: an installer made by WiX Burn`;
  if (bundle.fault !== null)
    throw invalid('burn-bundle', `${what} that cannot be taken apart: ${bundle.fault}`, {
      hint: 'sign it with the tools of WiX, and exclude it here with a pattern that begins with "!"',
    });
  if (hasUnsignedEngine(bundle))
    throw invalid('burn-bundle', `${what}, whose engine has to be signed first`, {
      hint: 'set signing.inside to sign, with a pattern in signing.files that matches engine.exe; or sign the engine with the tools of WiX',
    });
}

const uint32s = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, 4 * index);
  return bytes;
};

/** A bundle, or its engine, with these values in the three fields; `rest` follows what comes before `end`. */
function withFields(
  { source, layout }: PeWithBundle,
  { originalAt }: BurnParts,
  values: { readonly checksum: Buffer; readonly directory: Buffer; readonly original: Buffer },
  { end, rest }: { readonly end: number; readonly rest: readonly (ByteRange | Buffer)[] },
): PatchedSource {
  const { checksumAt, directoryAt } = layout;
  return PatchedSource.of(source, [
    { start: 0, end: checksumAt },
    values.checksum,
    { start: checksumAt + 4, end: directoryAt },
    values.directory,
    { start: directoryAt + 8, end: originalAt },
    values.original,
    { start: originalAt + ORIGINAL_SIZE, end },
    ...rest,
  ]);
}

/** An open PE file that is a bundle. */
export interface PeWithBundle {
  readonly source: ByteSource;
  readonly layout: PeLayout;
}

/**
 * The engine as it was before the containers were attached, as `insignia -ib` and Burn itself take it out: of a bundle
 * that is not signed its first bytes, else with the fields of its headers restored.
 */
export async function detachEngine(file: PeWithBundle, parts: BurnParts): Promise<PatchedSource> {
  const { layout, source } = file;
  const { checksum, tableOffset, tableSize } = parts.original;
  const own = tableOffset > 0 || layout.table !== null || checksum > 0;
  const values = {
    checksum: own ? uint32s(checksum) : await source.read(layout.checksumAt, 4),
    directory: uint32s(tableOffset, tableSize),
    original: Buffer.alloc(ORIGINAL_SIZE),
  };
  return withFields(file, parts, values, { end: parts.engine.end, rest: [] });
}

/**
 * The bundle around another engine, which is `body`, the bytes of the old one up to its signature, and `tail`: its padding
 * and its certificate table. As `insignia -ab` attaches it: its fields move into the section `.wixburn`, and are 0 in
 * the headers.
 */
export function attachEngine(
  file: PeWithBundle,
  parts: BurnParts,
  body: ByteRange,
  { tail, fields }: { readonly tail: Buffer; readonly fields: EngineFields },
): PatchedSource {
  const values = {
    checksum: Buffer.alloc(4),
    directory: Buffer.alloc(8),
    original: uint32s(fields.checksum, fields.tableOffset, fields.tableSize),
  };
  return withFields(file, parts, values, { end: body.end, rest: [tail, parts.attached] });
}
