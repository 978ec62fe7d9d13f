import { createHash, createHmac, type KeyObject } from 'node:crypto';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import type { DigestName } from '../../../src/lib/asn1/oids.ts';
import { publicKeyDer, signDigest } from './service-key.ts';

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();

/** The signature of a request, by AWS's description of Signature Version 4, from the secret key and the request alone. */
function signatureOf(
  secret: string,
  request: IncomingMessage,
  body: Buffer,
  scope: string,
  names: string,
): string {
  const headers = names
    .split(';')
    .map((name) => `${name}:${String(request.headers[name]).trim().replaceAll(/ +/g, ' ')}\n`)
    .join('');
  const canonical = [request.method, request.url, '', headers, names, sha256(body)].join('\n');
  const time = String(request.headers['x-amz-date']);
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
  const [date = '', region = '', service = '', end = ''] = scope.split('/');
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), service), end);
  return createHmac('sha256', key).update(toSign).digest('hex');
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=(?<id>[^/]+)\/(?<scope>[^,]+), SignedHeaders=(?<names>[^,]+), Signature=(?<signature>[0-9a-f]{64})$/;

/** How the server answers instead: an error of the API, or the bytes and status of something else. */
export interface AwsFault {
  readonly type?: string;
  readonly message?: string;
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** Sent instead of JSON. */
  readonly body?: string | Buffer;
  /** Never answers. */
  readonly hangs?: boolean;
}

export interface AwsKey {
  readonly key: KeyObject;
  readonly spec: string;
  readonly algorithms: readonly string[];
  readonly state?: string;
  readonly usage?: string;
  /** Instead of the public key, DER. */
  readonly publicKey?: Buffer;
}

const RSA_ALGORITHMS = ['PKCS1_V1_5', 'PSS'].flatMap((padding) =>
  ['256', '384', '512'].map((bits) => `RSASSA_${padding}_SHA_${bits}`),
);

/** A key as the service has it. */
export function awsKey(key: KeyObject): AwsKey {
  if (key.asymmetricKeyType === 'rsa') return { key, spec: 'RSA_3072', algorithms: RSA_ALGORITHMS };
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const bits = curve === 'secp384r1' ? '384' : curve === 'secp521r1' ? '521' : '256';
  return { key, spec: `ECC_NIST_P${bits}`, algorithms: [`ECDSA_SHA_${bits === '521' ? '512' : bits}`] };
}

type Input = Partial<Record<'KeyId' | 'Message' | 'MessageType' | 'SigningAlgorithm', string>>;

/**
 * A server that speaks the API of AWS KMS as far as signing takes it (JSON 1.1), checks the signature of each request, and
 * signs. It also counts, and can be told to fail.
 */
export class AwsKmsServer {
  static readonly region = 'eu-central-1';
  static readonly account = '111122223333';
  /** By ID, ARN and alias. */
  readonly keys = new Map<string, AwsKey>();
  /** Answers for the next requests of an operation, such as `Sign`. */
  readonly faults: Record<string, AwsFault[]> = {};
  readonly requests: { readonly operation: string; readonly input: Input }[] = [];
  connections = 0;
  inFlight = 0;
  mostInFlight = 0;
  /** The time of all requests together, in milliseconds. */
  busyMs = 0;

  private constructor(
    private readonly server: Server,
    private readonly credentials: { readonly id: string; readonly secret: string; readonly token?: string },
    private readonly latencyMs: number,
  ) {}

