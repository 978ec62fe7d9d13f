import { posix } from 'node:path';
import { SIGNATURE_SUFFIXES, type ChecksumKey } from '../../../engine/checksums/checksum-key.ts';
import { sha256Sums, type NamedDigest } from '../../../lib/sha256sums.ts';
import { SUMS_SUFFIX } from './attachment-names.ts';
import type { NewAttachment, NewAttachments, SignedWork } from './new-attachment.ts';

/** A checksum file over some files, and its signatures. */
async function signedSums(
  name: string,
  files: readonly NamedDigest[],
  keys: readonly ChecksumKey[],
): Promise<NewAttachment[]> {
  const content = Buffer.from(sha256Sums(files));
  const attachments: NewAttachment[] = [{ name, kind: 'sha256sums', content }];
  for (const key of keys)
    attachments.push({
      name: `${name}${SIGNATURE_SUFFIXES[key.kind]}`,
      kind: key.kind,
      content: await key.sign(content, posix.basename(name)),
    });
  return attachments;
}

/**
 * The checksum files of a request, as its channel's `checksums` says: `NAME.SHA256SUMS` beside each file and, if there
 * are several, `REQUEST.SHA256SUMS` over all of them, REQUEST being the request's full id. Names in them are relative to
 * the folder of the checksum file.
 */
export async function checksumAttachments({ channel, receipt }: SignedWork): Promise<NewAttachments> {
  const { checksumKeys: keys } = channel;
  if (keys === null) return { byFile: new Map(), common: [] };
  const byFile = new Map<string, NewAttachment[]>();
  const all: NamedDigest[] = [];
  for (const { output } of receipt.files) {
    if (output?.sha256 === undefined) throw new Error('a checksum file over bytes that were not seen');
    const { name, sha256 } = output;
    all.push({ name, sha256 });
    byFile.set(
      name,
      await signedSums(`${name}${SUMS_SUFFIX}`, [{ name: posix.basename(name), sha256 }], keys),
    );
  }
  const common = all.length > 1 ? await signedSums(`${receipt.request.id}${SUMS_SUFFIX}`, all, keys) : [];
  return { byFile, common };
}
