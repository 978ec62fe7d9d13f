import { createPublicKey, type KeyObject } from 'node:crypto';
import type { GetPublicKeyCommandOutput, KMSClient } from '@aws-sdk/client-kms';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import type { UriKeyOptions } from '../uri-key-options.ts';
import type { SigningKey } from '../signing-key.ts';
import { explainAwsError, isAccessDenied } from './aws-errors.ts';
import { limitAwsResponses } from './aws-responses.ts';
import { parseAwsUri, type AwsKeyUri } from './aws-uri.ts';
import {
  openCloudKey,
  readPublicKey,
  type ClientLimits,
  type CloudKey,
  type CloudService,
} from './cloud-key.ts';
import { loadSdk } from './load-sdk.ts';
import { quoted, serviceError } from './service-errors.ts';

type Sdk = typeof import('@aws-sdk/client-kms');

const HASHES: readonly DigestName[] = ['sha256', 'sha384', 'sha512'];

/** How AWS names the signature of a digest: PKCS#1 v1.5 for RSA, DER for ECDSA. */
const algorithmFor = (publicKey: KeyObject, hash: DigestName) => {
  const bits = hash.slice('sha'.length) as '256' | '384' | '512';
  return publicKey.asymmetricKeyType === 'rsa'
    ? (`RSASSA_PKCS1_V1_5_SHA_${bits}` as const)
    : (`ECDSA_SHA_${bits}` as const);
};

/** Makes a client. The SDK's own retries are off: `ServiceCalls` repeats. */
function createClient(
  sdk: Sdk,
  { endpoint, region }: AwsKeyUri,
  { concurrency, timeoutMs }: ClientLimits,
): KMSClient {
  const agent = { keepAlive: true, maxSockets: concurrency };
  const client = new sdk.KMSClient({
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      httpsAgent: agent,
      httpAgent: agent,
    },
  });
  limitAwsResponses(client);
  return client;
}

/** The public key of an answer. Throws `key-not-for-signing` unless the private key can sign programs. */
function signingKeyOf(answer: GetPublicKeyCommandOutput, what: string) {
  if (answer.KeyUsage !== 'SIGN_VERIFY' || !answer.PublicKey)
    throw serviceError(what, { problem: 'unsuitable', said: `its usage is ${String(answer.KeyUsage)}` });
  const der = Buffer.from(answer.PublicKey);
  const kind = quoted(answer.KeySpec);
  const publicKey = readPublicKey(what, kind, () =>
    createPublicKey({ key: der, format: 'der', type: 'spki' }),
  );
  const algorithms = new Set<string>(answer.SigningAlgorithms);
  const digests = HASHES.filter((hash) => algorithms.has(algorithmFor(publicKey, hash)));
  if (digests.length > 0) return { publicKey, digests };
  throw serviceError(what, { problem: 'unsuitable', said: `its kind is ${kind}` });
}

class AwsKms implements CloudService {
  private readonly client: KMSClient;

  constructor(
    private readonly sdk: Sdk,
    private readonly key: AwsKeyUri,
    private readonly what: string,
    limits: ClientLimits,
  ) {
    this.client = createClient(sdk, key, limits);
  }

  readonly explain = explainAwsError;

  async findKey(abortSignal: AbortSignal): Promise<CloudKey> {
    const input = { KeyId: this.key.keyId };
    const [answer] = await Promise.all([
      this.client.send(new this.sdk.GetPublicKeyCommand(input), { abortSignal }),
      this.requireEnabled(abortSignal),
    ]);
    const { publicKey, digests } = signingKeyOf(answer, this.what);
    // An alias can be pointed at another key, so only its key at the start signs.
    const keyId = answer.KeyId ?? this.key.keyId;
    return {
      publicKey,
      digests,
      signDigest: (hash, digest, signal) =>
        this.sign({ KeyId: keyId, Message: digest, SigningAlgorithm: algorithmFor(publicKey, hash) }, signal),
    };
  }

  /** Throws `key-disabled`. An account that may not read the state of keys finds out when it signs. */
  private async requireEnabled(abortSignal: AbortSignal): Promise<void> {
    try {
      const command = new this.sdk.DescribeKeyCommand({ KeyId: this.key.keyId });
      const { KeyMetadata: about } = await this.client.send(command, { abortSignal });
      if (about?.KeyState === 'Enabled' || about?.KeyState === undefined) return;
      throw serviceError(this.what, { problem: 'disabled', said: `its state is ${about.KeyState}` });
    } catch (error) {
      if (!isAccessDenied(error)) throw error;
    }
  }

  private async sign(
    input: { KeyId: string; Message: Buffer; SigningAlgorithm: ReturnType<typeof algorithmFor> },
    abortSignal: AbortSignal,
  ): Promise<Buffer> {
    const command = new this.sdk.SignCommand({ ...input, MessageType: 'DIGEST' });
    const { Signature: signature } = await this.client.send(command, { abortSignal });
    if (signature) return Buffer.from(signature);
    throw serviceError(this.what, { problem: 'answer', said: 'there is no signature in it' });
  }

  close(): void {
    this.client.destroy();
  }
}

/** Opens a key of AWS KMS. Throws `key-uri`, `key-sdk-missing`, `key-sdk-unusable`, and what `openCloudKey` throws. */
export async function openAwsKey(options: UriKeyOptions): Promise<SigningKey> {
  const key = parseAwsUri(options.uri);
  const what = `the key ${key.keyId} of AWS KMS`;
  return openCloudKey(options, what, async (limits) => {
    // The SDK would print at each start that its versions of 2027 need Node 22; docs/keys.md says so.
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
    const sdk = await loadSdk(['@aws-sdk/client-kms'], () => import('@aws-sdk/client-kms'));
    return new AwsKms(sdk, key, what, limits);
  });
}
