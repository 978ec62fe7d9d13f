import { stat } from 'node:fs/promises';
import type { SignerConfig } from '../config/signer.ts';
import { PUBLIC_ROOTS } from '../keys/roots.ts';
import { ok, warning, type Verdict } from './finding.ts';

const isPath = (path: string | undefined): path is string => path !== undefined;

/** What holds a secret. */
function secrets({ channels, receipts, ssh }: SignerConfig): string[] {
  const signing = [...channels.values()].map((channel) => channel.signing);
  return [
    ...signing.flatMap(({ pfx, key, passphraseFile }) => [pfx, key, passphraseFile]),
    receipts.key.endsWith('.pub') ? undefined : receipts.key,
    receipts.passphraseFile,
    ssh?.identity,
    ssh?.passphraseFile,
  ].filter(isPath);
}

/** What decides whom we trust. */
function anchors({ file, channels, ssh }: SignerConfig): string[] {
  const parts = [...channels.values()].flatMap(({ signing, trust }) => [
    trust.allowedSigners,
    trust.revokedKeys,
    signing.roots,
    ...(signing.timestampRoots ?? []).filter((name) => name !== PUBLIC_ROOTS),
  ]);
  return [file, ...parts, ssh?.knownHosts].filter(isPath);
}

/** Permission bits; null where there is no such file, which is for others to tell. */
const modeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ mode }) => mode & 0o777,
    () => null,
  );

const octal = (mode: number): string => mode.toString(8).padStart(3, '0');

async function open(paths: readonly string[], bits: number): Promise<{ path: string; mode: number }[]> {
  const modes = await Promise.all(
    [...new Set(paths)].map(async (path) => ({ path, mode: (await modeOf(path)) ?? 0 })),
  );
  return modes.filter(({ mode }) => (mode & bits) !== 0);
}

/** Secrets that others on this machine can read, and trust that they can change. */
export async function checkFiles(config: SignerConfig): Promise<Verdict[]> {
  if (process.platform === 'win32') return [ok('permissions are not looked at on Windows')];
  const readable = await open(secrets(config), 0o077);
  const writable = await open(anchors(config), 0o022);
  const verdicts = [
    ...readable.map(({ path, mode }) =>
      warning('secret-open', `${path} has mode ${octal(mode)}: others can get at it`, `chmod 600 ${path}`),
    ),
    ...writable.map(({ path, mode }) =>
      warning(
        'trust-writable',
        `${path} has mode ${octal(mode)}: others can change it`,
        `chmod go-w ${path}`,
      ),
    ),
  ];
  return verdicts.length > 0 ? verdicts : [ok('nobody else can read the keys, or change whom they trust')];
}
