import { createHash } from 'node:crypto';
import { writeStreamAtomically } from '../io/atomic.ts';
import { sha256OfSource } from '../io/hash.ts';
import { scan } from '../io/scan.ts';
import type { ByteSource } from '../io/source.ts';
import { invalid, SignpipeError } from '../errors.ts';
import {
  requireSomething,
  signAll,
  withoutContent,
  type SignedFile,
  type SignFileOptions,
} from './sign-entries.ts';
import { keptSigner } from './sign-program.ts';

/** What was verified a moment ago, once more; fails at its end when it is not that any longer. */
async function* verified(content: ByteSource, sha256: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of scan(content)) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') !== sha256)
    throw new SignpipeError(
      'local',
      'own-signature-bad',
      `${content.name}: it changed while it was signed, and is not what was verified`,
      { hint: 'nothing was delivered; sign it again, and let nothing write to it meanwhile' },
    );
}

/** Signs a program that is not in a zip; the output appears whole and verified, or not at all. */
export async function signLone(
  source: ByteSource,
  output: string,
  options: SignFileOptions,
): Promise<SignedFile> {
  if (options.pins)
    throw invalid(
      'pinned-entry-missing',
      `${source.name}: zipname pins entries of it, but it is a program, not a zip`,
      {
        hint: 'pin the file itself: sha256sum FILE',
      },
    );
  const program = { source, sha256: await sha256OfSource(source) };
  const signer = await keptSigner(source, options.alreadySigned);
  requireSomething(signer === null ? 1 : 0, signer === null ? [] : [{ path: '', signer }], 1, source.name);
  const [entry] = await signAll([{ path: '', program }], options);
  if (!entry) throw new RangeError('one program in, one out');
  const { content, after } = entry;
  await writeStreamAtomically(output, verified(content, after.sha256));
  return { kind: 'program', entries: 1, signed: [withoutContent(entry)], kept: [], output: { ...after } };
}
