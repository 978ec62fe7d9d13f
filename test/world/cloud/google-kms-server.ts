import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { DigestName } from '../../../src/lib/asn1/oids.ts';
import { signDigest } from './service-key.ts';

/** What the tests use of gRPC, which the SDK of Google brings with it. */
interface Grpc {
  Server: new () => {
    addService(definition: unknown, methods: Record<string, Handler>): void;
    bindAsync(address: string, credentials: unknown, done: (error: Error | null, port: number) => void): void;
    forceShutdown(): void;
  };
  ServerCredentials: {
    createSsl(roots: null, pairs: { private_key: Buffer; cert_chain: Buffer }[]): unknown;
  };
  Metadata: new () => { set(key: string, value: string | Buffer): void };
  loadPackageDefinition(definition: unknown): Record<string, unknown>;
}
interface Call {
  readonly request: Request;
  readonly metadata: { get(name: string): readonly (string | Buffer)[] };
}
type Handler = (call: Call, reply: (error: object | null, answer?: object) => void) => void;
interface Request {
  readonly name: string;
  readonly digest?: Readonly<Record<string, Buffer>>;
  readonly digestCrc32c?: { readonly value: string };
}

const require = createRequire(import.meta.url);
const sdk = dirname(require.resolve('@google-cloud/kms/package.json'));
const fromSdk = createRequire(join(sdk, 'package.json'));
const fromGax = createRequire(fromSdk.resolve('google-gax'));

/** An error with a gRPC status, as `@grpc/grpc-js` sends it. */
class GrpcError extends Error {
  constructor(
    readonly code: number,
    readonly details: string,
    readonly metadata?: object,
  ) {
    super(details);
  }
}

/** How the server answers instead. */
export interface GoogleFault {
  /** A gRPC status. */
  readonly code?: number;
  readonly details?: string;
  /** RetryInfo, in seconds. */
  readonly retryAfter?: number;
  readonly hangs?: boolean;
  /** Changes the answer. */
  readonly change?: (answer: Record<string, unknown>) => object;
}

/** CRC-32C bit by bit, independent of the one of the product. */
function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}

export interface GoogleKey {
  readonly key: KeyObject;
  /** One of google.cloud.kms.v1.CryptoKeyVersionAlgorithm. */
  readonly algorithm: string;
  readonly state?: string;
}

interface ServiceAccount {
  readonly email: string;
  /** Whose self-signed tokens (RFC 7523) are accepted. */
  readonly publicKey: KeyObject;
}

/** google.rpc.Status with RetryInfo, as `grpc-status-details-bin` has it. */
function retryInfo(code: number, seconds: number): Buffer {
  const field = (number: number, content: Buffer | string): Buffer => {
    const bytes = Buffer.from(content);
    return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  };
  const delay = field(1, Buffer.from([8, seconds]));
  const any = Buffer.concat([field(1, 'type.googleapis.com/google.rpc.RetryInfo'), field(2, delay)]);
  return Buffer.concat([Buffer.from([8, code]), field(3, any)]);
}

/** A gRPC server with TLS that speaks Google's API as far as signing takes it, checks the token of each call, and signs. */
export class GoogleKmsServer {
  /** By resource name of the version. */
  readonly keys = new Map<string, GoogleKey>();
  /** Answers for the next calls of a method, such as `AsymmetricSign`. */
  readonly faults: Record<string, GoogleFault[]> = {};
  readonly calls: string[] = [];
  port = 0;

  private constructor(
    private readonly server: InstanceType<Grpc['Server']>,
    private readonly account: ServiceAccount,
    private readonly grpc: Grpc,
  ) {}

