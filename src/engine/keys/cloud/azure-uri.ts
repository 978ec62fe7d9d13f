import {
  afterScheme,
  badUri,
  looksLikeHost,
  readAttributes,
  takeHost,
  takePart,
  type UriKind,
} from './uri-parts.ts';

/** Where a key of Azure Key Vault or Managed HSM is. */
export interface AzureKeyUri {
  /** The vault's host, with a port if it has one. */
  readonly host: string;
  readonly name: string;
  /** Left out for the newest. */
  readonly version: string | undefined;
}

const KIND: UriKind = {
  scheme: 'azurekms',
  forms: 'azurekms://VAULT.vault.azure.net/KEY or azurekms://VAULT.vault.azure.net/KEY/VERSION',
};

const NAME = /^[A-Za-z0-9-]{1,127}$/;
const VERSION = /^[0-9a-f]{32}$/;

const takeName = (name: string | undefined): string =>
  takePart(KIND, 'the key', name, NAME, 'a name of at most 127 letters, digits and -');

const takeVersion = (version: string | undefined): string | undefined =>
  version === undefined
    ? undefined
    : takePart(KIND, 'the key version', version, VERSION, 'of 32 lower-case hexadecimal digits');

/** step's form: `azurekms:name=KEY;vault=VAULT?version=VERSION`. */
function readStepForm(rest: string): AzureKeyUri {
  const attributes = readAttributes(KIND, rest, ['name', 'vault', 'version']);
  const vault = takePart(
    KIND,
    'the vault',
    attributes.get('vault'),
    /^[A-Za-z0-9-]{3,24}$/,
    'the name of a vault, without .vault.azure.net',
  );
  return {
    host: `${vault}.vault.azure.net`,
    name: takeName(attributes.get('name')),
    version: takeVersion(attributes.get('version')),
  };
}

/**
 * Reads the URI of a key in Azure Key Vault or Managed HSM, in the forms of cosign and step. Throws `key-uri` (usage), which
 * names the part that is wrong.
 */
export function parseAzureUri(uri: string): AzureKeyUri {
  const rest = afterScheme(KIND, uri);
  if (!rest.startsWith('//')) return readStepForm(rest);
  const [vault = '', name, version, ...more] = rest.slice(2).split('/');
  if (vault === '') throw badUri(KIND, 'the vault is missing');
  const host = takeHost(KIND, vault);
  if (!looksLikeHost(host))
    throw badUri(KIND, `the vault "${host}" is not a host: add .vault.azure.net, or that of your cloud`);
  // The identifier of a key in the portal, https://VAULT.vault.azure.net/keys/KEY/VERSION; a key may be named so as well.
  if (name === 'keys' && version !== undefined && (more.length > 0 || !VERSION.test(version)))
    throw badUri(KIND, 'there is keys/ before the key: leave it out');
  if (more.length > 0) throw badUri(KIND, 'there is more after the key version');
  return { host, name: takeName(name), version: takeVersion(version) };
}
