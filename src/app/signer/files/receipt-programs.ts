import type { Place } from '../../../engine/artifact/inside/place.ts';
import type { SignedProgram } from '../../../engine/artifact/signed-artifact.ts';
import type { SigningKey } from '../../../engine/keys/signing-key.ts';
import { printable } from '../../../lib/printable.ts';
import type { ReceiptEntry, ReceiptFile } from '../../../protocol/control/receipt-schema.ts';
import type { MadeFile } from './signed-request-file.ts';

/** The most entries that a receipt names as left alone: the maker of the zip chooses their number. */
const MOST_LEFT_ALONE = 100;

/** What a receipt says of entries that were left alone; nothing if there are none. */
export const leftAloneOf = ({ leftAlone }: Pick<MadeFile, 'leftAlone'>): Pick<ReceiptFile, 'leftAlone'> =>
  leftAlone.length > 0
    ? {
        leftAlone: leftAlone
          .slice(0, MOST_LEFT_ALONE)
          .map((entry) => ({ ...placeOf(entry), why: entry.why })),
      }
    : {};

/** What a receipt says of unsigned programs in containers; nothing if there are none. */
const unsignedInsideOf = ({ unsignedInside }: MadeFile): Pick<ReceiptFile, 'unsignedInside'> =>
  unsignedInside.length > 0 ? { unsignedInside: unsignedInside.slice(0, MOST_LEFT_ALONE).map(placeOf) } : {};

/** A place as receipts write it: without `inside` if it is directly in the file. */
const placeOf = ({ path, inside = [] }: Place): { path: string; inside?: string[] } =>
  inside.length > 0 ? { path, inside: [...inside] } : { path };

/** What a receipt says of the programs in a file. */
export function programsOf(
  made: MadeFile,
  { shortLived = false }: SigningKey,
): Pick<ReceiptFile, 'entries' | 'signed' | 'kept' | 'leftAlone' | 'unsignedInside' | 'attachments'> {
  return {
    entries: made.entries,
    signed: made.signed.map((program) => signedEntryOf(program, shortLived)),
    kept: made.kept.map((entry) => ({
      ...placeOf(entry),
      // A stranger's certificate may name its owner at any length.
      signer: printable(entry.signer, 400),
      ...(entry.certificate === undefined ? {} : { certificate: entry.certificate }),
      trusted: entry.trusted,
    })),
    ...leftAloneOf(made),
    ...unsignedInsideOf(made),
    attachments: [],
  };
}

function signedEntryOf(program: SignedProgram, shortLived: boolean): ReceiptEntry {
  const { authenticode, certificate, format, scheme, timestamp } = program;
  return {
    path: program.path,
    inside: [...(program.inside ?? [])],
    format,
    scheme,
    before: { ...program.before },
    after: { ...program.after },
    digest: { algorithm: authenticode.algorithm, value: authenticode.digest },
    authenticode: { ...authenticode },
    timestamp: timestamp && {
      time: timestamp.time.toISOString(),
      authority: timestamp.authority,
      url: timestamp.url,
    },
    ...(shortLived ? { certificate: certificate.sha256 } : {}),
    signature: `signatures/${program.detachedName}`,
  };
}
