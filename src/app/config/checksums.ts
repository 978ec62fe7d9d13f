import { z } from 'zod';
import { resolveCommand } from '../../lib/command/resolve-command.ts';
import { commandLine } from './command-line.ts';
import { path, resolvePaths, type ResolvePath } from './common-sections.ts';

/** What is wrong with the keys of `checksums.openpgp` together, or null. */
function openpgpProblem({
  key,
  passphraseFile,
  command,
  publicKey,
}: Partial<Record<'key' | 'passphraseFile' | 'command' | 'publicKey', unknown>>): string | null {
  if ((key === undefined) === (command === undefined))
    return 'must have either key, a file, or command, a program that signs';
  if (key !== undefined) return publicKey === undefined ? null : 'publicKey belongs to command, not to key';
  if (passphraseFile !== undefined) return 'passphraseFile belongs to key, not to command';
  return publicKey === undefined ? 'publicKey is missing: what command signs is verified with it' : null;
}

const openpgp = z
  .strictObject({
    key: path.optional(),
    passphraseFile: path.optional(),
    command: commandLine.optional(),
    publicKey: path.optional(),
  })
  .superRefine((settings, context) => {
    const message = openpgpProblem(settings);
    if (message !== null) context.addIssue({ code: 'custom', message });
  });

const keyFile = z.strictObject({ key: path, passphraseFile: path.optional() });

/** The section `checksums`: which keys sign the checksum files; without a key, the files are not signed. */
export const checksums = z.strictObject({
  openpgp: openpgp.optional(),
  ssh: keyFile.optional(),
  minisign: keyFile.optional(),
});

/** The section `checksums` of a channel. */
export type ChecksumsConfig = z.output<typeof checksums>;

/** Makes the paths of a section `checksums` absolute, and that of a program. */
export function resolveChecksums(
  { openpgp: pgp, ssh, minisign }: ChecksumsConfig,
  resolve: ResolvePath,
): ChecksumsConfig {
  return {
    ...(pgp && {
      openpgp: {
        ...resolvePaths(pgp, resolve),
        ...(pgp.command && { command: resolveCommand(pgp.command, resolve) }),
      },
    }),
    ...(ssh && { ssh: resolvePaths(ssh, resolve) }),
    ...(minisign && { minisign: resolvePaths(minisign, resolve) }),
  };
}
