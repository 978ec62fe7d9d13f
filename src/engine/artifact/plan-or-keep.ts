import type { FindOptions } from './inside/file-to-sign.ts';
import { isOtherFile } from './other-file.ts';
import { planFile, type FilePlan } from './plan-file.ts';
import { NoPrograms } from './signed-artifact.ts';

/** What would be done to a file, which may also be one that cannot be signed. */
export interface RequestPlan extends Omit<FilePlan, 'kind'> {
  /** `other`: nothing in it can be signed, and it is delivered as it came. */
  readonly kind: FilePlan['kind'] | 'other';
}

const unchanged = ({ entries, leftAlone }: Pick<FilePlan, 'entries' | 'leftAlone'>): RequestPlan => ({
  kind: 'other',
  entries,
  steps: [],
  kept: [],
  leftAlone,
  unsignedInside: [],
});

/**
 * Plans as `planFile` does, and keeps files that cannot be signed if the policy permits that (`signing.others: checksum`).
 * `name` is that of the request.
 */
export async function planOrKeep(
  path: string,
  name: string,
  options: FindOptions & { readonly acceptOthers: boolean },
): Promise<RequestPlan> {
  if (!options.acceptOthers) return planFile(path, options, name);
  if (await isOtherFile(path, name, options.isOurs)) return unchanged({ entries: 1, leftAlone: [] });
  try {
    return await planFile(path, options, name);
  } catch (error) {
    if (error instanceof NoPrograms) return unchanged(error.contents);
    throw error;
  }
}
