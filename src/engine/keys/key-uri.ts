import { usage } from '../../lib/errors.ts';
import { parseAwsUri } from './cloud/aws-uri.ts';
import { parseAzureUri } from './cloud/azure-uri.ts';
import { parseGoogleUri } from './cloud/google-uri.ts';
import { parseArtifactSigningUri } from './artifact-signing/uri.ts';
import { checkExecUri, programOf, requireCertificate } from './command/command-line.ts';
import { resolveProgram } from '../../lib/command/resolve-command.ts';
import { parsePkcs11Uri, resolvePkcs11Uri } from './pkcs11/uri.ts';
import type { SigningKey } from './signing-key.ts';
import type { UriKeyOptions } from './uri-key-options.ts';

/** A kind of key that a URI names. Its code is loaded, only for speed, when such a key is used. */
interface UriKeyKind {
  /** Throws usage errors, without any I/O, for a URI that cannot be right; the configuration reports them. */
  readonly check: (uri: string, certificate: string | undefined) => void;
  readonly open: (options: UriKeyOptions) => Promise<SigningKey>;
  /** Makes the paths in a URI absolute; a kind whose URIs hold no path has none. */
  readonly resolve?: (uri: string, resolvePath: (path: string) => string) => string;
  /** The file with a secret that a URI names, if any. */
  readonly secretFile?: (uri: string) => string | undefined;
}

/** A key in a service, which does not have its certificate. */
const cloudKind = (
  scheme: string,
  parse: (uri: string) => unknown,
  load: () => Promise<UriKeyKind['open']>,
): [string, UriKeyKind] => [
  scheme,
  {
    check: (uri, certificate) => {
      parse(uri);
      requireCertificate(scheme, certificate);
    },
    open: async (options) => (await load())(options),
  },
];

/** By scheme. Another kind is another entry here, and one file that implements `SigningKey`. */
const KINDS: ReadonlyMap<string, UriKeyKind> = new Map<string, UriKeyKind>([
  [
    'pkcs11',
    {
      check: (uri) => void parsePkcs11Uri(uri),
      open: async (options) => (await import('./pkcs11/open.ts')).openPkcs11Key(options),
      resolve: resolvePkcs11Uri,
      secretFile: (uri) => parsePkcs11Uri(uri).pinFile,
    },
  ],
  [
    'artifactsigning',
    {
      check: (uri) => void parseArtifactSigningUri(uri),
      open: async (options) => (await import('./artifact-signing/open.ts')).openArtifactSigningKey(options),
    },
  ],
  [
    'exec',
    {
      check: checkExecUri,
      open: async ({ uri, certificate, ...options }) => {
        const { openCommandKey } = await import('./command/command-key.ts');
        const command = [programOf(uri)];
        return openCommandKey({ ...options, command, certificate: requireCertificate(uri, certificate) });
      },
      resolve: (uri, resolvePath) => `exec:${resolveProgram(programOf(uri), resolvePath)}`,
    },
  ],
  cloudKind('awskms', parseAwsUri, async () => (await import('./cloud/aws-kms.ts')).openAwsKey),
  cloudKind('gcpkms', parseGoogleUri, async () => (await import('./cloud/google-kms.ts')).openGoogleKey),
  cloudKind('azurekms', parseAzureUri, async () => (await import('./cloud/azure-key-vault.ts')).openAzureKey),
]);

/** A URI's scheme (RFC 3986, 3.1); one letter is a drive of Windows. */
const SCHEME = /^([a-z][a-z0-9+.-]+):/i;

const schemeOf = (key: string): string | undefined => SCHEME.exec(key)?.[1]?.toLowerCase();

/** Whether a key is named by a URI, and not by the path of a file. */
export const isKeyUri = (key: string): boolean => schemeOf(key) !== undefined;

/** Throws `key-scheme` (usage) for a scheme that no kind of key has. */
function kindOf(uri: string): UriKeyKind {
  const scheme = schemeOf(uri) ?? '';
  const kind = KINDS.get(scheme);
  if (kind) return kind;
  throw usage('key-scheme', `${scheme}: is not a kind of key that a URI can name`, {
    hint: `use ${[...KINDS.keys()].join(':, ')}:, or write ./ in front of the path of a file`,
  });
}

/** Checks what can be checked of a URI without opening its key. Throws `key-scheme` (usage), and what its kind throws. */
export const checkUri = (uri: string, certificate: string | undefined): void =>
  kindOf(uri).check(uri, certificate);

/** Opens the key that a URI names. Throws `key-scheme` (usage), and what its kind throws. */
export const openUriKey = async (options: UriKeyOptions): Promise<SigningKey> =>
  kindOf(options.uri).open(options);

/** Makes the paths of `signing.key` absolute: the path itself, or those in a URI. */
export function resolveKey(key: string, resolvePath: (path: string) => string): string {
  if (!isKeyUri(key)) return resolvePath(key);
  return KINDS.get(schemeOf(key) ?? '')?.resolve?.(key, resolvePath) ?? key;
}

/** The file with a secret that `signing.key` is, or that its URI names; undefined if there is none. */
export const secretFileOf = (key: string): string | undefined =>
  isKeyUri(key) ? KINDS.get(schemeOf(key) ?? '')?.secretFile?.(key) : key;

/** Whether a URI names a program that signs. */
export const isCommandUri = (uri: string): boolean => schemeOf(uri) === 'exec';

/** Whether `signing.key` is on a PKCS#11 token. */
export const isTokenKey = (key: string | undefined): key is string =>
  key !== undefined && schemeOf(key) === 'pkcs11';
