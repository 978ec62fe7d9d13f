import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const locked = z.object({
  version: z.string(),
  integrity: z.string().optional(),
  resolved: z.string().optional(),
  link: z.boolean().optional(),
  dev: z.boolean().optional(),
  optional: z.boolean().optional(),
  devOptional: z.boolean().optional(),
  peer: z.boolean().optional(),
});
const schema = z.object({ packages: z.record(z.string(), z.looseObject({})) });

/** A package of package-lock.json. */
export interface LockedPackage extends z.infer<typeof locked> {
  /** Its folder below the root: `node_modules/zod`. */
  readonly folder: string;
  readonly name: string;
}

const nameOf = (folder: string): string => folder.replace(/^.*node_modules\//, '');

/** All packages of a package-lock.json but the root. */
export async function lockedPackages(root: string): Promise<LockedPackage[]> {
  const json: unknown = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(schema.parse(json).packages)
    .filter(([folder]) => folder !== '')
    .map(([folder, each]) => ({ ...locked.parse(each), folder, name: nameOf(folder) }));
}

/** Whether every installation has a package, beside the compiled program: none that are optional, and none of the build's. */
export const isInstalled = ({ dev, optional, devOptional, peer }: LockedPackage): boolean =>
  !dev && !optional && !devOptional && !peer;

/** npm's own registry and its copies: a tarball there is named by package and version. */
const REGISTRY_TARBALL = /^https:\/\/[^/?#]+\/(?:[^?#]+\/)?-\/[^/?#]+\.tgz$/;

/**
 * What is wrong with a lock file: packages that are not pinned by a SHA-512, or that come from elsewhere than a registry,
 * such as a Git URL, a folder or a link.
 */
export function lockFileProblems(packages: readonly LockedPackage[]): string[] {
  return packages.flatMap(({ folder, integrity = '', resolved, link }) => [
    ...(link ? [`${folder} is a link`] : []),
    ...(/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity) ? [] : [`${folder} is not pinned by a SHA-512`]),
    ...(resolved === undefined || REGISTRY_TARBALL.test(resolved)
      ? []
      : [`${folder} is not from a registry: ${resolved}`]),
  ]);
}
