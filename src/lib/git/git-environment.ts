import { inheritedEnvironment } from '../child-environment.ts';

/**
 * Checks of fsck that protect a work tree. There is none here, and one commit with such a file, which stays in the history,
 * would make every later fetch fail. (A git that does not know one of these checks only warns.)
 */
const WORK_TREE_CHECKS = [
  ...'Blob Large Missing Name Parse Path Symlink Update Url'.split(' ').map((check) => `gitmodules${check}`),
  ...'Blob Large LineLength Missing Symlink'.split(' ').map((check) => `gitattributes${check}`),
  'gitignoreSymlink',
  'mailmapSymlink',
];

/**
 * The configuration of every git process, independent of that of the account and the machine:
 *
 * - no system or user configuration, no attributes, no replace refs, no prompts, messages in English
 *   (they are parsed to distinguish failures);
 * - only the ssh and file transports: a URL such as `ext::sh -c …` runs nothing;
 * - no hooks, no submodules, no background gc;
 * - received objects are checked as by `git fsck`, and written ones are flushed to disk.
 *
 * All of it is set by environment or `-c`, which overrides the configuration of the repository itself.
 */
export const GIT_CONFIG: readonly string[] = [
  'core.hooksPath=/dev/null',
  // Larger objects are streamed and never held in memory.
  'core.bigFileThreshold=4m',
  'core.fsync=all',
  'core.fsyncMethod=fsync',
  'core.logAllRefUpdates=false',
  'core.warnAmbiguousRefs=false',
  // Parents are read from the commits; a commit-graph file could claim others.
  'core.commitGraph=false',
  'fetch.fsckObjects=true',
  'transfer.fsckObjects=true',
  ...WORK_TREE_CHECKS.map((check) => `fetch.fsck.${check}=ignore`),
  // A fetch writes one growing pack, so that its size can be limited; see fetch-limit.ts.
  'fetch.unpackLimit=1',
  'fetch.recurseSubmodules=false',
  'submodule.recurse=false',
  'gc.auto=0',
  'maintenance.auto=false',
  'protocol.version=2',
  'advice.detachedHead=false',
];

const OWN: Record<string, string> = {
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
  GIT_NO_REPLACE_OBJECTS: '1',
  // Objects that a partial clone lacks stay missing; no program that its configuration names fetches them.
  GIT_NO_LAZY_FETCH: '1',
  GIT_ALLOW_PROTOCOL: 'ssh:file',
  GIT_ADVICE: '0',
};

/** The whole environment of a git process on the bare repository at `gitDir`. */
export function gitEnvironment(gitDir: string): Record<string, string> {
  return { ...OWN, GIT_DIR: gitDir, ...inheritedEnvironment(['SSH_AUTH_SOCK']) };
}