  static async start(
    credentials: { readonly id: string; readonly secret: string; readonly token?: string },
    {
      tls,
      latencyMs = 0,
    }: { readonly tls?: { readonly key: string; readonly cert: string }; readonly latencyMs?: number } = {},
  ): Promise<AwsKmsServer> {
    const listener: RequestListener = (request, response) => {
      void aws.answer(request).then(
        (fault) => {
          if (fault.hangs) return;
          response.writeHead(fault.status ?? 400, {
            'content-type': 'application/x-amz-json-1.1',
            ...fault.headers,
          });
          response.end(fault.body ?? JSON.stringify({ __type: fault.type, message: fault.message }));
        },
        () => response.destroy(),
      );
    };
    const server = tls ? createHttpsServer(tls, listener) : createHttpServer(listener);
    const aws = new AwsKmsServer(server, credentials, latencyMs);
    server.on('connection', () => (aws.connections += 1));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return aws;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Adds a key under an ID, its ARN and an alias, and returns the ID. */
  add(key: AwsKey, alias: string, id: string): string {
    for (const name of [id, this.arn(id), `alias/${alias}`]) this.keys.set(name, key);
    return id;
  }

  arn(id: string): string {
    return `arn:aws:kms:${AwsKmsServer.region}:${AwsKmsServer.account}:key/${id}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage): Promise<AwsFault> {
    this.inFlight += 1;
    const begun = performance.now();
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    try {
      const body = await buffer(request);
      await pause(this.latencyMs);
      const operation = String(request.headers['x-amz-target']).replace('TrentService.', '');
      const input = JSON.parse(body.toString()) as Input;
      this.requests.push({ operation, input });
      const refused = this.authenticate(request, body) ?? this.faults[operation]?.shift();
      return refused ?? (await this.perform(operation, input));
    } finally {
      this.inFlight -= 1;
      this.busyMs += performance.now() - begun;
    }
  }

  /** Undefined if the request was signed with the right secret. */
  private authenticate(request: IncomingMessage, body: Buffer): AwsFault | undefined {
    const fields = AUTHORIZATION.exec(request.headers.authorization ?? '')?.groups;
    const { id, scope = '', names = '', signature } = fields ?? {};
    if (!fields)
      return { type: 'MissingAuthenticationTokenException', message: 'Missing Authentication Token' };
    if (id !== this.credentials.id)
      return {
        type: 'UnrecognizedClientException',
        message: 'The security token included in the request is invalid.',
      };
    const region = scope.split('/')[1];
    if (region !== AwsKmsServer.region)
      return { type: 'InvalidSignatureException', message: `Credential should be scoped to a valid region.` };
    if (request.headers['x-amz-security-token'] !== this.credentials.token)
      return {
        type: 'ExpiredTokenException',
        message: 'The security token included in the request is expired',
      };
    for (const name of ['host', 'x-amz-date', 'x-amz-target'])
      if (!names.split(';').includes(name)) return { type: 'IncompleteSignature', message: name };
    if (signature === signatureOf(this.credentials.secret, request, body, scope, names)) return undefined;
    // The real service repeats the request, with the session token in it.
    const headers = `x-amz-security-token:${String(request.headers['x-amz-security-token'])}`;
    const message = `The request signature we calculated does not match.\n\nThe Canonical String should have been\n'POST\n/\n\n${headers}'`;
    return { type: 'InvalidSignatureException', message, status: 403 };
  }

  private async perform(operation: string, input: Input): Promise<AwsFault> {
    const key = this.keys.get(input.KeyId ?? '');
    if (!key)
      return { type: 'NotFoundException', message: `Alias or key ${input.KeyId ?? ''} is not found.` };
    const id = [...this.keys].find(([name, each]) => each === key && name.startsWith('arn:'))?.[0];
    const body = (value: object): AwsFault => ({
      status: 200,
      body: JSON.stringify({ KeyId: id, ...value }),
    });
    const usage = {
      KeySpec: key.spec,
      KeyUsage: key.usage ?? 'SIGN_VERIFY',
      SigningAlgorithms: key.algorithms,
    };
    const state = key.state ?? 'Enabled';
    if (operation === 'DescribeKey') return body({ KeyMetadata: { KeyId: id, KeyState: state, ...usage } });
    if (operation === 'GetPublicKey')
      return body({ ...usage, PublicKey: (key.publicKey ?? publicKeyDer(key.key)).toString('base64') });
    if (state !== 'Enabled') return { type: 'DisabledException', message: `${id ?? ''} is disabled.` };
    return this.sign(key, input, body);
  }

  private async sign(key: AwsKey, input: Input, body: (value: object) => AwsFault): Promise<AwsFault> {
    const { Message = '', MessageType, SigningAlgorithm = '' } = input;
    const digest = Buffer.from(Message, 'base64');
    const hash = `sha${SigningAlgorithm.slice(-3)}` as DigestName;
    if (MessageType !== 'DIGEST' || digest.length !== Number(SigningAlgorithm.slice(-3)) / 8)
      return { type: 'ValidationException', message: 'Digest is invalid length for algorithm.' };
    if (!key.algorithms.includes(SigningAlgorithm) || SigningAlgorithm.includes('PSS'))
      return { type: 'InvalidKeyUsageException', message: `not ${SigningAlgorithm}` };
    const signature = await signDigest(key.key, hash, digest);
    return body({ Signature: signature.toString('base64'), SigningAlgorithm });
  }
}
