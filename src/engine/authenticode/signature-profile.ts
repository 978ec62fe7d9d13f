import type { FileDigest, ReadSignature } from '../formats/signature-scheme.ts';
import type { SignableFile } from '../formats/signable-file.ts';

/** A signature of the right form, and the digest that it states, made with the algorithm that it uses throughout. */
export interface ProfiledSignature extends FileDigest {
  readonly signature: ReadSignature;
}

/**
 * Requires, of a signature that could be read, the form that its scheme asks for and content that the file's format
 * knows. Other verifiers accept some of what is refused here, so that an attacker could make two verifiers disagree.
 *
 * Throws what `readContent` and `requireForm` throw.
 */
export function requireProfile(
  signature: ReadSignature,
  file: SignableFile,
  what: string,
): ProfiledSignature {
  const stated = file.readContent(signature.content, signature.digestAlgorithm(what), what);
  signature.requireForm(stated.hash, what);
  return { hash: stated.hash, digest: stated.digest, signature };
}
