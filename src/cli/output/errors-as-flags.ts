import { SignpipeError } from '../../lib/errors.ts';

/** What the signing engine says of signer.yaml, and the flag of `sign` that does the same. Longer texts come first. */
const FLAGS: readonly (readonly [string, string])[] = [
  ['pfx, or certificate and key', '--pfx FILE, or --certificate FILE and --key FILE'],
  ['added to signing.files on the signer', 'given as --files'],
  [' to signing.files on the signer', ' as --files'],
  ['signing.files on the signer', '--files'],
  ['from signing.files with', 'by --files with'],
  ['signing.files', '--files'],
  ['have the signer replace or append (signing.alreadySigned)', 'give --already-signed replace or append'],
  [
    'have the signer replace such signatures (signing.alreadySigned: replace)',
    'give --already-signed replace',
  ],
  ['signing.alreadySigned', '--already-signed'],
  ['timestampRoots: [public, FILE]', '--timestamp-ca public --timestamp-ca FILE'],
];

const inFlags = (text: string): string =>
  FLAGS.reduce((left, [key, flag]) => left.replaceAll(key, flag), text);

/** An error, reworded for a reader who has no signer.yaml but the flags of `sign`. */
export const withFlagNames = (error: unknown): unknown =>
  error instanceof SignpipeError ? error.reworded(inFlags) : error;
