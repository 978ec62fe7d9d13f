import type { Receipt } from '../../../protocol/control/receipt-schema.ts';

/** A file on the exchange as a receipt states it. */
export interface ReceiptedFile {
  readonly folder: 'incoming' | 'outgoing';
  /** On the exchange. */
  readonly path: string;
  readonly size?: number | undefined;
  readonly sha256?: string | undefined;
  readonly answered: Date;
}

/** The two folders of the exchange. */
export interface Folders {
  readonly incoming: string;
  readonly outgoing: string;
}

/** The folder that a signed file was put into, below the outgoing one: its path without its name. */
const placeOf = ({
  name,
  path = name,
}: {
  readonly name: string;
  readonly path?: string | undefined;
}): string => (path.endsWith(name) ? path.slice(0, path.length - name.length) : '');

/** All files on the exchange that a receipt is about: the requested ones, the signed ones, and those beside them. */
export function filesOf(receipt: Receipt, { incoming, outgoing }: Folders): ReceiptedFile[] {
  const answered = new Date(receipt.times.answered);
  const delivered = receipt.files.flatMap(({ output, attachments = [] }) =>
    output ? [{ output, attachments }] : [],
  );
  const [first] = delivered;
  const beside = (
    place: string,
    { name, size, sha256 }: { name: string; size: number; sha256: string },
  ): ReceiptedFile => ({
    folder: 'outgoing',
    path: `${outgoing}/${place}${name}`,
    size,
    sha256,
    answered,
  });
  return [
    ...receipt.files.map(({ input: { name, size, sha256 } }): ReceiptedFile => {
      return { folder: 'incoming', path: `${incoming}/${name}`, size, sha256, answered };
    }),
    ...delivered.flatMap(({ output, attachments }): ReceiptedFile[] => [
      {
        folder: 'outgoing',
        path: `${outgoing}/${output.path ?? output.name}`,
        size: output.size,
        sha256: output.sha256,
        answered,
      },
      ...attachments.map((each) => beside(placeOf(output), each)),
    ]),
    ...(first ? (receipt.attachments ?? []).map((each) => beside(placeOf(first.output), each)) : []),
  ];
}
