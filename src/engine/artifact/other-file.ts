import { withFile } from '../../lib/bytes/byte-source.ts';
import { mayBeProgram, mayBeZip } from '../formats/program-names.ts';
import { fileKindOf, formatByName } from '../formats/recognize.ts';
import type { PathFilter } from './globs.ts';

/**
 * Whether a file is one that cannot be signed: it has content, which is neither that of a program nor of a zip, and its
 * name is not that of one, nor matched by the patterns. A program that was cut short does not become such a file: its
 * name still says what it was meant to be. `name` is for messages. Throws `zip-is-program`.
 */
export const isOtherFile = (path: string, name: string, isOurs: PathFilter): Promise<boolean> =>
  withFile(
    path,
    async (source) => {
      if (source.size === 0 || isOurs(name) || mayBeProgram(name) || mayBeZip(name)) return false;
      // A script counts as a program only if the patterns name it.
      return (await fileKindOf(source)) === null || formatByName(name) !== undefined;
    },
    name,
  );
