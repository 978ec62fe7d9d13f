import { invalid } from '../../../lib/errors.ts';
import { isRelationships } from '../../../lib/opc/relationships.ts';
import type { FileDigest, SignedContent } from '../signable-file.ts';
import { packageDigest, type Reference } from './manifest.ts';
import { OPC_SIGNATURE, ORIGIN_TYPE } from './names.ts';
import { readOpcObject } from './read-signature.ts';

/** Whether a reference is about a file of the package, not about relationships or the origin of signatures. */
const isContent = ({ part, type }: Pick<Reference, 'part' | 'type'>): boolean =>
  !isRelationships(part) && type !== ORIGIN_TYPE;

/** The references of a signature's object; throws `opc-…`. */
export function referencesIn({ type, der }: SignedContent, what: string): readonly Reference[] {
  if (type !== OPC_SIGNATURE)
    throw invalid('opc-signature', `${what}: it does not sign the parts of a package`);
  return readOpcObject(der, what).references;
}

/** The digest of the files that a signature states; throws `opc-…` and `authenticode-digest-mixed`. */
export function readContent(content: SignedContent, what: string): FileDigest {
  const references = referencesIn(content, what);
  const [first] = references;
  if (!first) throw invalid('opc-reference', `${what}: it signs no parts`);
  const { hash } = first;
  const canonical = references.find((each) => each.canonical && isContent(each));
  if (canonical) throw invalid('opc-reference', `${what}: it signs ${canonical.part} as XML, not its bytes`);
  const other = references.find((each) => each.hash !== hash);
  if (other) throw invalid('authenticode-digest-mixed', `${what}: it uses ${hash} and ${other.hash}`);
  return { hash, digest: packageDigest(references.filter(isContent), hash) };
}
