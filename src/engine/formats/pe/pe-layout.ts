import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';

export interface PeSection extends ByteRange {
  /** The eight bytes that the linker wrote, made printable. */
  readonly name: string;
  /** Bytes that it takes in memory, as its header says. */
  readonly virtualSize: number;
}

/** Where the parts of a PE file lie that matter for signing (Microsoft, "PE Format"). Offsets in bytes. */
export interface PeLayout {
  /** Offset of `PE\0\0`, to which the DOS header's e_lfanew points. */
  readonly headerAt: number;
  /** A UEFI program: subsystem 10 to 13. Firmware reads every entry of the certificate table and ignores nested signatures. */
  readonly efi: boolean;
  /** The optional header's CheckSum, four bytes. */
  readonly checksumAt: number;
  /** The data directory's fifth entry, eight bytes: the certificate table's file offset and size. */
  readonly directoryAt: number;
  /** Alignment of sections in memory: the size of a page, or more, or less for some drivers. */
  readonly sectionAlignment: number;
  /** The optional header's SizeOfHeaders. */
  readonly sizeOfHeaders: number;
  /** End of all headers, the section table among them. */
  readonly headersEnd: number;
  /** Sections that have bytes in the file, in the order of their headers. */
  readonly sections: readonly PeSection[];
  /** End of the bytes that a signature covers: the certificate table's start, or the end of the file. */
  readonly bodyEnd: number;
  readonly table: ByteRange | null;
}

const DOS_HEADER = 64;
const FILE_HEADER = 24; // with the four bytes of the PE signature before it
const SECTION_HEADER = 40;
const PE32 = 0x10b;
const PE32_PLUS = 0x20b;
const CERTIFICATE_DIRECTORY = 4;
/** IMAGE_SUBSYSTEM_EFI_APPLICATION, …_BOOT_SERVICE_DRIVER, …_RUNTIME_DRIVER, …_ROM. */
const EFI_SUBSYSTEMS: ReadonlySet<number> = new Set([10, 11, 12, 13]);

/** Whether a file begins with `MZ` and has a PE header where the DOS header says, as far as `head` reaches. */
export function looksLikePe(head: Buffer): boolean {
  if (head.length < DOS_HEADER || head.toString('latin1', 0, 2) !== 'MZ') return false;
  const at = head.readUInt32LE(0x3c);
  if (at + 4 > head.length) return at >= DOS_HEADER;
  return isPeSignature(head.subarray(at, at + 4));
}

const isPeSignature = (bytes: Buffer): boolean => bytes.toString('latin1') === 'PE\0\0';

/**
 * Parses the headers of a PE file strictly: a file about which two verifiers could disagree on what is hashed, or
 * that could hide bytes from the hash, is refused with a `pe-…` error.
 */
export async function readLayout(source: ByteSource): Promise<PeLayout> {
  if (source.size > 0xffffffff)
    throw invalid(
      'pe-too-large',
      `${source.name}: larger than 4 GiB, which a PE file's fields cannot express`,
    );
  const headerAt = await findHeader(source);
  const file = await readHeader(source, headerAt, FILE_HEADER);
  const optionalAt = headerAt + FILE_HEADER;
  const optional = await readHeader(source, optionalAt, file.readUInt16LE(20));
  const { efi, directoriesAt, sizeOfHeaders, sectionAlignment } = readOptionalHeader(optional, source.name);
  const sectionTable = await readHeader(
    source,
    optionalAt + optional.length,
    file.readUInt16LE(6) * SECTION_HEADER,
  );
  const headersEnd = Math.max(optionalAt + optional.length + sectionTable.length, sizeOfHeaders);
  if (headersEnd > source.size) throw truncated(source, 'its headers');
  const entry = directoriesAt + CERTIFICATE_DIRECTORY * 8;
  const table = readTableSpan(source, optional.subarray(entry, entry + 8), headersEnd);
  const sections = readSections(source, sectionTable, table);
  return {
    headerAt,
    efi,
    checksumAt: optionalAt + 64,
    directoryAt: optionalAt + entry,
    sectionAlignment,
    sizeOfHeaders,
    headersEnd,
    sections,
    bodyEnd: table?.start ?? source.size,
    table,
  };
}

const truncated = (source: ByteSource, what: string): SignpipeError =>
  invalid('pe-truncated', `${source.name}: ${what} would reach beyond the file's ${source.size} bytes`, {
    hint: 'the file was cut short: build or copy it again',
  });

async function readHeader(source: ByteSource, offset: number, length: number): Promise<Buffer> {
  if (offset + length > source.size) throw truncated(source, 'its headers');
  return source.read(offset, length);
}

async function findHeader(source: ByteSource): Promise<number> {
  const dos = await readHeader(source, 0, DOS_HEADER);
  if (dos.toString('latin1', 0, 2) !== 'MZ')
    throw invalid('not-signable', `${source.name}: not a PE file: it does not begin with MZ`);
  const at = dos.readUInt32LE(0x3c);
  // Inside the DOS header, fields would overlap; at an odd offset, CheckSum would straddle words.
  if (at < DOS_HEADER || at % 2 !== 0)
    throw invalid('pe-header-misplaced', `${source.name}: its PE header cannot lie at byte ${at}`);
  if (!isPeSignature(await readHeader(source, at, 4)))
    throw invalid('not-signable', `${source.name}: a DOS program, not a PE file`);
  return at;
}

