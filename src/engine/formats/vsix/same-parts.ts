import { invalid } from '../../../lib/errors.ts';
import type { ContentType } from '../../../lib/opc/content-types.ts';
import type { Relationship } from '../../../lib/opc/relationships.ts';
import { unusedTypes } from './entry-findings.ts';
import { ORIGIN } from './names.ts';
import { ROOT_RELATIONSHIPS, type Part, type VsixPackage } from './vsix-package.ts';

/** The parts that signing neither adds nor changes. */
function keptParts({ parts, signed }: VsixPackage): Part[] {
  const added = signed ? [signed.origin, signed.originRelationships, signed.signature] : [];
  return parts.filter((each) => each.name !== ROOT_RELATIONSHIPS && !added.includes(each));
}

const relationshipText = ({ type, target, id, mode }: Relationship): string =>
  [type, target, id, mode === 'External' ? mode : ''].join(' ');

/** What the package says besides its signature. */
const relationshipsIn = ({ relationships }: VsixPackage): string[] =>
  relationships.filter(({ type }) => type !== ORIGIN).map(relationshipText);

const typeText = ({ kind, key, type }: ContentType): string => `${kind} ${key.toLowerCase()} ${type}`;

const partText = ({ name, type, entry }: Part): string => [name, type, entry.size, entry.crc32].join(' ');

function typesIn(content: VsixPackage): string[] {
  const kept = [...keptParts(content), { name: ROOT_RELATIONSHIPS }];
  const unused = new Set(unusedTypes(content.types, kept));
  return content.types.filter((each) => !unused.has(each)).map(typeText);
}

/**
 * Requires that a signed package has the files, relationships and content types of another one, in its order; the bytes of files
 * are compared apart from that. Throws `strip-body-differs` with the first that differs.
 */
export function requireSameParts(before: VsixPackage, after: VsixPackage): void {
  const compared: [string, string[], string[]][] = [
    ['part', keptParts(before).map(partText), keptParts(after).map(partText)],
    ['relationship', relationshipsIn(before), relationshipsIn(after)],
    ['content type', typesIn(before), typesIn(after)],
  ];
  for (const [what, older, newer] of compared) {
    const at = older.findIndex((each, position) => newer[position] !== each);
    const differing = at < 0 ? newer[older.length] : older[at];
    if (differing === undefined) continue;
    throw invalid(
      'strip-body-differs',
      `${after.archive.source.name}: it is not ${before.archive.source.name} plus a signature: the ${what} ${differing.slice(0, 200)} differs`,
    );
  }
}
