import { readAll, withFile } from '../io/source.ts';
import { SignpipeError, usage } from '../errors.ts';
import { readPkcs12, type KeyBag, type Pkcs12 } from './pkcs12.ts';
import { matches, signingKey, type SigningKey } from './signing-key.ts';

/** A PFX with a long chain has some ten kilobytes. */
export const LARGEST_KEY_FILE = 1024 * 1024;

export interface PfxOptions {
  readonly path: string;
  /** Left out means none was given; an empty one is tried then, as some files have that. */
  readonly passphrase?: string | undefined;
  /**
   * Which key, when there are several: its friendly name, or its certificate's common name, subject
   * or SHA-256 in hex.
   */
  readonly name?: string | undefined;
}

/** The whole of a small file; throws `CODE-too-large`. */
export async function readKeyFile(path: string, code: string): Promise<Buffer> {
  return withFile(path, (file) => {
    if (file.size <= LARGEST_KEY_FILE) return readAll(file, LARGEST_KEY_FILE);
    throw usage(`${code}-too-large`, `${path}: ${file.size} bytes are too many for a key`, {
      hint: 'Check that this is the right file',
    });
  });
}

/** A key's names, the friendliest first. */
function namesOf(bag: KeyBag, { certificates }: Pkcs12): string[] {
  const own = certificates.filter(({ certificate }) => matches(certificate, bag.key));
  const names = [
    bag.friendlyName,
    ...own.map((entry) => entry.friendlyName),
    ...own.flatMap(({ certificate: c }) => [c.commonName, c.subject, c.sha256]),
  ];
  return names.filter((name): name is string => name !== undefined && name !== '');
}

function chooseKey(store: Pkcs12, { path, name }: PfxOptions): KeyBag {
  const [first, second] = store.keys;
  if (!first)
    throw usage('pfx-empty', `${path}: holds no private key`, {
      hint: 'Export it again together with its private key',
    });
  const listed = store.keys.map((bag) => ({ bag, names: namesOf(bag, store) }));
  const shown = listed.map(({ names }, index) => names[0] ?? `key ${index + 1}`).join(', ');
  if (name === undefined) {
    if (!second) return first;
    throw usage('pfx-several-keys', `${path}: holds ${store.keys.length} keys: ${shown}`, {
      hint: 'Name one of them, or export only the one that signs',
    });
  }
  const wanted = name.toLowerCase();
  const [chosen, another] = listed.filter(({ names }) => names.some((n) => n.toLowerCase() === wanted));
  if (chosen && !another) return chosen.bag;
  const why = chosen ? 'several keys are' : 'no key is';
  throw usage('pfx-no-such-key', `${path}: ${why} called ${name}; it holds: ${shown}`, {
    hint: "Use the SHA-256 of the key's certificate, which is unique",
  });
}

/** Broken bytes in a key file are a matter of configuration, and keep nobody's request from being signed later. */
function asMalformed(error: unknown, code: string): unknown {
  if (!(error instanceof SignpipeError) || error.kind !== 'invalid') return error;
  return usage(code, error.message, { hint: 'The file is damaged, or not of this kind', cause: error });
}

/** Runs `read`, and turns broken bytes into a usage error with `code`. */
export async function readingKey<T>(code: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw asMalformed(error, code);
  }
}

async function open({ path, passphrase }: PfxOptions): Promise<Pkcs12> {
  const bytes = await readKeyFile(path, 'pfx');
  try {
    return await readingKey('pfx-malformed', () => readPkcs12(bytes, passphrase ?? '', path));
  } catch (error) {
    const unopened = error instanceof SignpipeError && error.code === 'pfx-wrong-passphrase';
    if (!unopened || passphrase !== undefined) throw error;
    throw usage('key-passphrase-missing', `${path}: needs a passphrase`, {
      hint: 'Give it by passphraseFile, SIGNPIPE_PASSPHRASE, or at the prompt',
    });
  }
}

/**
 * A signing key from a PKCS#12 file (`.pfx`, `.p12`).
 *
 * Throws usage errors: `pfx-wrong-passphrase`, `key-passphrase-missing`, `pfx-malformed`, `pfx-too-large`,
 * `pfx-empty`, `pfx-no-certificate`, `pfx-several-keys`, `pfx-no-such-key`, `pfx-unsupported`,
 * `key-does-not-match`, `key-too-weak`, `key-unsupported`, `key-encryption-unsupported`, `key-iterations`.
 */
export async function loadPfx(options: PfxOptions): Promise<SigningKey> {
  const store = await open(options);
  const { key, localKeyId } = chooseKey(store, options);
  if (store.certificates.length === 0)
    throw usage('pfx-no-certificate', `${options.path}: holds a key but no certificate`, {
      hint: 'Export it again together with its certificate',
    });
  // A renewed certificate may share its key with the old one: the file's own link decides first.
  const linked = store.certificates.filter(
    (entry) => localKeyId !== undefined && entry.localKeyId === localKeyId && matches(entry.certificate, key),
  );
  const all = store.certificates.map(({ certificate }) => certificate);
  const others = all.filter((certificate) => !matches(certificate, key));
  const own = linked.length > 0 ? linked.map(({ certificate }) => certificate) : all;
  return signingKey(key, [...own, ...others], options.path);
}
