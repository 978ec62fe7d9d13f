import { invalid } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { recognize } from '../../formats/recognize.ts';

/** A file as it was and as it is. */
export interface Pair<T> {
  readonly before: T;
  readonly after: T;
}

/** Whether a file was a zip and is one, as `kindOf` recognises it; throws `not-the-same-kind` if only one of the two holds. */
export async function areZips(
  { before, after }: Pair<ByteSource>,
  kindOf: typeof recognize,
): Promise<boolean> {
  const isZip = (await kindOf(before)) === 'zip';
  if (isZip === ((await kindOf(after)) === 'zip')) return isZip;
  throw invalid('not-the-same-kind', `${after.name}: one of the two is a zip, the other is not`);
}
