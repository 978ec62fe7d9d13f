import { setTimeout as delay } from 'node:timers/promises';
import type { TokenCredential } from '@azure/identity';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import { decodeBase64 } from '../../../lib/bytes/base64.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { AccessTokens } from './access-token.ts';
import { readSigningCertificate } from './certificates.ts';
import { readOperation, requireAccepted, ServiceAnswerError, type OperationState } from './operation.ts';
import { callRest, type RestAnswer, type RestRequest } from './rest-client.ts';

const API_VERSION = '2023-06-15-preview';
const SCOPE = 'https://codesigning.azure.net/.default';

/** Pauses between two questions for the result, in milliseconds: usually it is there after half a second. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 1000;
/** The longest pause that the service may ask for, in milliseconds. */
const LONGEST_WAIT = 10_000;

/** A signature and the certificates that came with it. */
export interface ServiceSignature {
  readonly value: Buffer;
  /** The certificate that the signature verifies with. */
  readonly leaf: Certificate;
  /** All certificates, in any order. */
  readonly others: readonly Certificate[];
}

/** The REST interface of Azure Artifact Signing for one certificate profile. */
export class ArtifactSigningService {
  private readonly tokens: AccessTokens;

  constructor(
    private readonly options: {
      /** The URL of the profile. */
      readonly url: string;
      readonly credential: Pick<TokenCredential, 'getToken'>;
      readonly what: string;
      readonly timeoutMs: number;
    },
  ) {
    this.tokens = new AccessTokens(options.credential, SCOPE);
  }

  /** One attempt: submits a digest and asks for the result until it is there, or `signal` ends it. */
  async sign(hash: DigestName, digest: Buffer, signal: AbortSignal): Promise<ServiceSignature> {
    const body = { signatureAlgorithm: `RS${hash.slice('sha'.length)}`, digest: digest.toString('base64') };
    const submitted = await this.call(':sign', { method: 'POST', body, signal });
    requireAccepted(submitted);
    const { signature, signingCertificate } = await this.result(readOperation(submitted), submitted, signal);
    const value = decodeBase64(signature);
    const certificates = await readSigningCertificate(signingCertificate, this.options.what);
    if (value && certificates) return { value, ...certificates };
    const said = value ? 'its certificate cannot be read' : 'its signature is not base64';
    throw new ServiceAnswerError({ problem: 'answer', said });
  }

  private async result(
    first: OperationState,
    { retryAfterMs }: RestAnswer,
    signal: AbortSignal,
  ): Promise<Extract<OperationState, { state: 'signed' }>> {
    let state = first;
    let asked = retryAfterMs;
    for (let pause = FIRST_PAUSE; state.state === 'pending'; pause = Math.min(pause * 1.5, LONGEST_PAUSE)) {
      await delay(Math.min(Math.max(asked ?? 0, pause), LONGEST_WAIT), undefined, { signal });
      const answer = await this.call(`/sign/${state.id}`, { method: 'GET', signal });
      asked = answer.retryAfterMs;
      // The operation goes on while the service is busy: to submit it again would cost another signature.
      if (answer.status === 429 || answer.status === 503) continue;
      requireAccepted(answer);
      state = readOperation(answer);
    }
    return state;
  }

  private async call(
    path: string,
    request: Pick<RestRequest, 'method' | 'body' | 'signal'>,
  ): Promise<RestAnswer> {
    const { url, timeoutMs } = this.options;
    const token = await this.tokens.get(request.signal);
    if (token === undefined) throw new ServiceAnswerError({ problem: 'credentials' });
    const target = `${url}${path}?api-version=${API_VERSION}`;
    const answer = await callRest(target, { ...request, token, timeoutMs });
    if (answer.status === 401) this.tokens.forget(token);
    return answer;
  }
}
