import { readOnce } from '../lib/bytes/byte-source.ts';
import { hasCode, usage } from '../lib/errors.ts';
import { fromSystemError } from '../lib/system-error.ts';

/** The largest list of names, in bytes. */
const MOST_BYTES = 16 * 1024 * 1024;

const tooLarge = (path: string): Error =>
  usage('list-too-large', `${path}: the list of names is larger than ${MOST_BYTES} bytes`);

async function readStandardInput(): Promise<string> {
  let size = 0;
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MOST_BYTES) throw tooLarge('standard input');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function readList(path: string): Promise<string> {
  if (path === '-') return readStandardInput();
  try {
    const bytes = await readOnce(path, MOST_BYTES);
    if (bytes === null) throw tooLarge(path);
    return bytes.toString('utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${path}: no such file`, { cause: error });
    throw fromSystemError(error, path) ?? error;
  }
}

/**
 * The names in a list: ended by NUL if there is one, as `find -print0` writes them, else one a line; blank lines and a
 * byte order mark do not count. `-` is standard input.
 */
export async function readNames(path: string): Promise<string[]> {
  const list = (await readList(path)).replace(/^\uFEFF/, '');
  const names = list.includes('\0') ? list.split('\0') : list.split(/\r?\n/);
  return names.filter((name) => name.trim() !== '');
}
