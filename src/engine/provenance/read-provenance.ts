import { isUtf8 } from 'node:buffer';
import { invalid, messageOf, usage } from '../../lib/errors.ts';
import { readOnce } from '../../lib/bytes/byte-source.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { isKeyName } from '../../lib/sshsig/ssh-key.ts';

/** The largest file of envelopes, in bytes: 15,000 signed programs take about 30 MB. */
const MAX_FILE = 64 * 1024 * 1024;
/** The most lines in it. */
const MAX_LINES = 1000;

/** Reads a file of envelopes, one a line. Throws `provenance-too-large` and `provenance-malformed`. */
export async function readEnvelopes(path: string): Promise<string[]> {
  const bytes = await readOnce(path, MAX_FILE);
  if (!bytes) throw invalid('provenance-too-large', `${path}: is larger than ${MAX_FILE} bytes`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw invalid('provenance-malformed', `${path}: is not UTF-8 text`, { cause });
  }
  const lines = text.split('\n', MAX_LINES + 2);
  if (lines.at(-1) === '') lines.pop();
  if (lines.length > MAX_LINES)
    throw invalid('provenance-too-large', `${path}: has more than ${MAX_LINES} lines`);
  return lines;
}

/** The largest list of keys, in bytes. */
const MAX_KEYS = 1024 * 1024;

/**
 * Reads the keys that may sign receipts: an allowed signers file, or the `.pub` file of one key, which is then permitted
 * for everything. Errors are `usage`: `receipt-signers-unreadable`, `allowed-signers-malformed`.
 */
export async function readReceiptSigners(path: string): Promise<AllowedSigners> {
  const bytes = await readOnce(path, MAX_KEYS).catch((cause: unknown) => {
    throw usage('receipt-signers-unreadable', `${path} cannot be read: ${messageOf(cause)}`, {
      hint: 'name an allowed signers file, or the .pub file of the signer’s receipt key',
      cause,
    });
  });
  if (!bytes || !isUtf8(bytes))
    throw usage('receipt-signers-unreadable', `${path} is not a list of keys`, {
      hint: 'name an allowed signers file, or the .pub file of the signer’s receipt key',
    });
  const text = bytes.toString('utf8');
  if (text.includes('PRIVATE KEY-----'))
    throw usage('receipt-signers-unreadable', `${path} is a private key, which belongs to the signer alone`, {
      hint: 'name the .pub file beside it',
    });
  const [word = ''] = text.trimStart().split(/[ \t]/, 1);
  return AllowedSigners.parse(isKeyName(word) ? `receipts.key ${text.trim()}\n` : text, path);
}
