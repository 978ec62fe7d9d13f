import { usage } from '../../lib/errors.ts';
import { findPassphrase } from './passphrase.ts';
import { isKeyUri, openUriKey } from './key-uri.ts';
import { requireUsable, type SigningKey } from './signing-key.ts';

/** The settings that name a signing key: keys under `signing` in signer.yaml, and flags of `sign`. */
export const KEY_SETTINGS = ['pfx', 'certificate', 'key', 'keyName', 'passphraseFile'] as const;

/** Values of `KEY_SETTINGS`; all but `keyName` are paths. */
export type KeySettings = { readonly [Name in (typeof KEY_SETTINGS)[number]]?: string | undefined };

/**
 * Where a signing key is, as plain data: a private key in PEM beside its certificates, a key in a PKCS#12 file, or one
 * that a URI names.
 */
type KeyDescription = { readonly passphraseFile?: string | undefined } & (
  | { readonly kind: 'pem'; readonly certificate: string; readonly key: string }
  | { readonly kind: 'pkcs12'; readonly file: string; readonly name: string | undefined }
  | {
      readonly kind: 'uri';
      readonly uri: string;
      readonly certificate: string | undefined;
    }
);

/** The key that settings name. Throws `key-missing` (usage) unless they name exactly one. */
export function describeKey(settings: KeySettings): KeyDescription {
  const { pfx, certificate, key, keyName: name, passphraseFile } = settings;
  if (pfx !== undefined && (certificate ?? key) !== undefined)
    throw usage('key-missing', 'two signing keys', {
      hint: 'give either signing.pfx, or signing.certificate and signing.key, not both',
    });
  if (pfx !== undefined) return { kind: 'pkcs12', file: pfx, name, passphraseFile };
  if (key !== undefined && isKeyUri(key)) return { kind: 'uri', uri: key, certificate, passphraseFile };
  if (certificate !== undefined && key !== undefined)
    return { kind: 'pem', certificate, key, passphraseFile };
  throw usage('key-missing', 'no signing key', {
    hint: 'give signing.pfx, or signing.certificate and signing.key',
  });
}

interface OpenKeyOptions {
  /** Called with a sentence, without secrets, about a key or passphrase file that other users can read. */
  readonly warn: (message: string) => void;
  /** Asks a person for the passphrase of a file. Left out if there is no person: the signer never asks. */
  readonly ask?: ((file: string) => Promise<string | undefined>) | undefined;
  /** Refuses a certificate that may not sign programs at this time; see `requireUsable`. Not checked if left out. */
  readonly usableAt?: Date | undefined;
}

/**
 * Opens the signing key that a description names, with certificates that belong to it. The caller closes it.
 * The passphrase comes from its file, else from SIGNPIPE_PASSPHRASE, else from `ask`.
 *
 * Throws usage errors: those of `findPassphrase`, `requireUsable`, `openPemKey` and `openPfxKey`.
 */
export async function openSigningKey(
  description: KeyDescription,
  options: OpenKeyOptions,
): Promise<SigningKey> {
  const key = await openByKind(description, options);
  try {
    if (options.usableAt) requireUsable(key, options.usableAt);
    return key;
  } catch (error) {
    await key.close();
    throw error;
  }
}

/** Only for speed: a kind's code is loaded when such a key is opened. */
async function openByKind(description: KeyDescription, { warn, ask }: OpenKeyOptions): Promise<SigningKey> {
  if (description.kind === 'uri') {
    const { uri, certificate } = description;
    return openUriKey({ uri, certificate, ask, warn });
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
