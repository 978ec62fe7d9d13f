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
    ? { leftAlone: leftAlone.slice(0, MOST_LEFT_ALONE).map((entry) => ({ ...entry })) }
    : {};

/** What a receipt says of the programs in a file. */
export function programsOf(
  made: MadeFile,
  { shortLived = false }: SigningKey,
): Pick<ReceiptFile, 'entries' | 'signed' | 'kept' | 'leftAlone' | 'attachments'> {
  return {
    entries: made.entries,
    signed: made.signed.map((program) => signedEntryOf(program, shortLived)),
    // A stranger's certificate may name its owner at any length.
    kept: made.kept.map((entry) => ({ ...entry, signer: printable(entry.signer, 400) })),
    ...leftAloneOf(made),
    attachments: [],
  };
}

function signedEntryOf(program: SignedProgram, shortLived: boolean): ReceiptEntry {
  const { authenticode, certificate, format, scheme, timestamp } = program;
  return {
    path: program.path,
    inside: [],
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