interface OptionalHeader {
  efi: boolean;
  /** Offset of the data directories in the optional header. */
  directoriesAt: number;
  sizeOfHeaders: number;
  sectionAlignment: number;
}

function readOptionalHeader(header: Buffer, name: string): OptionalHeader {
  const magic = header.length < 2 ? 0 : header.readUInt16LE(0);
  if (magic !== PE32 && magic !== PE32_PLUS)
    throw invalid(
      'pe-optional-header-magic',
      `${name}: neither a PE32 nor a PE32+ image (optional header 0x${magic.toString(16)})`,
    );
  const directoriesAt = magic === PE32_PLUS ? 112 : 96;
  if (header.length < directoriesAt)
    throw invalid('pe-optional-header-size', `${name}: its optional header has only ${header.length} bytes`);
  const directories = header.readUInt32LE(directoriesAt - 4);
  if (directories <= CERTIFICATE_DIRECTORY)
    throw invalid(
      'pe-no-certificate-directory',
      `${name}: its headers have room for ${directories} data directories, and a signature needs the fifth`,
      { hint: 'link it with the usual 16 data directories (NumberOfRvaAndSizes)' },
    );
  if (directoriesAt + directories * 8 > header.length)
    throw invalid(
      'pe-optional-header-size',
      `${name}: ${directories} data directories do not fit its optional header of ${header.length} bytes`,
    );
  const efi = EFI_SUBSYSTEMS.has(header.readUInt16LE(68));
  const [sectionAlignment, sizeOfHeaders] = [header.readUInt32LE(32), header.readUInt32LE(60)];
  return { efi, directoriesAt, sizeOfHeaders, sectionAlignment };
}

/** The certificate table must follow everything else and end the file, or bytes could be hidden around it. */
function readTableSpan(source: ByteSource, entry: Buffer, headersEnd: number): ByteRange | null {
  const start = entry.readUInt32LE(0);
  const size = entry.readUInt32LE(4);
  // Some linkers leave an offset there. Without a size there is no table; the digest covers neither field.
  if (size === 0) return null;
  const where = `${source.name}: its certificate table (${size} bytes at ${start})`;
  const end = start + size;
  if (size < 8 || start < headersEnd || end > source.size)
    throw invalid('pe-table-out-of-range', `${where} does not lie between its headers and its end`, {
      hint: 'it was cut short, or something rewrote it after it was signed: start from the unsigned file',
    });
  if (start % 8 !== 0) throw invalid('pe-table-misaligned', `${where} does not begin on an 8-byte boundary`);
  if (end !== source.size)
    throw invalid('pe-table-not-at-end', `${where} is followed by ${source.size - end} more bytes`, {
      hint: 'something was appended after it was signed: start from the unsigned file',
    });
  return { start, end };
}

function readSections(source: ByteSource, headers: Buffer, table: ByteRange | null): PeSection[] {
  const sections: PeSection[] = [];
  for (let at = 0; at < headers.length; at += SECTION_HEADER) {
    const size = headers.readUInt32LE(at + 16);
    const start = headers.readUInt32LE(at + 20);
    if (size === 0 || start === 0) continue; // no bytes in the file: memory that is zero at first
    const name = sectionName(headers.subarray(at, at + 8));
    const section = { name, start, end: start + size, virtualSize: headers.readUInt32LE(at + 8) };
    if (section.end > source.size) throw truncated(source, `its section ${section.name}`);
    // Windows would load such bytes with the program, yet no signature would cover them.
    if (table && section.end > table.start)
      throw invalid(
        'pe-section-in-table',
        `${source.name}: its section ${section.name} reaches into the certificate table`,
      );
    sections.push(section);
  }
  return sections;
}

function sectionName(name: Buffer): string {
  const end = name.indexOf(0);
  const text = name.toString('latin1', 0, end === -1 ? name.length : end);
  return text.replace(/[^\x21-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** The structure to which a byte belongs, for messages. */
export function locate(layout: PeLayout, offset: number): string {
  const at = (start: number, what: string): string => `${what}, byte 0x${(offset - start).toString(16)}`;
  const { headerAt, checksumAt, directoryAt, table } = layout;
  if (table && offset >= table.start) return at(table.start, 'certificate table');
  if (offset < DOS_HEADER) return at(0, 'DOS header');
  if (offset < headerAt) return at(DOS_HEADER, 'DOS stub');
  if (offset >= checksumAt && offset < checksumAt + 4) return 'CheckSum field';
  if (offset >= directoryAt && offset < directoryAt + 8) return 'certificate directory entry';
  if (offset < layout.headersEnd) return at(headerAt, 'PE header');
  const section = layout.sections.find(({ start, end }) => offset >= start && offset < end);
  if (section) return at(section.start, `section ${section.name}`);
  const overlay = Math.max(layout.headersEnd, ...layout.sections.map(({ end }) => end));
  if (offset >= overlay) return at(overlay, 'overlay');
  return `gap between sections, byte 0x${offset.toString(16)} of the file`;
}
