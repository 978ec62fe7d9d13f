import { sha256Hex } from '../../lib/bytes/hash.ts';
import type { ChannelConfig } from '../config/signer.ts';
import { deliveredPath } from '../config/delivered-path.ts';
import type { Attachment, Receipt } from '../../protocol/control/receipt-schema.ts';
import { temporaryToken } from '../../protocol/exchange/path.ts';
import { attachmentStore, writeBlobs } from './blob-store.ts';
import { checksumAttachments } from './checksum-attachments.ts';
import type { JournaledOutput } from './journal.ts';
import type { NewAttachment, NewAttachments, SignedWork } from './new-attachment.ts';
import type { SignerContext } from './signer-context.ts';

/** Makes one kind of attachments; none if the channel is not configured for it. */
type AttachmentMaker = (work: SignedWork) => Promise<NewAttachments>;

const MAKERS: readonly AttachmentMaker[] = [checksumAttachments];

/** Whether a channel delivers anything beside its files. Then it fetches whole files: it must know every byte. */
export const makesAttachments = ({ checksums }: ChannelConfig): boolean => checksums !== undefined;

/** The receipt and the outputs of a request with everything that is delivered beside its files. */
export interface AttachedRequest {
  readonly receipt: Receipt;
  readonly outputs: readonly JournaledOutput[];
}

const described = ({ name, kind, content }: NewAttachment): Attachment => ({
  name,
  kind,
  size: content.length,
  sha256: sha256Hex(content),
});

/**
 * Makes what is delivered beside the signed files of a request. Its bytes are on the disk when this returns: most
 * signatures are random, so that after a crash they could not be made again.
 */
export async function attach(
  context: SignerContext,
  work: SignedWork,
  outputs: readonly JournaledOutput[],
): Promise<AttachedRequest> {
  const { receipt } = work;
  if (!makesAttachments(work.channel.config)) return { receipt, outputs };
  const made: NewAttachments[] = [];
  for (const make of MAKERS) made.push(await make(work));
  const of = (name: string): NewAttachment[] => made.flatMap(({ byFile }) => byFile.get(name) ?? []);
  const common = made.flatMap((each) => each.common);
  const files = receipt.files.map((file) => ({ ...file, attachments: of(file.input.name).map(described) }));
  const all = [...outputs.flatMap(({ name }) => of(name)), ...common];
  await writeBlobs(
    attachmentStore(context.config.state),
    new Map(all.map(({ content }) => [sha256Hex(content), content])),
  );
  const asOutput = (attachment: NewAttachment): JournaledOutput =>
    attachmentOutput(context, receipt, described(attachment));
  return {
    receipt: { ...receipt, files, ...(common.length > 0 ? { attachments: common.map(described) } : {}) },
    outputs: [
      ...outputs.flatMap((output) => [output, ...of(output.name).map(asOutput)]),
      ...common.map(asOutput),
    ],
  };
}

function attachmentOutput(
  { config }: SignerContext,
  { request: { id } }: Receipt,
  { name, size, sha256 }: Attachment,
): JournaledOutput {
  const path = deliveredPath(config.exchange.delivered, { request: id, name });
  return { mode: 'attachment', name, path, size, sha256, temporary: temporaryToken() };
}
