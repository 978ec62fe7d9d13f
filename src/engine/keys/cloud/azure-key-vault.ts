import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { CryptographyClient, KeyClient, KeyVaultKey } from '@azure/keyvault-keys';
import { ecdsaRawToDer } from '../../../lib/asn1/ecdsa-signature.ts';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import type { UriKeyOptions } from '../uri-key-options.ts';
import type { SigningKey } from '../signing-key.ts';
import { createAzureCredential } from './azure-credential.ts';
import { explainAzureError } from './azure-errors.ts';
import { limitAzureResponses } from './azure-responses.ts';
import { parseAzureUri, type AzureKeyUri } from './azure-uri.ts';
import { openCloudKey, readPublicKey, type CloudKey, type CloudService } from './cloud-key.ts';
import { loadSdk } from './load-sdk.ts';
import { serviceError } from './service-errors.ts';
import { isLoopback } from './uri-parts.ts';

interface Sdk {
  readonly keys: typeof import('@azure/keyvault-keys');
  readonly identity: typeof import('@azure/identity');
}

/** By curve, the only digest that Key Vault signs with it (RFC 7518, 3.4). */
const CURVE_DIGESTS: ReadonlyMap<string, DigestName> = new Map([
  ['P-256', 'sha256'],
  ['P-384', 'sha384'],
  ['P-521', 'sha512'],
]);

/** By algorithm of a curve, how many bytes r and s have together. */
const RAW_BYTES: ReadonlyMap<string, number> = new Map([
  ['ES256', 64],
  ['ES384', 96],
  ['ES512', 132],
]);

const algorithmFor = (publicKey: KeyObject, hash: DigestName): string =>
  `${publicKey.asymmetricKeyType === 'rsa' ? 'RS' : 'ES'}${hash.slice('sha'.length)}`;

type Jwk = NonNullable<KeyVaultKey['key']>;

const base64url = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('base64url');

/** The public key of an answer: RSA or EC, kept by software or by an HSM (`RSA-HSM`, `EC-HSM`). */
function publicKeyOf({ kty, crv, n, e, x, y }: Jwk): KeyObject {
  const jwk: JsonWebKey = kty?.startsWith('RSA')
    ? { kty: 'RSA', n: base64url(n), e: base64url(e) }
    : { kty: 'EC', crv: crv ?? '', x: base64url(x), y: base64url(y) };
  return createPublicKey({ key: jwk, format: 'jwk' });
}

/** The SDK's own retries are off: `ServiceCalls` repeats. */
function createClient({ keys, identity }: Sdk, host: string): KeyClient {
  return new keys.KeyClient(`https://${host}`, createAzureCredential(identity), {
    retryOptions: { maxRetries: 0 },
    additionalPolicies: limitAzureResponses,
    disableChallengeResourceVerification: isLoopback(host),
  });
}

class AzureKeyVault implements CloudService {
  private readonly client: KeyClient;

  constructor(
    sdk: Sdk,
    private readonly uri: AzureKeyUri,
    private readonly what: string,
  ) {
    this.client = createClient(sdk, uri.host);
  }

  readonly explain = explainAzureError;

  async findKey(abortSignal: AbortSignal): Promise<CloudKey> {
    const { name, version } = this.uri;
    const found = await this.client.getKey(name, { ...(version !== undefined && { version }), abortSignal });
    this.requireUsable(found);
    const jwk = found.key ?? {};
    const publicKey = readPublicKey(this.what, `${jwk.kty} ${jwk.crv}`, () => publicKeyOf(jwk));
    // A new version of a key has another private key and another certificate, so only the version at the start signs.
    const keyVersion = found.properties.version ?? version;
    // It shares the connections and the token of the client that has read the key.
    const signer = this.client.getCryptographyClient(name, keyVersion === undefined ? {} : { keyVersion });
    return {
      publicKey,
      digests: this.digestsOf(found, publicKey),
      signDigest: (hash, digest, signal) => this.sign(signer, algorithmFor(publicKey, hash), digest, signal),
    };
  }

  /** Throws `key-disabled` or `key-not-for-signing`. */
  private requireUsable({ properties, keyOperations, keyType }: KeyVaultKey): void {
    const { enabled, notBefore, expiresOn } = properties;
    const refuse = (said: string) => serviceError(this.what, { problem: 'disabled', said });
    const now = new Date();
    if (enabled === false) throw refuse('it is disabled');
    if (notBefore && now < notBefore) throw refuse(`it is not valid before ${notBefore.toISOString()}`);
    if (expiresOn && now > expiresOn) throw refuse(`it expired at ${expiresOn.toISOString()}`);
    if (!/^(?:RSA|EC)(?:-HSM)?$/.test(keyType ?? ''))
      throw serviceError(this.what, { problem: 'unsuitable', said: `its kind is ${String(keyType)}` });
    if (keyOperations && !keyOperations.includes('sign'))
      throw serviceError(this.what, { problem: 'unsuitable', said: 'its operations do not include sign' });
  }

  private digestsOf({ key }: KeyVaultKey, publicKey: KeyObject): readonly DigestName[] {
    if (publicKey.asymmetricKeyType === 'rsa') return ['sha256', 'sha384', 'sha512'];
    const digest = CURVE_DIGESTS.get(key?.crv ?? '');
    if (digest !== undefined) return [digest];
    throw serviceError(this.what, { problem: 'unsuitable', said: `its curve is ${String(key?.crv)}` });
  }

  private async sign(
    signer: CryptographyClient,
    algorithm: string,
    digest: Buffer,
    abortSignal: AbortSignal,
  ): Promise<Buffer> {
    const { result } = await signer.sign(algorithm, digest, { abortSignal });
    const signature = Buffer.from(result ?? []);
    if (signature.length === 0)
      throw serviceError(this.what, { problem: 'answer', said: 'there is no signature in it' });
    if (algorithm.startsWith('RS')) return signature;
    if (signature.length === RAW_BYTES.get(algorithm)) return ecdsaRawToDer(signature, this.what);
    throw serviceError(this.what, {
      problem: 'answer',
      said: `a signature of ${signature.length} bytes for ${algorithm}`,
    });
  }

  close(): void {
    // The SDK has nothing to close: its connections end when they are idle, and do not keep the process alive.
  }
}

async function loadAzure(): Promise<Sdk> {
  const packages = ['@azure/identity', '@azure/keyvault-keys'];
  return loadSdk(packages, async () => {
    const [identity, keys] = await Promise.all([import('@azure/identity'), import('@azure/keyvault-keys')]);
    return { identity, keys };
  });
}

/**
 * Opens a key of Azure Key Vault or Managed HSM. Throws `key-uri`, `key-sdk-missing`, `key-sdk-unusable`, and what
 * `openCloudKey` throws.
 */
export async function openAzureKey(options: UriKeyOptions): Promise<SigningKey> {
  const uri = parseAzureUri(options.uri);
  const what = `the key ${uri.name} in ${uri.host}`;
  return openCloudKey(options, what, async () => new AzureKeyVault(await loadAzure(), uri, what));
}
