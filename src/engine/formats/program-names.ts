/**
 * What names say about programs. Content decides wherever it can be read; a name decides only which files a
 * site signs unless it says otherwise, and whether something that cannot be read may be a program.
 */

/**
 * Extensions of programs in the PE format: all that can be signed today. The configuration that `init` writes
 * names every one of them.
 */
export const PE_EXTENSIONS = ['exe', 'dll', 'sys', 'ocx', 'cpl', 'scr', 'drv', 'efi', 'mui', 'com'] as const;

/** Extensions of other files that Windows loads, or that install programs. */
const OTHER_EXTENSIONS = 'acm ax bpl node pyd tsp xll msi msp mst appx appxbundle msix msixbundle'.split(' ');

/** Extensions of zips, packages among them. */
const ZIP_EXTENSIONS: ReadonlySet<string> = new Set(
  'zip jar war ear apk aab xpi whl nupkg snupkg vsix appx appxbundle msix msixbundle'.split(' '),
);

const PROGRAM_EXTENSIONS: ReadonlySet<string> = new Set([...PE_EXTENSIONS, ...OTHER_EXTENSIONS]);

const patternFor = (extension: string): string => `**/*.${extension}`;

/**
 * Which entries of a zip are ours unless a site says otherwise. It does not grow when more formats can be
 * signed: an upgrade must not sign what was left alone before.
 */
export const DEFAULT_FILES: readonly string[] = ['exe', 'dll'].map(patternFor);

/** Trailing dots and spaces are no part of a name on Windows. */
const extensionOf = (path: string): string | undefined =>
  /\.([^./\\]+)$/.exec(path.slice(0, endOfName(path)))?.[1]?.toLowerCase();

function endOfName(path: string): number {
  let end = path.length;
  while (end > 0 && (path[end - 1] === '.' || path[end - 1] === ' ')) end -= 1;
  return end;
}

/** Whether a file of this name may be a program that Windows runs or loads, for want of its content. */
export const mayBeProgram = (path: string): boolean => PROGRAM_EXTENSIONS.has(extensionOf(path) ?? '');

/** Whether a name promises a zip of some kind. */
export const mayBeZip = (path: string): boolean => ZIP_EXTENSIONS.has(extensionOf(path) ?? '');

/** The patterns that would take in a file: this one alone, and all of its kind. */
export function patternsTaking(path: string): readonly string[] {
  const extension = extensionOf(path);
  return extension === undefined ? [path] : [path, patternFor(extension)];
}
