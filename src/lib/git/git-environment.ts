/**
 * What fsck refuses for the sake of a work tree. Here is none, and one commit with such a file, which stays in
 * history for good, would stop every fetch for good. (A git that does not know one of them warns.)
 */
const WORK_TREE_CHECKS = [
  'gitmodulesBlob',
  'gitmodulesLarge',
  'gitmodulesMissing',
  'gitmodulesName',
  'gitmodulesParse',
  'gitmodulesPath',
  'gitmodulesSymlink',
  'gitmodulesUpdate',
  'gitmodulesUrl',
  'gitattributesBlob',
  'gitattributesLarge',
  'gitattributesLineLength',
  'gitattributesMissing',
  'gitattributesSymlink',
  'gitignoreSymlink',
  'mailmapSymlink',
];

/**
 * How every git process is run, whatever the account's or the machine's configuration says:
 *
 * - no system or user configuration, no attributes, no replace refs, no prompts, messages in English
 *   (they are read to tell one failure from another);
 * - only the ssh and file transports: a URL such as `ext::sh -c …` runs nothing;
 * - no hooks of ours, no submodules, no background gc (`ControlRepository.maintain` packs);
 * - every object that arrives is checked as `git fsck` would, and what we write is flushed.
 *
 * Everything goes by environment or `-c`, so that nothing in the clone's own configuration matters.
 */
export const GIT_CONFIG: readonly string[] = [
  'core.hooksPath=/dev/null',
  // Larger objects are streamed and never held in memory, whoever sent them.
  'core.bigFileThreshold=4m',
  'core.fsync=all',
  'core.fsyncMethod=fsync',
  'core.logAllRefUpdates=false',
  'core.warnAmbiguousRefs=false',
  // Parents are read from the commits; a commit-graph file is somebody's word about them.
  'core.commitGraph=false',
  'fetch.fsckObjects=true',
  'transfer.fsckObjects=true',
  ...WORK_TREE_CHECKS.map((check) => `fetch.fsck.${check}=ignore`),
  // One growing pack a fetch, so that its size can be watched; see ControlRepository.fetch.
  'fetch.unpackLimit=1',
  'fetch.recurseSubmodules=false',
  'submodule.recurse=false',
  'gc.auto=0',
  'maintenance.auto=false',
  'protocol.version=2',
  'advice.detachedHead=false',
];

/** Taken over from our own environment: where programs are, and where ssh finds its agent and home. */
const INHERITED = ['PATH', 'HOME', 'USER', 'LOGNAME', 'TMPDIR', 'SSH_AUTH_SOCK'];

const OWN: Record<string, string> = {
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
  GIT_NO_REPLACE_OBJECTS: '1',
  // What a partial clone lacks is missing, and no program that its configuration names goes and gets it.
  GIT_NO_LAZY_FETCH: '1',
  GIT_ALLOW_PROTOCOL: 'ssh:file',
  GIT_ADVICE: '0',
};

/** The whole environment of a git process on the bare repository at `gitDir`. */
export function gitEnvironment(gitDir: string): Record<string, string> {
  const inherited = INHERITED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return { ...OWN, GIT_DIR: gitDir, ...(Object.fromEntries(inherited) as Record<string, string>) };
}
