import { posix } from 'node:path';
import { sha256Hex } from '../../lib/bytes/hash.ts';
import { invalid } from '../../lib/errors.ts';
import type { Commit, TreeEntry } from '../../lib/git/objects.ts';
import { sha256Sums, type NamedDigest } from '../../lib/sha256sums.ts';
import { ATTACHMENT_LIMIT } from '../../protocol/control/receipt.ts';
import { attachmentsOf, type Attachment, type Receipt } from '../../protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { requireProvenance } from './provenance-audit.ts';
import type { Findings } from './findings.ts';

/**
 * Checks that the folder `attachments` of a receipt holds what the receipt says was delivered beside its files, and
 * nothing else, that its checksum files name those files with their digests, and that its provenance says what it says
 * itself. `commit` is the receipt's, with its signature verified, and `entries` its tree.
 */
export async function compareAttachments(
  repository: ControlRepository,
  { commit, entries }: { readonly commit: Commit; readonly entries: readonly TreeEntry[] },
  receipt: Receipt,
  findings: Findings,
): Promise<void> {
  const folder = entries.find(({ name }) => name === 'attachments');
  const stored = folder?.kind === 'tree' ? await findings.try(() => repository.readTree(folder.id)) : [];
  if (!stored) return;
  const blobs = new Map(stored.map((entry) => [entry.name, entry]));
  const files = new Map(
    receipt.files.flatMap((file) => (file.attachments ?? []).map((each) => [each, file] as const)),
  );
  for (const [attachment, sums] of expectedSums(receipt))
    await findings.try(async () => {
      const content = await readAttachment(repository, blobs, attachment, sums);
      const file = files.get(attachment);
      if (file && attachment.kind === 'provenance')
        requireProvenance(content, attachment.name, { receipt, file }, commit);
    });
  const named = new Set(attachmentsOf(receipt).map(({ sha256 }) => sha256));
  for (const name of blobs.keys())
    if (!named.has(name))
      findings.add('receipt-stray-attachment', `attachments/${name} belongs to no file that it names`);
}

const withSums = (attachment: Attachment, names: readonly NamedDigest[]): [Attachment, string | null] => [
  attachment,
  attachment.kind === 'sha256sums' ? sha256Sums(names) : null,
];

/** Every attachment and, for a checksum file, what its content must be. */
function expectedSums({ files, attachments: common = [] }: Receipt): [Attachment, string | null][] {
  const digests = files.flatMap(({ output }) =>
    output?.sha256 === undefined ? [] : [{ name: output.name, sha256: output.sha256 }],
  );
  const alone = (file: string): NamedDigest[] =>
    digests
      .filter(({ name }) => name === file)
      .map(({ name, sha256 }) => ({ name: posix.basename(name), sha256 }));
  return [
    ...files.flatMap(({ input, attachments = [] }) =>
      attachments.map((each) => withSums(each, alone(input.name))),
    ),
    ...common.map((each) => withSums(each, digests)),
  ];
}

async function readAttachment(
  repository: ControlRepository,
  blobs: ReadonlyMap<string, TreeEntry>,
  { name, size, sha256 }: Attachment,
  sums: string | null,
): Promise<Buffer> {
  const blob = blobs.get(sha256);
  if (!blob) throw invalid('receipt-no-attachment', `attachments/${sha256}, which is ${name}, is not there`);
  const content = await repository.readEntry(blob, `attachments/${sha256}`, ATTACHMENT_LIMIT);
  if (content.length !== size || sha256Hex(content) !== sha256)
    throw invalid(
      'receipt-attachment-differs',
      `attachments/${sha256} has other bytes than it says of ${name}`,
    );
  if (sums !== null && content.toString('utf8') !== sums)
    throw invalid('receipt-attachment-differs', `${name} and its receipt.json do not say the same`);
  return content;
}
