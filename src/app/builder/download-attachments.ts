import { join } from 'node:path';
import { invalid } from '../../lib/errors.ts';
import { ATTACHMENT_LIMIT } from '../../protocol/control/receipt.ts';
import {
  attachmentsOf,
  type Attachment,
  type Receipt,
  type ReceiptFile,
} from '../../protocol/control/receipt-schema.ts';
import { nameProblem, pathProblem } from '../../protocol/control/zipname.ts';
import { digestDiffers, downloadFile } from './download-file.ts';
import type { BuilderSession } from './session.ts';

/** What builders need of a receipt to find what lies beside its files. */
type Attached = Readonly<Pick<Receipt, 'attachments'>> & { readonly files: readonly ReceiptFile[] };

/** The folders below the outgoing folder in which all files of a receipt lie, with a slash at the end if there are any. */
function folderOf({ files }: Attached): string {
  const { name = '', path = name } = files[0]?.output ?? {};
  if (path === name || path.endsWith(`/${name}`)) return path.slice(0, path.length - name.length);
  throw invalid('receipt-name', `the receipt says that ${name} lies at ${path}, which has another name`);
}

/** What a receipt says that was delivered beside its files; throws `receipt-name` for names that must not be written. */
export function attachmentsToDownload(receipt: Attached): Attachment[] {
  const attachments = attachmentsOf(receipt);
  const taken = new Set(receipt.files.map(({ output }) => output?.name.toLowerCase()));
  for (const { name, size } of attachments) {
    const problem = nameProblem(name) ?? pathProblem(`${folderOf(receipt)}${name}`);
    if (problem !== null) throw invalid('receipt-name', `the receipt names a file that ${problem}`);
    if (taken.has(name.toLowerCase()))
      throw invalid('receipt-name', `the receipt names two files ${name}`, {
        hint: 'do not use the signed files; ask the signer operator',
      });
    taken.add(name.toLowerCase());
    if (size > ATTACHMENT_LIMIT)
      throw invalid(
        'receipt-name',
        `${name}: ${size} bytes are too many for a file that is delivered beside another`,
      );
  }
  return attachments;
}

/**
 * Downloads what was delivered beside the files of a receipt: checksum files, their signatures, provenance. Each gets its
 * name once its SHA-256 is that of the receipt. Returns the paths.
 */
export async function downloadAttachments(
  session: BuilderSession,
  receipt: Attached,
  folder: string,
): Promise<string[]> {
  const below = folderOf(receipt);
  const paths: string[] = [];
  for (const { name, size, sha256 } of attachmentsToDownload(receipt)) {
    const download = { from: `${below}${name}`, path: join(folder, name), limit: size };
    paths.push(
      await downloadFile(session, download, (_temporary, fetched) => {
        if (fetched.size !== size || fetched.sha256 !== sha256)
          throw digestDiffers(name, fetched.sha256, sha256);
      }),
    );
  }
  return paths;
}
