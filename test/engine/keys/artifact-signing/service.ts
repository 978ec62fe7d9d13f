import { execFile } from 'node:child_process';
import { privateEncrypt, constants, randomUUID, type KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Certificate } from '../../../../src/lib/x509/certificate.ts';
import {
  createTestCertificate,
  generateTestKey,
  toPem,
  type TestIdentity,
} from '../../../../src/sandbox/certificates.ts';

const run = promisify(execFile);

export const ACCOUNT = 'example-account';
export const PROFILE = 'example-profile';
export const PROFILE_PATH = `/codesigningaccounts/${ACCOUNT}/certificateprofiles/${PROFILE}`;

/** EKUs of a public certificate of the service: code signing, public trust, and the publisher's own. */
export const PUBLISHER_EKU = '1.3.6.1.4.1.311.97.990309390.766961637.194916062.941502583';
const EKUS = ['1.3.6.1.5.5.7.3.3', '1.3.6.1.4.1.311.97.1.0'];

const DIGEST_INFO: Readonly<Record<string, string>> = {
  RS256: '3031300d060960864801650304020105000420',
  RS384: '3041300d060960864801650304020205000430',
  RS512: '3051300d060960864801650304020305000440',
};

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  /** Sent as JSON; a text as it is. */
  readonly body?: unknown;
}

/** What a request asks for: a signature, its result, or a token. */
export type Asked = 'sign' | 'result' | 'token';

/** A certificate and key, and a bundle as the service sends it. */
interface Issued {
  readonly identity: TestIdentity;
  readonly bundle: Buffer;
}

interface IssueOptions {
  /** The publisher's own EKU. */
  readonly eku?: string;
  readonly commonName?: string;
  readonly key?: KeyObject;
  /** Default: in three days. */
  readonly notAfter?: Date;
  readonly notBefore?: Date;
  /** Certificates that come in the bundle beside the usual ones. */
  readonly beside?: readonly Certificate[];
}

/**
 * Azure Artifact Signing and the managed identity that gives tokens for it, on the loopback: written from the service's
 * OpenAPI description, without imports of the client. It checks tokens, version and digest, and signs with another
 * certificate each time.
 */
export class LoopbackArtifactSigning {
  /** The authority of all certificates. */
  readonly root: TestIdentity;
  /** Called before the usual answer; what it returns is sent instead. */
  intercept: (asked: Asked, count: number) => Answer | 'hang' | undefined = () => undefined;
  /** How the next certificates are issued. */
  next: IssueOptions = { eku: PUBLISHER_EKU };
  /** How often a result is pending before it is there. */
  pending = 1;
  /** Changes the result of an operation. */
  edit: (result: Record<string, unknown>) => unknown = (result) => result;
  readonly counts: Record<Asked, number> = { sign: 0, result: 0, token: 0 };
  /** The most signatures that were asked for at the same time. */
  most = 0;
  /** SHA-256 of the certificates that were issued. */
  readonly issued: string[] = [];
  private readonly operations = new Map<string, { left: number; readonly result: unknown }>();
  private readonly tokens = new Set<string>();

  private constructor(
    private readonly folder: string,
    private readonly server: Server,
    private readonly intermediate: TestIdentity,
    root: TestIdentity,
    private readonly key: KeyObject,
  ) {
    this.root = root;
  }

