import type { DigestName } from '../../lib/asn1/oids.ts';
import { usage } from '../../lib/errors.ts';
import { findPassphrase } from './passphrase.ts';
import { requireCertificate } from './command/command-line.ts';
import { checkUri, isCommandUri, isKeyUri, openUriKey } from './key-uri.ts';
import { requireOwnSettings } from './settings-of-kinds.ts';
import type { ExternalKeySettings } from './uri-key-options.ts';
import { requireDigest, requireUsable, type SigningKey } from './signing-key.ts';

/** The settings that name a signing key: keys under `signing` in signer.yaml, and flags of `sign`. */
export const KEY_SETTINGS = [
  'pfx',
  'certificate',
  'key',
  'keyName',
  'passphraseFile',
  'command',
  'commandEnvironment',
  'concurrency',
  'keyTimeout',
] as const;

/** Values of `KEY_SETTINGS`. */
export interface KeySettings extends ExternalKeySettings {
  /** A path. */
  readonly pfx?: string | undefined;
  /** A path. */
  readonly certificate?: string | undefined;
  /** A path or a URI. */
  readonly key?: string | undefined;
  readonly keyName?: string | undefined;
  /** A path. */
  readonly passphraseFile?: string | undefined;
  /** A program that signs digests, and its arguments; instead of `key`. */
  readonly command?: readonly [string, ...string[]] | undefined;
}

interface FileSettings {
  /** A path. */
  readonly passphraseFile: string | undefined;
}

/**
 * Where a signing key is, as plain data: a private key in PEM beside its certificates, a key in a PKCS#12 file, one that a
 * URI names, or one that a command uses.
 */
type KeyDescription =
  | ({ readonly kind: 'pem'; readonly certificate: string; readonly key: string } & FileSettings)
  | ({ readonly kind: 'pkcs12'; readonly file: string; readonly name: string | undefined } & FileSettings)
  | ({
      readonly kind: 'uri';
      readonly uri: string;
      readonly certificate: string | undefined;
    } & ExternalKeySettings)
  | ({
      readonly kind: 'command';
      readonly command: readonly [string, ...string[]];
      readonly certificate: string;
    } & ExternalKeySettings);

/** Settings that only keys outside of this process have. */
const externalSettings = ({
  commandEnvironment,
  concurrency,
  keyTimeout,
}: KeySettings): ExternalKeySettings => ({ commandEnvironment, concurrency, keyTimeout });

/**
 * The key that settings name. Throws `key-missing` (usage) unless they name exactly one, `key-setting` (usage) if it has no
 * such setting, and what `checkUri` throws.
 */
export function describeKey(settings: KeySettings): KeyDescription {
  const description = descriptionOf(settings);
  const { kind } = description;
  const isCommand = kind === 'command' || (kind === 'uri' && isCommandUri(description.uri));
  requireOwnSettings(isCommand ? 'command' : kind === 'uri' ? 'elsewhere' : kind, settings);
  return description;
}

function descriptionOf(settings: KeySettings): KeyDescription {
  const { pfx, certificate, key, keyName: name, passphraseFile, command } = settings;
  if (
    (pfx !== undefined && (certificate ?? key ?? command) !== undefined) ||
    (key !== undefined && command !== undefined)
  )
    throw usage('key-missing', 'two signing keys', {
      hint: 'give either signing.pfx, or signing.certificate and one of signing.key and signing.command, not both',
    });
  if (pfx !== undefined) return { kind: 'pkcs12', file: pfx, name, passphraseFile };
  const external = externalSettings(settings);
  if (key !== undefined && isKeyUri(key)) {
    checkUri(key, certificate);
    return { kind: 'uri', uri: key, certificate, ...external };
  }
  if (command !== undefined)
    return {
      kind: 'command',
      command,
      certificate: requireCertificate(command[0], certificate),
      ...external,
    };
  if (certificate !== undefined && key !== undefined)
    return { kind: 'pem', certificate, key, passphraseFile };
  throw usage('key-missing', 'no signing key', {
    hint: 'give signing.pfx, or signing.certificate and signing.key; the URI of a token as signing.key needs no certificate',
  });
}

interface OpenKeyOptions {
  /** Called with a sentence, without secrets, about a key or passphrase file that other users can read. */
  readonly warn: (message: string) => void;
  /**
   * Asks a person for the passphrase of a file, or for another `secret`, such as the PIN for a token. Left out if there is
   * no person: the signer never asks.
   */
  readonly ask?: ((what: string, secret?: string) => Promise<string | undefined>) | undefined;
  /** Refuses a certificate that may not sign programs at this time; see `requireUsable`. Not checked if left out. */
  readonly usableAt?: Date | undefined;
  /** Refuses a key that cannot sign digests of this kind; see `requireDigest`. Not checked if left out. */
  readonly digest?: DigestName | undefined;
}

/**
 * Opens the signing key that a description names, with certificates that belong to it. The caller closes it.
 * The passphrase comes from its file, else from SIGNPIPE_PASSPHRASE, else from `ask`.
 *
 * Throws usage errors: those of `findPassphrase`, `requireUsable`, `requireDigest`, `openPemKey` and `openPfxKey`.
 */
export async function openSigningKey(
  description: KeyDescription,
  options: OpenKeyOptions,
): Promise<SigningKey> {
  const key = await openByKind(description, options);
  try {
    if (options.usableAt) requireUsable(key, options.usableAt);
    if (options.digest) requireDigest(key, options.digest);
    return key;
  } catch (error) {
    await key.close();
    throw error;
  }
}

/** Only for speed: a kind's code is loaded when such a key is opened. */
async function openByKind(description: KeyDescription, { warn, ask }: OpenKeyOptions): Promise<SigningKey> {
  if (description.kind === 'uri') {
    return openUriKey({ ...description, ask, warn });
  }
  if (description.kind === 'command') {
    const { openCommandKey } = await import('./command/command-key.ts');
    return openCommandKey({ ...description, warn });
  }
  const passphrase = await findPassphrase({ file: description.passphraseFile, warn });
  switch (description.kind) {
    case 'pem': {
      const { openPemKey } = await import('./pem.ts');
      const { certificate, key } = description;
      return openPemKey({ certificate, key, passphrase, ask: ask && (() => ask(key)), warn });
    }
    case 'pkcs12': {
      const { openPfxKey } = await import('./pfx.ts');
      const { file, name } = description;
      return openPfxKey({ path: file, passphrase: passphrase ?? (await ask?.(file)), name, warn });
    }
  }
}
