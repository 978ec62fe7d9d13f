import { notAllowed } from '../../../lib/errors.ts';
import { ATTACHMENT_LIMIT } from '../../../protocol/control/receipt.ts';
import { requireUnexpired } from '../../../engine/checksums/checksum-key.ts';
import { sha256Hex } from '../../../lib/bytes/hash.ts';
import type { ChannelConfig } from '../../config/channel-config.ts';
import { deliveredPath } from '../../config/delivered-path.ts';
import type { Attachment, Receipt } from '../../../protocol/control/receipt-schema.ts';
import { temporaryToken } from '../../../protocol/exchange/path.ts';
import { attachmentStore, writeBlobs } from '../state/blob-store.ts';
import { checksumAttachments } from './checksum-attachments.ts';
import type { JournaledOutput } from '../state/journal.ts';
import type { NewAttachment, NewAttachments, SignedWork } from './new-attachment.ts';
import { provenanceAttachments } from './provenance-attachments.ts';
import type { Channel } from '../channel/channel.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** Makes one kind of attachments; none if the channel is not configured for it. */
type AttachmentMaker = (work: SignedWork, context: SignerContext) => Promise<NewAttachments>;

const MAKERS: readonly AttachmentMaker[] = [checksumAttachments, provenanceAttachments];

/** Whether a channel delivers anything beside its files. Then it fetches whole files: it must know every byte. */
export const makesAttachments = ({ checksums, provenance }: ChannelConfig): boolean =>
  checksums !== undefined || provenance;

/**
 * Throws what is known to keep a channel from making its attachments, before its signing key is used: `checksum-key-expired`,
 * or what a key throws that is not available.
 */
export async function requireAttachable(
  { config, checksumKeys }: Channel,
  { writer, now }: SignerContext,
): Promise<void> {
  const keys = checksumKeys ?? [];
  requireUnexpired(keys, now());
  for (const key of keys) await key.available?.();
  if (config.provenance) await writer.signer.available?.();
}

/** The receipt and the outputs of a request with everything that is delivered beside its files. */
export interface AttachedRequest {
  readonly receipt: Receipt;
  readonly outputs: readonly JournaledOutput[];
}

/** Refuses what readers would not read; only provenance grows with the number of programs. */
function requireReadable(name: string, size: number): void {
  if (size > ATTACHMENT_LIMIT)
    throw notAllowed(
      'attachment-too-large',
      `${name}: would have ${size} bytes, more than the ${ATTACHMENT_LIMIT} that readers accept`,
      { hint: 'submit several requests, each with fewer programs' },
    );
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
  for (const make of MAKERS) made.push(await make(work, context));
  const of = (name: string): NewAttachment[] => made.flatMap(({ byFile }) => byFile.get(name) ?? []);
  const common = made.flatMap((each) => each.common);
  const files = receipt.files.map((file) => ({ ...file, attachments: of(file.input.name).map(described) }));
  const all = [...outputs.flatMap(({ name }) => of(name)), ...common];
  for (const { name, content } of all) requireReadable(name, content.length);
  await writeBlobs(
    attachmentStore(context.config.state, receipt.request.id),
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