  static async start(
    account: ServiceAccount,
    tls: { readonly key: string; readonly cert: string },
  ): Promise<GoogleKmsServer> {
    const grpc = fromGax('@grpc/grpc-js') as Grpc;
    const loader = fromGax('@grpc/proto-loader') as { fromJSON(json: object, options: object): unknown };
    const json = JSON.parse(readFileSync(join(sdk, 'build/protos/protos.json'), 'utf8')) as object;
    const options = { longs: String, enums: String, defaults: true, oneofs: true };
    const types = grpc.loadPackageDefinition(loader.fromJSON(json, options)) as Record<string, never>;
    const server = new grpc.Server();
    const google = new GoogleKmsServer(server, account, grpc);
    const { KeyManagementService } = (types['google'] as never)['cloud']['kms']['v1'] as Record<
      string,
      never
    >;
    server.addService((KeyManagementService as unknown as { service: unknown }).service, {
      GetPublicKey: google.handler('GetPublicKey', (request) => google.publicKey(request)),
      AsymmetricSign: google.handler('AsymmetricSign', (request) => google.sign(request)),
    });
    const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
    const credentials = grpc.ServerCredentials.createSsl(null, [pair]);
    google.port = await new Promise((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', credentials, (error, port) => (error ? reject(error) : resolve(port))),
    );
    return google;
  }

  close(): void {
    this.server.forceShutdown();
  }

  private handler(method: string, perform: (request: Request) => Promise<Record<string, unknown>>): Handler {
    return (call, reply) => {
      this.calls.push(method);
      const fault = this.faults[method]?.shift();
      if (fault?.hangs) return;
      this.answer(call, fault, perform).then(
        (answer) => reply(null, answer),
        (error: object) => reply(error),
      );
    };
  }

  private async answer(
    { request, metadata }: Call,
    fault: GoogleFault | undefined,
    perform: (request: Request) => Promise<Record<string, unknown>>,
  ): Promise<object> {
    this.authenticate(String(metadata.get('authorization')[0] ?? ''));
    if (String(metadata.get('x-goog-request-params')[0]) !== `name=${encodeURIComponent(request.name)}`)
      throw new GrpcError(3, 'no routing header');
    if (fault?.code !== undefined) throw this.failure(fault.code, fault);
    const answer = await perform(request);
    return fault?.change ? fault.change(answer) : answer;
  }

  private failure(code: number, { details = '', retryAfter }: GoogleFault): GrpcError {
    const metadata = new this.grpc.Metadata();
    if (retryAfter !== undefined) metadata.set('grpc-status-details-bin', retryInfo(code, retryAfter));
    return new GrpcError(code, details, metadata);
  }

  /** Throws unless a call has a token that the service account has signed, for this service and for now. */
  private authenticate(authorization: string): void {
    const refuse = (details: string): GrpcError => new GrpcError(16, details);
    const [, head = '', body = '', signature = ''] =
      /^Bearer ([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(authorization) ?? [];
    if (signature === '') throw refuse('Request had invalid authentication credentials.');
    const input = Buffer.from(`${head}.${body}`);
    if (!verify('sha256', input, this.account.publicKey, Buffer.from(signature, 'base64url')))
      throw refuse('The signature of the token is wrong.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
    const now = Date.now() / 1000;
    if (claims['iss'] !== this.account.email || claims['sub'] !== this.account.email)
      throw refuse('another account');
    if (!(Number(claims['exp']) > now && Number(claims['iat']) <= now + 60))
      throw refuse('The token has expired.');
    const scopes = String(claims['scope'] ?? claims['aud']);
    if (!/cloud-platform|cloudkms/.test(scopes)) throw refuse('The token is for another service.');
  }

  private find(name: string): GoogleKey {
    const key = this.keys.get(name);
    if (!key) throw new GrpcError(5, `CryptoKeyVersion ${name} not found.`);
    const { state = 'ENABLED' } = key;
    if (state !== 'ENABLED') throw new GrpcError(9, `${name} is not enabled, current state is: ${state}.`);
    return key;
  }

  // eslint-disable-next-line require-await -- errors are rejections, as in `sign`
  private async publicKey({ name }: Request): Promise<Record<string, unknown>> {
    const { key, algorithm } = this.find(name);
    const pem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
    return { name, pem, algorithm, pemCrc32c: { value: String(crc(Buffer.from(pem))) } };
  }

  private async sign({ name, digest = {}, digestCrc32c }: Request): Promise<Record<string, unknown>> {
    const { key, algorithm } = this.find(name);
    const hash = `sha${algorithm.slice(-3)}` as DigestName;
    const value = digest[hash];
    if (!value || value.length !== Number(algorithm.slice(-3)) / 8)
      throw new GrpcError(3, `Digest is not one of ${algorithm}.`);
    const signature = await signDigest(key, hash, value);
    const verifiedDigestCrc32c = digestCrc32c?.value === String(crc(value));
    return { name, signature, signatureCrc32c: { value: String(crc(signature)) }, verifiedDigestCrc32c };
  }
}
