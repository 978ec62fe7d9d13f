import { basename, join } from 'node:path';
import { syncFile, writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { sha256Hex } from '../../../lib/bytes/hash.ts';
import { temporaryToken } from '../../../protocol/exchange/path.ts';
import type { WholeFile } from './fetch.ts';
import { leftAloneOf } from './receipt-programs.ts';
import type { MadeFile, SignedRequestFile, Target } from './signed-request-file.ts';

/** What is in a file that cannot be signed, unless it is a zip. */
const NO_ZIP: Pick<MadeFile, 'entries' | 'leftAlone'> = { entries: 1, leftAlone: [] };

/**
 * A file that is delivered as it came, which `signing.others: checksum` permits: a delta without new bytes, so that the
 * exchange can copy it within itself. It is on the disk when this returns.
 */
export async function keepUnchanged(
  whole: WholeFile,
  { folder, file, path }: Target,
  contents = NO_ZIP,
): Promise<SignedRequestFile> {
  const { size, sha256, requested, modified } = whole;
  const { name } = requested;
  const nothing = Buffer.alloc(0);
  await syncFile(whole.path);
  await writeFileAtomically(join(folder, file), nothing, { mode: 0o600 });
  return {
    made: { ...contents, signed: [], kept: [], unsignedInside: [] },
    file: {
      input: { name, size, sha256 },
      output: { name, path, size, sha256 },
      entries: contents.entries,
      signed: [],
      kept: [],
      ...leftAloneOf(contents),
      attachments: [],
      seen: 'whole',
    },
    output: {
      mode: 'delta',
      name,
      path,
      size,
      sha256,
      temporary: temporaryToken(),
      unsigned: {
        file: basename(whole.path),
        size,
        ...(modified ? { modified: modified.toISOString() } : {}),
      },
      newBytes: { file, sha256: sha256Hex(nothing) },
      spans: [{ from: 'source', start: 0, end: size }],
    },
  };
}
