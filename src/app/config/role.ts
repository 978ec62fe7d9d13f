import { join } from 'node:path';
import { readdir } from 'node:fs/promises';
import { isMap, isScalar, type Document } from 'yaml';

/** What a configuration is for. Each role has its own file, ROLE.yaml, which `signpipe init ROLE` makes. */
export type ConfigRole = 'signer' | 'builder' | 'voucher' | 'auditor' | 'courier';

const ROLES: readonly ConfigRole[] = ['signer', 'builder', 'voucher', 'auditor', 'courier'];

/** The names of the sections of a configuration. */
function sectionsOf({ contents }: Document): Set<string> {
  if (!isMap(contents)) return new Set();
  return new Set(contents.items.flatMap(({ key }) => (isScalar(key) ? [String(key.value)] : [])));
}

/**
 * Whose configuration a document is, by its sections: only a courier has `authorities`, only a signer `signing` or
 * `receipts`, only builders and vouchers have `requests`, of which a voucher has no `exchange`. An auditor has `trust`
 * and no `exchange`. Null if the sections do not say.
 */
export function roleOf(document: Document): ConfigRole | null {
  const sections = sectionsOf(document);
  if (sections.has('authorities')) return 'courier';
  if (sections.has('signing') || sections.has('receipts')) return 'signer';
  if (sections.has('requests')) return sections.has('exchange') ? 'builder' : 'voucher';
  return sections.has('trust') && !sections.has('exchange') ? 'auditor' : null;
}

const withArticle = (role: ConfigRole): string => `${role === 'auditor' ? 'an' : 'a'} ${role}`;

/** What to say about a configuration of one role that a command for others was given. */
export function otherRole(path: string, role: ConfigRole, needed: readonly ConfigRole[]): string {
  return `${path}: is the configuration of ${withArticle(role)}, and that of ${needed.map(withArticle).join(' or ')} is needed`;
}

/** What to do about it. */
export function otherRoleHint(needed: readonly ConfigRole[]): string {
  const [first = 'signer'] = needed;
  return `give ${needed.map((role) => `${role}.yaml`).join(' or ')}; "signpipe init ${first} DIR" makes ${withArticle(first)}'s`;
}

/** The configurations in a folder that was given instead of one of them. */
export async function configurationsIn(folder: string): Promise<string[]> {
  const names = new Set(await readdir(folder).catch((): string[] => []));
  return ROLES.flatMap((role) => (names.has(`${role}.yaml`) ? [join(folder, `${role}.yaml`)] : []));
}
