import { invalid } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { dosTimeOf, timeOfDos, type DosTime } from '../../../lib/zip/edit-entries.ts';
import { CENTRAL, METHOD } from '../../../lib/zip/header-fields.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import type { Archive } from '../../../lib/zip/read-zip.ts';
import type { Finding } from '../signable-file.ts';

/** The entry that holds a package's signature, at the top level. */
export const SIGNATURE_NAME = '.signature.p7s';

/** Longest signature, in bytes: NuGet's own stay below 30 KiB. */
const MAX_SIGNATURE = 1024 * 1024;

/** The entry with the signature, or undefined; throws `nuget-signature-entry` if its name or form is not NuGet's. */
export function signatureEntry({ source, entries }: Archive): ArchiveEntry | undefined {
  const entry = entries.find(({ path }) => path.toLowerCase() === SIGNATURE_NAME);
  if (!entry) return undefined;
  const fault = faultOf(entry);
  if (fault === null) return entry;
  throw invalid('nuget-signature-entry', `${source.name}: the entry ${SIGNATURE_NAME} ${fault}`);
}

function faultOf({ path, method, flags, size, descriptor }: ArchiveEntry): string | null {
  if (path !== SIGNATURE_NAME) return 'has another case';
  if (method !== METHOD.stored) return 'is compressed';
  if (descriptor || flags !== 0) return `has flags 0x${flags.toString(16)}`;
  return size === 0 || size > MAX_SIGNATURE ? `has ${size} bytes` : null;
}

/** MS-DOS and Unix (APPNOTE 4.4.2). */
const HOSTS: ReadonlySet<number> = new Set([0, 3]);
/** Of the format, as signers state them; 45 is jsign's. */
const VERSIONS: ReadonlySet<number> = new Set([10, 20, 45]);

/**
 * The headers of the signature's entry are the only bytes of a package that its digest leaves out, besides the signature.
 * What no signer writes there is unauthenticated data.
 */
export function entryFindings({ local, central }: ArchiveEntry): Finding[] {
  const plain =
    local.length === 30 + SIGNATURE_NAME.length &&
    central.length === CENTRAL.size + SIGNATURE_NAME.length &&
    VERSIONS.has(local.readUInt16LE(4)) &&
    VERSIONS.has(central.readUInt8(4)) &&
    HOSTS.has(central.readUInt8(5)) &&
    central.subarray(6, 16).equals(local.subarray(4, 14)) &&
    // Internal and external attributes; NuGet refuses others (NU3005).
    central.readUInt32LE(34) === 0 &&
    central.readUInt32LE(38) === 0;
  if (plain) return [];
  const message = `the headers of ${SIGNATURE_NAME} hold what no signer of packages writes`;
  return [{ code: 'nuget-entry-headers', message }];
}

/** Time zones lie between 12 hours west and 14 hours east; half an hour for clocks. In milliseconds. */
const WEST = -12.5 * 3_600_000;
const EAST = 14.5 * 3_600_000;

/** The first time that a zip can hold, which jsign writes instead of one: 1980-01-01. */
const NO_TIME: DosTime = { time: 0, date: 0x21 };

/** Finds an entry's time that is not the time of signing in any time zone. */
export function timeFindings(
  entry: ArchiveEntry,
  { name }: ByteSource,
  signingTime: Date | undefined,
): Finding[] {
  const { time, date } = dosTimeOf(entry);
  if (time === NO_TIME.time && date === NO_TIME.date) return [];
  const at = timeOfDos({ time, date });
  const ahead = at && signingTime ? at.getTime() - signingTime.getTime() : 0;
  if (at && ahead >= WEST && ahead <= EAST) return [];
  const message = `${name}: the time of ${SIGNATURE_NAME}, which no signature covers, is not that of signing`;
  return [{ code: 'nuget-entry-time', message }];
}
