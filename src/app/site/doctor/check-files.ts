import { stat } from 'node:fs/promises';
import type { VoucherConfig } from '../../config/builder.ts';
import type { ChecksumsConfig } from '../../config/checksums.ts';
import type { SignerConfig } from '../../config/signer.ts';
import { secretFileOf } from '../../../engine/keys/key-uri.ts';
import type { KeySettings } from '../../../engine/keys/open.ts';
import { PUBLIC_ROOTS } from '../../../engine/keys/trusted-roots.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

/** The files of a site whose permissions matter. */
interface SiteFiles {
  /** Files that contain a secret. */
  readonly secrets: readonly (string | undefined)[];
  /** Files that decide who and what is trusted. */
  readonly trustAnchors: readonly (string | undefined)[];
}

/** The file of a private key. If the key is in an agent, the configuration names its `.pub` file, which is not secret. */
const privateKeyFile = (key: string): string | undefined => (key.endsWith('.pub') ? undefined : key);

/** The files of a signing key that contain a secret. */
const keyFiles = ({ pfx, key, passphraseFile }: KeySettings): (string | undefined)[] => [
  pfx,
  key && secretFileOf(key),
  passphraseFile,
];

/** Timestamp roots that are files: all but the word `public`. */
const rootFiles = (names: readonly string[] = []): string[] => names.filter((name) => name !== PUBLIC_ROOTS);

/** The secret files of a section `checksums`. */
const checksumSecrets = (section: ChecksumsConfig = {}): (string | undefined)[] =>
  [section.openpgp, section.ssh, section.minisign].flatMap((settings) =>
    settings?.key === undefined ? [] : [privateKeyFile(settings.key), settings.passphraseFile],
  );

/** The files of a signer whose permissions matter. */
export function signerFiles({ file, channels, receipts, ssh }: SignerConfig): SiteFiles {
  const parts = [...channels.values()];
  return {
    secrets: [
      ...parts.flatMap(({ signing }) => [...keyFiles(signing), ...keyFiles(signing.successor ?? {})]),
      ...parts.flatMap(({ checksums }) => checksumSecrets(checksums)),
      privateKeyFile(receipts.key),
      receipts.passphraseFile,
      ssh?.identity,
      ssh?.passphraseFile,
    ],
    trustAnchors: [
      file,
      ...parts.flatMap(({ trust }) => [trust.allowedSigners, trust.revokedKeys]),
      ...parts.map(({ checksums }) => checksums?.openpgp?.publicKey),
      ...parts.flatMap(({ signing }) => [signing.roots, ...rootFiles(signing.timestampRoots)]),
      ssh?.knownHosts,
    ],
  };
}

/** The files of a builder or a voucher whose permissions matter. A voucher may have no `trust` section. */
export function builderFiles({ file, requests, ssh, trust }: Omit<VoucherConfig, 'vouch'>): SiteFiles {
  return {
    secrets: [privateKeyFile(requests.key), requests.passphraseFile, ssh?.identity, ssh?.passphraseFile],
    trustAnchors: [
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

/** The permission bits; null if there is no such file, which other checks report. */
const modeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ mode }) => mode & 0o777,
    () => null,
  );

const octal = (mode: number): string => mode.toString(8).padStart(3, '0');

/** The files that give other accounts one of the permissions in `bits`. */
async function accessible(paths: readonly string[], bits: number): Promise<{ path: string; mode: number }[]> {
  const modes = await Promise.all(
    [...new Set(paths)].map(async (path) => ({ path, mode: (await modeOf(path)) ?? 0 })),
  );
  return modes.filter(({ mode }) => (mode & bits) !== 0);
}

/** Reports secrets that other accounts on this machine can read, and trust anchors that they can change. */
export async function checkFiles({ secrets, trustAnchors }: SiteFiles): Promise<CheckResult[]> {
  if (process.platform === 'win32') return [ok('permissions are not checked on Windows')];
  const readable = await accessible(named(secrets), 0o077);
  const writable = await accessible(named(trustAnchors), 0o022);
  const results = [
    ...readable.map(({ path, mode }) =>
      warning(
        'secret-open',
        `${path} has mode ${octal(mode)}: other accounts can access it`,
        `chmod 600 ${path}`,
      ),
    ),
    ...writable.map(({ path, mode }) =>
      warning(
        'trust-writable',
        `${path} has mode ${octal(mode)}: other accounts can change it`,
        `chmod go-w ${path}`,
      ),
    ),
  ];
  return results.length > 0 ? results : [ok('no other account can read the keys or change who is trusted')];
}
