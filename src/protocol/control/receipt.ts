import { invalid } from '../../lib/errors.ts';
import { shortId, type Commit } from '../../lib/git/objects.ts';
import { receiptProblem, receiptSchema, type Receipt, type ReceiptEntry } from './receipt-schema.ts';
import type { ControlRepository } from './repository.ts';

/** The largest `receipt.json` in bytes: about 15,000 signed programs. */
export const RECEIPT_LIMIT = 16 * 1024 * 1024;
/** The largest file that is delivered beside a signed one, in bytes. */
export const ATTACHMENT_LIMIT = 16 * 1024 * 1024;
/** The largest detached signature, in bytes. */
export const SIGNATURE_LIMIT = 4 * 1024 * 1024;

/** A receipt read from its commit. The caller checks the commit's signature, on `commit.raw`. */
export interface FoundReceipt {
  id: string;
  commit: Commit;
  receipt: Receipt;
  /** The detached signature of a program in it. */
  signature(entry: Pick<ReceiptEntry, 'signature'>): Promise<Buffer>;
}

/** Parses JSON in strict UTF-8; throws `receipt-malformed`. */
export function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid('receipt-malformed', `${what} is not JSON`, { cause });
  }
}

function parseReceipt(bytes: Buffer, id: string): Receipt {
  const parsed = receiptSchema.safeParse(parseJson(bytes, `receipt.json of ${shortId(id)}`));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(
      'receipt-malformed',
      `receipt ${shortId(id)}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not a receipt'}`,
      { hint: 'was it written by a later version of signpipe?', cause: parsed.error },
    );
  }
  const problem = receiptProblem(parsed.data);
  if (problem !== null) throw invalid('receipt-malformed', `receipt ${shortId(id)} ${problem}`);
  return parsed.data;
}

/** Reads the receipt in a commit. Its size is bounded, its shape checked, and its request is the commit's second parent. */
export async function readReceipt(repository: ControlRepository, id: string): Promise<FoundReceipt> {
  const commit = await repository.readCommit(id);
  const bytes = await repository.readFileAt(commit, 'receipt.json', RECEIPT_LIMIT);
  if (bytes === null || commit.parents.length !== 2)
    throw invalid('receipt-malformed', `commit ${shortId(id)} on the receipt branch is not a receipt`);
  const receipt = parseReceipt(bytes, id);
  if (receipt.request.id !== commit.parents[1])
    throw invalid(
      'receipt-mismatch',
      `receipt ${shortId(id)} is about request ${shortId(receipt.request.id)}, but its second parent is another commit`,
    );
  const signature = async ({ signature: path }: Pick<ReceiptEntry, 'signature'>): Promise<Buffer> => {
    const content = await repository.readFileAt(commit, path, SIGNATURE_LIMIT);
    if (content === null) throw invalid('receipt-no-signature', `receipt ${shortId(id)} has no ${path}`);
    return content;
  };
  return { id, commit, receipt, signature };
}
