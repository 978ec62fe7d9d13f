import { createHash } from 'node:crypto';
import { invalid, isInvalid } from '../../../lib/errors.ts';
import { shown } from '../../../lib/zip/entry-paths.ts';
import type { Container } from '../../formats/container.ts';

/**
 * The SHA-256 of every member in lower-case hex, by path; of one that cannot be read (it lies elsewhere, or is packed in an
 * unknown way), the code of the error. An error code does not show whether two such members differ.
 */
export async function digestsOf(container: Container): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for await (const { member, content } of container.read(() => true))
    digests.set(member.path, await digestOf(content));
  return digests;
}

async function digestOf(content: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of content) hash.update(chunk);
    return hash.digest('hex');
  } catch (error) {
    if (!isInvalid(error)) throw error;
    return error.code;
  }
}

/** Throws `inside-differs` unless two containers have members of the same names, in the same order. */
export function requireSameNames(before: Container, after: Container, name: string): void {
  const count = Math.max(before.members.length, after.members.length);
  for (let index = 0; index < count; index++) {
    const [then, now] = [before.members[index], after.members[index]];
    if (then?.path === now?.path) continue;
    const what = now ? `${shown(now.path)} is inside of it` : `${shown(then?.path ?? '')} is missing in it`;
    throw invalid('inside-differs', `${name}: ${what}, other than in the original`, {
      hint: 'do not use this file: more than signatures changed; sign the original again',
    });
  }
}
