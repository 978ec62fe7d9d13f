import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { compileProgram } from '../compile.ts';
import { bundledPackages } from '../third-party.ts';
import { isInstalled, lockedPackages } from './lock-file.ts';

const run = promisify(execFile);

const component = z.looseObject({
  'bom-ref': z.string(),
  name: z.string(),
  version: z.string(),
  purl: z.string(),
});
type Component = z.infer<typeof component>;

/** What `npm sbom` prints, as far as it is used. */
const npmSbom = z.looseObject({
  metadata: z.looseObject({ component }),
  components: z.array(component),
  dependencies: z.array(z.object({ ref: z.string(), dependsOn: z.array(z.string()) })),
});

export interface SbomSource {
  readonly root: string;
  readonly folder: string;
  /** The name of the tarball in `folder` that the SBOM is about. */
  readonly tarball: string;
  readonly version: string;
  readonly seconds: number;
}

/** How a package gets into an installation, by `NAME@VERSION`. */
async function shippedPackages(root: string): Promise<Map<string, 'bundled' | 'installed'>> {
  const installed = (await lockedPackages(root)).filter(isInstalled);
  const { modules } = await compileProgram();
  const bundled = await bundledPackages(resolve(root, 'src'), modules);
  return new Map([
    ...installed.map(({ name, version }) => [`${name}@${version}`, 'installed'] as const),
    ...bundled.map(({ name, version }) => [`${name}@${version}`, 'bundled'] as const),
  ]);
}

/** A UUID (RFC 9562, version 8) that depends only on the tarball, so that the same release has the same SBOM. */
function serialNumber(sha256: string): string {
  const [a, b, c, d] = [sha256.slice(0, 8), sha256.slice(8, 12), sha256.slice(13, 16), sha256.slice(17, 20)];
  return `urn:uuid:${a}-${b}-8${c}-8${d}-${sha256.slice(20, 32)}`;
}

/** A component as it is shipped; npm's own notes on development dependencies say the opposite of what the bundle does. */
const shippedComponent = (each: Component, how: string) => ({
  ...each,
  scope: 'required',
  properties: [{ name: 'signpipe:shipped', value: how }],
});

/**
 * Writes `signpipe-VERSION.cdx.json`: CycloneDX 1.6, made by `npm sbom` from package-lock.json (which says 1.5, a subset), cut
 * down to the packages that an installation has, compiled in or beside the program. Returns its name.
 */
export async function writeSbom({ root, folder, tarball, version, seconds }: SbomSource): Promise<string> {
  const args = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only', '--sbom-type', 'application'];
  const { stdout } = await run('npm', args, { cwd: root, maxBuffer: 2 ** 26 });
  const bom = npmSbom.parse(JSON.parse(stdout));
  const shipped = await shippedPackages(root);
  const components = bom.components.flatMap((each) => {
    const how = shipped.get(`${each.name}@${each.version}`);
    return how === undefined ? [] : [shippedComponent(each, how)];
  });
  const found = new Set(components.map(({ name, version: its }) => `${name}@${its}`));
  const missing = [...shipped.keys()].filter((each) => !found.has(each));
  if (missing.length > 0) throw new Error(`npm sbom does not list ${missing.join(', ')}`);
  const own = bom.metadata.component;
  const refs = new Set([own['bom-ref'], ...components.map((each) => each['bom-ref'])]);
  const sha256 = createHash('sha256')
    .update(await readFile(join(folder, tarball)))
    .digest('hex');
  const result = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: serialNumber(sha256),
    version: 1,
    metadata: {
      timestamp: new Date(seconds * 1000).toISOString(),
      component: { ...own, name: 'signpipe', hashes: [{ alg: 'SHA-256', content: sha256 }] },
    },
    components,
    dependencies: bom.dependencies
      .filter(({ ref }) => refs.has(ref))
      .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => refs.has(each)) })),
  };
  const name = `signpipe-${version}.cdx.json`;
  await writeFile(join(folder, name), `${JSON.stringify(result, null, 2)}\n`);
  return name;
}