  static async start(folder: string): Promise<LoopbackArtifactSigning> {
    const server = createServer();
    const root = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
    const intermediate = await createTestCertificate({
      commonName: 'Daily',
      purpose: 'authority',
      issuer: root,
    });
    const service = new LoopbackArtifactSigning(
      folder,
      server,
      intermediate,
      root,
      await generateTestKey('rsa2048'),
    );
    server.on('request', (request, response) => {
      service.answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return service;
  }

  private get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get uri(): string {
    return `artifactsigning://${this.host}/${ACCOUNT}/${PROFILE}`;
  }

  /** Variables with which the SDK gets tokens here, as on a machine with a managed identity. */
  get environment(): Record<string, string> {
    return {
      IDENTITY_ENDPOINT: `http://${this.host}/token`,
      IDENTITY_HEADER: 'marked secret of the identity',
      AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential',
    };
  }

  /** Tokens are no longer accepted. */
  revokeTokens(): void {
    this.tokens.clear();
  }

  /** As at the start, but for certificates and counts of tokens. */
  reset(): void {
    this.intercept = () => undefined;
    this.next = { eku: PUBLISHER_EKU };
    this.pending = 1;
    this.edit = (result) => result;
    Object.assign(this.counts, { sign: 0, result: 0 });
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async issue({
    eku,
    commonName = 'Publisher',
    key = this.key,
    notAfter = new Date(Date.now() + 3 * 86_400_000),
    notBefore,
    beside = [],
  }: IssueOptions): Promise<Issued> {
    const identity = await createTestCertificate({
      commonName,
      purpose: 'code-signing',
      issuer: this.intermediate,
      key,
      extendedKeyUsage: eku === undefined ? EKUS.slice(0, 1) : [...EKUS, eku],
      notAfter,
      notBefore,
    });
    const file = join(this.folder, `${identity.certificate.sha256}.pem`);
    await writeFile(file, toPem([...identity.chain.toReversed(), ...beside]));
    const { stdout: bundle } = await run(
      'openssl',
      ['crl2pkcs7', '-nocrl', '-certfile', file, '-outform', 'DER'],
      {
        encoding: 'buffer',
      },
    );
    return { identity, bundle };
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://loopback');
    const asked = url.pathname === '/token' ? 'token' : request.method === 'POST' ? 'sign' : 'result';
    this.counts[asked] += 1;
    const instead = this.intercept(asked, this.counts[asked]);
    if (instead === 'hang') return;
    const answer = instead ?? (await this.usual(asked, url, request));
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? {});
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(text);
  }

  private async usual(asked: Asked, url: URL, request: IncomingMessage): Promise<Answer> {
    if (asked === 'token') return this.token(url, request);
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (!this.tokens.has(token)) return refusal(401, 'Unauthorized', 'the token is not valid');
    if (url.search !== '?api-version=2023-06-15-preview') return refusal(400, 'BadRequest', 'api-version');
    return asked === 'sign' ? this.submit(url, await bodyOf(request)) : this.result(url);
  }

  private token(url: URL, request: IncomingMessage): Answer {
    if (request.headers['x-identity-header'] !== this.environment['IDENTITY_HEADER']) return { status: 401 };
    if (url.searchParams.get('resource') !== 'https://codesigning.azure.net') return { status: 400 };
    const token = `marked-secret-token-${randomUUID()}`;
    this.tokens.add(token);
    const expires = String(Math.floor(Date.now() / 1000) + 86_400);
    return {
      status: 200,
      body: {
        access_token: token,
        expires_on: expires,
        resource: url.searchParams.get('resource'),
        token_type: 'Bearer',
      },
    };
  }

  private async submit(url: URL, body: unknown): Promise<Answer> {
    if (url.pathname !== `${PROFILE_PATH}:sign`) return refusal(404, 'NotFound', 'no such profile');
    const { signatureAlgorithm, digest } = body as Record<string, unknown>;
    const prefix = DIGEST_INFO[String(signatureAlgorithm)];
    const bytes = Buffer.from(String(digest), 'base64');
    if (prefix === undefined || bytes.length !== Buffer.from(prefix, 'hex').at(-1))
      return refusal(400, 'BadRequest', 'the digest does not fit the algorithm');
    const { identity, bundle } = await this.issue(this.next);
    this.issued.push(identity.certificate.sha256);
    const info = Buffer.concat([Buffer.from(prefix, 'hex'), bytes]);
    const id = randomUUID();
    const padding = constants.RSA_PKCS1_PADDING;
    const isRsa = identity.key.asymmetricKeyType === 'rsa';
    const signature = isRsa ? privateEncrypt({ key: identity.key, padding }, info) : info;
    const result = this.edit({
      signature: signature.toString('base64'),
      signingCertificate: Buffer.from(lines(bundle.toString('base64'))).toString('base64'),
    });
    this.operations.set(id, { left: this.pending, result });
    this.most = Math.max(this.most, this.operations.size);
    return {
      status: 202,
      headers: { 'operation-location': `https://elsewhere.example${PROFILE_PATH}/sign/${id}` },
      body: { id, status: 'InProgress' },
    };
  }

  private result(url: URL): Answer {
    const id = url.pathname.slice(`${PROFILE_PATH}/sign/`.length);
    const operation = this.operations.get(id);
    if (!operation) return refusal(404, 'NotFound', 'no such operation');
    if (operation.left > 0) {
      operation.left -= 1;
      return { status: 200, body: { id, status: 'InProgress' } };
    }
    this.operations.delete(id);
    return { status: 200, body: { id, status: 'Succeeded', result: operation.result } };
  }
}

const lines = (text: string): string => text.replaceAll(/.{64}/g, '$&\r\n');

export const refusal = (status: number, code: string, message: string): Answer => ({
  status,
  body: { error: { code, message } },
});

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}
