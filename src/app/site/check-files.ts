import { stat } from 'node:fs/promises';
import type { VoucherConfig } from '../config/builder.ts';
import type { SignerConfig } from '../config/signer.ts';
import { PUBLIC_ROOTS } from '../../engine/keys/trusted-roots.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

/** The files of a site whose permissions matter. */
export interface SiteFiles {
  /** What holds a secret. */
  readonly secrets: readonly (string | undefined)[];
  /** What decides whom we trust. */
  readonly anchors: readonly (string | undefined)[];
}

/** A key that an agent holds is named by its `.pub` file, which is no secret. */
const privateFile = (key: string): string | undefined => (key.endsWith('.pub') ? undefined : key);

/** The roots of timestamps that are files; the package's own are none. */
const rootFiles = (names: readonly string[] = []): string[] => names.filter((name) => name !== PUBLIC_ROOTS);

/** The files of a signer whose permissions matter. */
export function signerFiles({ file, channels, receipts, ssh }: SignerConfig): SiteFiles {
  const parts = [...channels.values()];
  return {
    secrets: [
      ...parts.flatMap(({ signing: { pfx, key, passphraseFile } }) => [pfx, key, passphraseFile]),
      privateFile(receipts.key),
      receipts.passphraseFile,
      ssh?.identity,
      ssh?.passphraseFile,
    ],
    anchors: [
      file,
      ...parts.flatMap(({ trust }) => [trust.allowedSigners, trust.revokedKeys]),
      ...parts.flatMap(({ signing }) => [signing.roots, ...rootFiles(signing.timestampRoots)]),
      ssh?.knownHosts,
    ],
  };
}

/** The files of a builder or a voucher whose permissions matter. A voucher may trust no receipts. */
export function builderFiles({ file, requests, ssh, trust }: Omit<VoucherConfig, 'vouch'>): SiteFiles {
  return {
    secrets: [privateFile(requests.key), requests.passphraseFile, ssh?.identity, ssh?.passphraseFile],
    anchors: [
      file,
      trust?.allowedSigners,
      trust?.roots,
      ...rootFiles(trust?.timestampRoots),
      ssh?.knownHosts,
    ],
  };
}

const named = (paths: readonly (string | undefined)[]): string[] =>
  paths.filter((path) => path !== undefined);

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
export async function checkFiles({ secrets, anchors }: SiteFiles): Promise<CheckResult[]> {
  if (process.platform === 'win32') return [ok('permissions are not looked at on Windows')];
  const readable = await open(named(secrets), 0o077);
  const writable = await open(named(anchors), 0o022);
  const results = [
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
  return results.length > 0 ? results : [ok('nobody else can read the keys, or change whom they trust')];
}
