import { createPublicKey } from 'node:crypto';
import type { KeyManagementServiceClient, protos } from '@google-cloud/kms';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import { crc32c } from '../../../lib/bytes/crc32c.ts';
import type { UriKeyOptions } from '../uri-key-options.ts';
import type { SigningKey } from '../signing-key.ts';
import {
  openCloudKey,
  readPublicKey,
  type ClientLimits,
  type CloudKey,
  type CloudService,
} from './cloud-key.ts';
import { explainGoogleError } from './google-errors.ts';
import { googleEndpoint } from './google-endpoint.ts';
import { parseGoogleUri } from './google-uri.ts';
import { loadSdk } from './load-sdk.ts';
import { quoted, serviceError } from './service-errors.ts';

type Sdk = typeof import('@google-cloud/kms');
type PublicKey = protos.google.cloud.kms.v1.IPublicKey;

/** In bytes. A public key or a signature has less than two kilobytes. */
const MAX_RESPONSE = 64 * 1024;

/** The algorithms of key versions with which Authenticode can sign; each has one digest. */
const ALGORITHM = /^(?:RSA_SIGN_PKCS1_\d{4}_SHA|EC_SIGN_P(?:256|384)_SHA)(256|384|512)$/;

class GoogleKms implements CloudService {
  private readonly client: KeyManagementServiceClient;
  private readonly callOptions: { readonly timeout: number; readonly retry: null };

  constructor(
    sdk: Sdk,
    private readonly name: string,
    private readonly what: string,
    { timeoutMs }: ClientLimits,
  ) {
    this.client = new sdk.KeyManagementServiceClient({
      ...googleEndpoint(process.env),
      'grpc.max_receive_message_length': MAX_RESPONSE,
    });
    // The SDK's own retries are off: `ServiceCalls` repeats.
    this.callOptions = { timeout: timeoutMs, retry: null };
  }

  readonly explain = explainGoogleError;

  async findKey(): Promise<CloudKey> {
    // Without this, credentials that are missing would end the process by a rejection that the SDK does not handle.
    await this.client.initialize();
    const [answer] = await this.client.getPublicKey({ name: this.name }, this.callOptions);
    const digest = this.digestOf(answer);
    const publicKey = this.publicKeyOf(answer);
    return { publicKey, digests: [digest], signDigest: (hash, value) => this.sign(hash, value) };
  }

  private publicKeyOf({ pem, pemCrc32c, name, algorithm }: PublicKey) {
    const text = pem ?? '';
    this.requireIntact(Buffer.from(text), pemCrc32c?.value, name);
    return readPublicKey(this.what, quoted(String(algorithm)), () => createPublicKey(text));
  }

  private digestOf({ algorithm }: PublicKey): DigestName {
    const bits = ALGORITHM.exec(String(algorithm))?.[1];
    if (bits !== undefined) return `sha${bits as '256' | '384' | '512'}`;
    throw serviceError(this.what, {
      problem: 'unsuitable',
      said: `its algorithm is ${quoted(String(algorithm))}`,
    });
  }

  /** Checks the CRCs of request and answer, as the service's guide to data integrity recommends. */
  private async sign(hash: DigestName, digest: Buffer): Promise<Buffer> {
    const request = { name: this.name, digest: { [hash]: digest }, digestCrc32c: { value: crc32c(digest) } };
    const [answer] = await this.client.asymmetricSign(request, this.callOptions);
    const signature = Buffer.from((answer.signature as Uint8Array | null | undefined) ?? []);
    if (answer.verifiedDigestCrc32c !== true) throw this.damaged('the digest did not arrive as it was sent');
    this.requireIntact(signature, answer.signatureCrc32c?.value, answer.name);
    return signature;
  }

  private requireIntact(bytes: Buffer, crc: unknown, name: unknown): void {
    if (bytes.length === 0 || String(crc) !== String(crc32c(bytes)))
      throw this.damaged('the answer did not arrive as it was sent');
    if (name !== this.name) throw this.damaged('the answer is for another key');
  }

  private readonly damaged = (said: string) => serviceError(this.what, { problem: 'answer', said });

  close(): void {
    // Ends the connections; calls that are still open end with an error.
    void this.client.close().catch(() => undefined);
  }
}

/** Opens a key of Google Cloud KMS. Throws `key-uri`, `key-sdk-missing`, `key-sdk-unusable`, and what `openCloudKey` throws. */
export async function openGoogleKey(options: UriKeyOptions): Promise<SigningKey> {
  const { name } = parseGoogleUri(options.uri);
  const what = `the key version ${name} of Google Cloud KMS`;
  return openCloudKey(options, what, async (limits) => {
    const sdk = await loadSdk(['@google-cloud/kms'], () => import('@google-cloud/kms'));
    return new GoogleKms(sdk, name, what, limits);
  });
}
