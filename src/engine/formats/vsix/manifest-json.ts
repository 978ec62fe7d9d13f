import { z } from 'zod';
import { readXml, type VsixPackage } from './vsix-package.ts';

/** What Visual Studio's installer reads of an extension of version 3: most builds leave `sha256` null. */
const manifest = z.object({
  files: z.array(z.object({ fileName: z.string(), sha256: z.string().nullish() })),
});

const PATH = 'manifest.json';

/** The files whose digest the installer's manifest states, so that they cannot be changed, by path; with the reason. */
export async function digestedFiles({ archive, parts }: VsixPackage): Promise<Map<string, string>> {
  const fixed = new Map<string, string>();
  const part = parts.find(({ name }) => name === `/${PATH}`);
  if (!part) return fixed;
  for (const { fileName, sha256 } of filesIn(await readXml(archive, part.entry)))
    if (sha256) fixed.set(fileName.replace(/^\//, ''), `has its SHA-256 in ${PATH}`);
  return fixed;
}

/** No files if it is another kind of document with that name. */
function filesIn(bytes: Buffer): z.infer<typeof manifest>['files'] {
  try {
    return manifest.parse(JSON.parse(bytes.toString())).files;
  } catch {
    return [];
  }
}
