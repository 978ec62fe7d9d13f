import type { SignedFile } from '../../../engine/artifact/signed-artifact.ts';
import type { ReceiptFile } from '../../../protocol/control/receipt-schema.ts';
import type { JournaledOutput } from '../state/journal.ts';

/** What was done to one file. */
export type MadeFile = Pick<SignedFile, 'entries' | 'signed' | 'kept' | 'leftAlone' | 'unsignedInside'>;

/** One file of a request, signed. */
export interface SignedRequestFile {
  readonly made: MadeFile;
  readonly file: ReceiptFile;
  readonly output: JournaledOutput;
  /** The new bytes, if they are in memory. */
  readonly newBytes?: Buffer | null;
}

/** Where a signed file goes: first into the work folder, then on the exchange. */
export interface Target {
  readonly folder: string;
  /** Its name in that folder. */
  readonly file: string;
  /** Its path below the outgoing folder. */
  readonly path: string;
}
