import { SignpipeError, usage } from '../../lib/errors.ts';
import { isPkcs12, keyFormatOf, pemText } from '../../lib/recognize-key-file.ts';
import { readingKeyFile, readKeyFile, warnIfOthersCanRead } from './key-file.ts';
import { passphraseMissing } from './passphrase.ts';
import { readPkcs12, type CertificateBag, type KeyBag, type Pkcs12 } from './pkcs12.ts';
import { belongsTo, signingKey, type SigningKey } from './signing-key.ts';

const SEQUENCE = 0x30;

interface PfxOptions {
  readonly path: string;
  /** If left out, the empty one is tried, which some files have. */
  readonly passphrase?: string | undefined;
  /** Which key, if there are several: its friendly name, or its certificate's common name, subject or SHA-256 (hex). */
  readonly name?: string | undefined;
  /** Called with a sentence if others can read the file. */
  readonly warn?: ((message: string) => void) | undefined;
}

/**
 * The certificates of a key: those that the file links to it, else all that belong to it. A file may hold one key
 * twice, with the old and with the renewed certificate.
 */
function certificatesOf(bag: KeyBag, store: Pkcs12): CertificateBag[] {
  const own = store.certificates.filter(({ certificate }) => belongsTo(certificate, bag.key));
  const linked = own.filter((each) => bag.localKeyId !== undefined && each.localKeyId === bag.localKeyId);
  return linked.length > 0 ? linked : own;
}

const present = (names: (string | undefined)[]): string[] =>
  names.filter((name): name is string => name !== undefined && name !== '');

const certificateNames = ({ friendlyName, certificate }: CertificateBag): string[] =>
  present([friendlyName, certificate.commonName, certificate.subject, certificate.sha256]);

const isCalled = (names: readonly string[], name: string): boolean =>
  names.some((each) => each.toLowerCase() === name.toLowerCase());

/** A key in the file, with its own certificates. */
interface KeyCandidate {
  readonly bag: KeyBag;
  readonly own: readonly CertificateBag[];
  /** All names by which it can be chosen; the first is shown to people. */
  readonly names: readonly string[];
}

function candidatesIn(store: Pkcs12): KeyCandidate[] {
  return store.keys.map((bag) => {
    const own = certificatesOf(bag, store);
    return { bag, own, names: [...present([bag.friendlyName]), ...own.flatMap(certificateNames)] };
  });
}

function chooseKey(store: Pkcs12, { path, name }: PfxOptions): KeyCandidate {
  const candidates = candidatesIn(store);
  const [first, second] = candidates;
  if (!first)
    throw usage('pfx-empty', `${path}: holds no private key`, {
      hint: 'export it again together with its private key',
    });
  const shown = candidates.map(({ names }, index) => names[0] ?? `key ${index + 1}`).join(', ');
  if (name === undefined) {
    if (!second) return first;
    throw usage('pfx-several-keys', `${path}: holds ${candidates.length} keys: ${shown}`, {
      hint: 'name one of them, or export only the one that signs',
    });
  }
  const [chosen, another] = candidates.filter(({ names }) => isCalled(names, name));
  if (chosen && !another) return chosen;
  const why = chosen ? 'several keys are' : 'no key is';
  throw usage('pfx-no-such-key', `${path}: ${why} called ${name}; it holds: ${shown}`, {
    hint: "use the SHA-256 of the key's certificate, which is unique",
  });
}

const PEM_PFX = /-----BEGIN PKCS12-----([A-Za-z0-9+/=\s]+)-----END PKCS12-----/;
/** A PFX in base64 alone begins with a SEQUENCE that is longer than 255 bytes. */
const BASE64_PFX = /^MI[I-L][A-Za-z0-9+/=\s]+$/;

/**
 * The bytes of a PKCS#12 file, which may be in PEM, or in base64 as secrets of CI systems are. Throws
 * `pfx-other-format` if the file has another known format.
 */
function pkcs12Bytes(bytes: Buffer, path: string): Buffer {
  const text = bytes[0] === SEQUENCE ? '' : pemText(bytes);
  const base64 = PEM_PFX.exec(text)?.[1] ?? BASE64_PFX.exec(text)?.[0];
  const content = base64 === undefined ? bytes : Buffer.from(base64, 'base64');
  const format = keyFormatOf(content);
  if (format === null || isPkcs12(format)) return content;
  throw usage('pfx-other-format', `${path}: is ${format.what}, not a PKCS#12 file (.pfx, .p12)`, {
    hint: format.hint,
  });
}

async function openFile({ path, passphrase, warn }: PfxOptions): Promise<Pkcs12> {
  const bytes = pkcs12Bytes(await readKeyFile(path, 'pfx'), path);
  if (warn) await warnIfOthersCanRead(path, 'the private key', warn);
  try {
    return await readingKeyFile('pfx-malformed', () => readPkcs12(bytes, passphrase ?? '', path));
  } catch (error) {
    const isWrong = error instanceof SignpipeError && error.code === 'pfx-wrong-passphrase';
    throw isWrong && passphrase === undefined ? passphraseMissing(path) : error;
  }
}

/**
 * Opens a signing key from a PKCS#12 file (`.pfx`, `.p12`).
 *
 * Throws usage errors: `pfx-wrong-passphrase`, `key-passphrase-missing`, `pfx-malformed`, `pfx-too-large`,
 * `pfx-other-format`, `pfx-empty`, `pfx-no-certificate`, `pfx-several-keys`, `pfx-no-such-key`, `pfx-unsupported`,
 * `key-does-not-match`, `key-too-weak`, `key-unsupported`, `key-iterations`.
 */
export async function openPfxKey(options: PfxOptions): Promise<SigningKey> {
  const store = await openFile(options);
  const { bag, own } = chooseKey(store, options);
  if (store.certificates.length === 0)
    throw usage('pfx-no-certificate', `${options.path}: holds a key but no certificate`, {
      hint: 'export it again together with its certificate',
    });
  const { name } = options;
  const named = own.filter((each) => name !== undefined && isCalled(certificateNames(each), name));
  const leaves = named.length > 0 ? named : own;
  const others = store.certificates.filter(({ certificate }) => !belongsTo(certificate, bag.key));
  return signingKey(
    bag.key,
    [...leaves, ...others].map(({ certificate }) => certificate),
    options.path,
  );
}
