import { extensionOf } from './file-extension.ts';
import { FORMATS } from './registry.ts';

/*
 * File names of programs. A file is recognised by its content if that can be read; names only decide which files a
 * site signs by default, and whether a file that cannot be read may be a program.
 */

/** Further extensions of PE files, which few releases have. */
const OTHER_EXTENSIONS = 'acm ax bpl ime mun node pyd tsp xll'.split(' ');

/** Extensions of zips, packages among them. */
const ZIP_EXTENSIONS: ReadonlySet<string> = new Set(
  'zip jar war ear apk aab xpi whl nupkg snupkg vsix appx appxbundle msix msixbundle'.split(' '),
);

const PROGRAM_EXTENSIONS: ReadonlySet<string> = new Set([
  ...FORMATS.filter(({ byName }) => !byName).flatMap(({ extensions }) => extensions),
  ...OTHER_EXTENSIONS,
]);

const patternFor = (extension: string): string => `**/*.${extension}`;

/**
 * Patterns of the entries of a zip that are ours by default. They stay as they are when more formats can be signed:
 * an upgrade must not sign what was left alone before.
 */
export const DEFAULT_FILES: readonly string[] = ['exe', 'dll'].map(patternFor);

/** Whether a file may be a program that Windows runs or loads, by its name alone. */
export const mayBeProgram = (path: string): boolean => PROGRAM_EXTENSIONS.has(extensionOf(path) ?? '');

/** Whether a name is that of some kind of zip. */
export const mayBeZip = (path: string): boolean => ZIP_EXTENSIONS.has(extensionOf(path) ?? '');

/** Patterns that match a file: one for this file alone, and one for all with its extension. */
export function patternsMatching(path: string): readonly string[] {
  const extension = extensionOf(path);
  return extension === undefined ? [path] : [path, patternFor(extension)];
}
