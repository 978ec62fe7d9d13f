import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { Request } from '../../../protocol/control/request.ts';
import type { Channel } from '../channel/channel.ts';

/** A small file that is delivered beside a signed one. */
export interface NewAttachment {
  /** As `output.name`: below the same folder of the exchange. It has an end that `requireAttachableName` reserves. */
  readonly name: string;
  readonly kind: string;
  readonly content: Buffer;
}

/** What is delivered beside the files of a request. */
export interface NewAttachments {
  /** By the name of the file that they are about. */
  readonly byFile: ReadonlyMap<string, readonly NewAttachment[]>;
  /** About all files of the request. */
  readonly common: readonly NewAttachment[];
}

/** What attachments are made from. */
export interface SignedWork {
  readonly channel: Channel;
  /** The receipt as far as it is known: its files have inputs, outputs and signatures, but no attachments. */
  readonly receipt: Receipt;
  readonly request: Request;
}
