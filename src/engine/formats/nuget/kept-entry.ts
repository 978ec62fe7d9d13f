import { invalid } from '../../../lib/errors.ts';
import {
  dosTime,
  dosTimeOf,
  entryHeaders,
  formOf,
  PLAIN,
  type DosTime,
  type EntryForm,
  type NewEntry,
} from '../../../lib/zip/edit-entries.ts';
import { CENTRAL, CENTRAL_SIGNATURE, LOCAL, LOCAL_SIGNATURE } from '../../../lib/zip/header-fields.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { SIGNATURE_NAME } from './signature-entry.ts';

/** As signpipe writes the entry of a signature that was made at this time. */
export const entryFor = (signature: Buffer, at: Date): NewEntry => ({
  name: SIGNATURE_NAME,
  content: signature,
  at: dosTime(at),
});

const LOCAL_LENGTH = LOCAL.size + SIGNATURE_NAME.length;
const CENTRAL_LENGTH = CENTRAL.size + SIGNATURE_NAME.length;

const isSame = (one: EntryForm & DosTime, other: EntryForm & DosTime): boolean =>
  (['madeBy', 'needed', 'flags', 'attributes', 'time', 'date'] as const).every(
    (key) => one[key] === other[key],
  );

/** The entry of a signed package, wherever it lies. */
export const entryOf = (signature: Buffer, entry: ArchiveEntry): NewEntry => ({
  name: SIGNATURE_NAME,
  content: signature,
  at: dosTimeOf(entry),
  form: formOf(entry),
});

/**
 * What has to be kept of a signed package: the signature (CMS), if its entry is as signpipe writes it for a signature made
 * `at` this time; else the entry's local header, the signature, and the entry's central header with offset 0. Other clients
 * write the local time and the file mode.
 */
export function keptOf(entry: NewEntry, at: Date): Buffer {
  if (isSame({ ...PLAIN, ...dosTime(at) }, { ...PLAIN, ...entry.form, ...entry.at })) return entry.content;
  return writtenEntry(entry);
}

function writtenEntry(entry: NewEntry): Buffer {
  const [local, central] = entryHeaders(entry, 0);
  return Buffer.concat([local, entry.content, central]);
}

/** The entry that was kept; null if that is the signature alone. Throws `nuget-signature-entry`. */
export function keptEntry(kept: Buffer, what: string): NewEntry | null {
  if (kept.length < 4 || kept.readUInt32LE(0) !== LOCAL_SIGNATURE) return null;
  const [signature, central] = [kept.subarray(LOCAL_LENGTH, -CENTRAL_LENGTH), kept.subarray(-CENTRAL_LENGTH)];
  if (kept.length <= LOCAL_LENGTH + CENTRAL_LENGTH || central.readUInt32LE(0) !== CENTRAL_SIGNATURE)
    throw invalid('nuget-signature-entry', `${what}: what was kept of the signature is cut off`);
  const entry = { local: kept.subarray(0, LOCAL_LENGTH), central };
  const read = { name: SIGNATURE_NAME, content: signature, at: dosTimeOf(entry), form: formOf(entry) };
  if (!writtenEntry(read).equals(kept))
    throw invalid('nuget-signature-entry', `${what}: what was kept of the signature holds other headers`);
  return read;
}
