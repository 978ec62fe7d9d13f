import { compareNames } from '../../../lib/compound-file/entry-names.ts';
import {
  entriesIn,
  type CompoundEntry,
  type CompoundFile,
  type StreamEntry,
} from '../../../lib/compound-file/compound-file.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';

/** The stream that holds the signature, and the one that holds the digest of all names, times and sizes. */
export const SIGNATURE_NAME = '\u0005DigitalSignature';
export const METADATA_NAME = '\u0005MsiDigitalSignatureEx';

/** The streams of a package that signing adds. */
export interface SignatureStreams {
  readonly signature: StreamEntry | undefined;
  readonly metadata: StreamEntry | undefined;
}

/** Windows looks streams up without regard to case. */
const isNamed = ({ name }: CompoundEntry, wanted: string): boolean => compareNames(name, wanted) === 0;

/** Whether signing adds an entry of this name, and so no digest covers it. */
export const isSignatureEntry = (entry: CompoundEntry): boolean =>
  isNamed(entry, SIGNATURE_NAME) || isNamed(entry, METADATA_NAME);

/** Finds the streams that signing adds; throws `msi-signature-place` if something else has one of their names. */
export function findSignatureStreams({ source, root }: CompoundFile): SignatureStreams {
  const inRoot = new Set<CompoundEntry>(root.children);
  for (const entry of entriesIn(root))
    if (isSignatureEntry(entry) && !inRoot.has(entry))
      throw misplaced(source.name, 'a storage in it has a signature of its own');
  const find = (wanted: string): StreamEntry | undefined => {
    const entry = root.children.find((each) => isNamed(each, wanted));
    if (!entry) return undefined;
    if (entry.kind !== 'stream' || entry.name !== wanted)
      throw misplaced(source.name, 'an entry has the name of a signature but is none');
    return entry;
  };
  return { signature: find(SIGNATURE_NAME), metadata: find(METADATA_NAME) };
}

/** Verifiers disagree on whether a digest covers such entries. */
const misplaced = (name: string, why: string): SignpipeError =>
  invalid('msi-signature-place', `${name}: ${why}, which verifiers read in different ways`, {
    hint: 'build the package again from unsigned parts, and sign the result',
  });
