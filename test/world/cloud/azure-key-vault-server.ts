import { createPublicKey, randomBytes, type KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { OID, type DigestName } from '../../../src/lib/asn1/oids.ts';
import { DerReader, TAG } from '../../../src/lib/asn1/der.ts';
import { signDigest } from './service-key.ts';

/** How the server answers instead. */
export interface AzureFault {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly code?: string;
  readonly inner?: string;
  readonly message?: string;
  /** Sent instead of JSON. */
  readonly body?: string;
  readonly hangs?: boolean;
}

export interface AzureKey {
  readonly key: KeyObject;
  readonly operations?: readonly string[];
  /** Of the attributes: `enabled`, `nbf`, `exp`. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  /** `RSA`, `RSA-HSM`, … */
  readonly type?: string;
  readonly curve?: string;
}

export const TENANT = '72f988bf-86f1-41af-91ab-2d7cd011db47';
export const VERSION = '0123456789abcdef0123456789abcdef';

const RESOURCE = 'https://vault.azure.net';

/** A DER ECDSA-Sig-Value as r || s, as Key Vault answers. */
function derToRaw(der: Buffer, octets: number): Buffer {
  const reader = DerReader.of(der, 'signature');
  const take = (): Buffer => {
    const { body } = reader.next(TAG.integer);
    const magnitude = body.subarray(Math.max(0, body.length - octets));
    return Buffer.concat([Buffer.alloc(octets - magnitude.length), magnitude]);
  };
  return Buffer.concat([take(), take()]);
}

const CURVE_OCTETS: Readonly<Record<string, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };
const json = (value: object): AzureFault => ({ status: 200, body: JSON.stringify(value) });

/**
 * An HTTPS server that is both a token endpoint of Microsoft's identity platform, which checks the client's secret, and a
 * vault, which asks for a token by a challenge, checks it and signs.
 */
export class AzureKeyVaultServer {
  /** By name. */
  readonly keys = new Map<string, AzureKey>();
  /** Answers for the next requests of `token`, `get` or `sign`. */
  readonly faults: Record<string, AzureFault[]> = {};
  readonly requests: string[] = [];
  private readonly tokens = new Set<string>();

  private constructor(
    private readonly server: Server,
    private readonly client: { readonly id: string; readonly secret: string },
  ) {}

  static async start(
    client: { readonly id: string; readonly secret: string },
    tls: { readonly key: string; readonly cert: string },
  ): Promise<AzureKeyVaultServer> {
    const server = createServer(tls, (request, response) => {
      void azure.answer(request).then(
        (answer) => {
          if (answer.hangs) return;
          const { code, message, inner, headers, status = 400 } = answer;
          response.writeHead(status, { 'content-type': 'application/json', ...headers });
          const innererror = inner === undefined ? {} : { innererror: { code: inner } };
          response.end(answer.body ?? JSON.stringify({ error: { code, message, ...innererror } }));
        },
        () => response.destroy(),
      );
    });
    const azure = new AzureKeyVaultServer(server, client);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return azure;
  }

  get origin(): string {
    return `https://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage): Promise<AzureFault> {
    const url = new URL(request.url ?? '', this.origin);
    const body = await text(request);
    if (url.pathname.endsWith('/.well-known/openid-configuration')) return this.metadata();
    if (url.pathname === `/${TENANT}/oauth2/v2.0/token`) return this.token(new URLSearchParams(body));
    const [, name = '', version, operation] =
      /^\/keys\/([^/]+)(?:\/([0-9a-f]{32}|))?(?:\/(sign))?$/.exec(url.pathname) ?? [];
    const action = operation ?? 'get';
    this.requests.push(`${action} ${name}`);
    return (
      this.authenticate(request) ??
      this.faults[action]?.shift() ??
      this.perform(name, version, operation, body, url)
    );
  }

  private metadata(): AzureFault {
    const base = `${this.origin}/${TENANT}`;
    return json({
      issuer: `${base}/v2.0`,
      authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
      token_endpoint: `${base}/oauth2/v2.0/token`,
      jwks_uri: `${base}/discovery/v2.0/keys`,
    });
  }

  private token(form: URLSearchParams): AzureFault {
    this.requests.push('token');
    const fault = this.faults['token']?.shift();
    if (fault) return fault;
    const scopes = form.get('scope')?.split(' ') ?? [];
    if (form.get('client_id') !== this.client.id || form.get('client_secret') !== this.client.secret)
      return {
        status: 401,
        body: JSON.stringify({
          error: 'invalid_client',
          error_description: 'AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1',
          error_codes: [7_000_215],
        }),
      };
    if (!scopes.includes(`${RESOURCE}/.default`)) return { status: 400, body: '{"error":"invalid_scope"}' };
    const token = `eyJ0.${randomBytes(200).toString('base64url')}.e30`;
    this.tokens.add(token);
    return json({ token_type: 'Bearer', expires_in: 3599, ext_expires_in: 3599, access_token: token });
  }

  /** Undefined if the request has a token of ours; else the challenge. */
  private authenticate(request: IncomingMessage): AzureFault | undefined {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token !== undefined && this.tokens.has(token)) return undefined;
    const challenge = `Bearer authorization="${this.origin}/${TENANT}", resource="${RESOURCE}"`;
    return {
      status: 401,
      headers: { 'www-authenticate': challenge },
      code: 'Unauthorized',
      message: 'no token',
    };
  }

  private async perform(
    name: string,
    version: string | undefined,
    operation: string | undefined,
    body: string,
    url: URL,
  ): Promise<AzureFault> {
    const key = this.keys.get(name);
    if (!url.searchParams.has('api-version'))
      return { code: 'BadParameter', message: 'api-version is missing' };
    if (!key || (version !== undefined && version !== '' && version !== VERSION))
      return {
        status: 404,
        code: 'KeyNotFound',
        message: `A key with (name/id) ${name} was not found in this key vault.`,
      };
    if (operation === undefined) return json(this.bundle(name, key));
    if (version !== VERSION) return { code: 'BadParameter', message: 'a version is needed' };
    return this.sign(name, key, JSON.parse(body) as { alg: string; value: string });
  }

  private bundle(
    name: string,
    { key, operations = ['sign', 'verify'], attributes, type, curve }: AzureKey,
  ): object {
    const jwk = createPublicKey(key).export({ format: 'jwk' });
    const kid = `${this.origin}/keys/${name}/${VERSION}`;
    return {
      key: { ...jwk, kty: type ?? jwk.kty, crv: curve ?? jwk.crv, kid, key_ops: operations },
      attributes: { enabled: true, ...attributes },
    };
  }

  private async sign(
    name: string,
    { key }: AzureKey,
    { alg, value }: { alg: string; value: string },
  ): Promise<AzureFault> {
    const hash = `sha${alg.slice(2)}` as DigestName;
    const digest = Buffer.from(value, 'base64url');
    const { crv } = createPublicKey(key).export({ format: 'jwk' });
    const expected = crv === undefined ? `RS${alg.slice(2)}` : `ES${crv === 'P-521' ? '512' : crv.slice(2)}`;
    if (alg !== expected || !(hash in OID) || digest.length !== Number(alg.slice(2)) / 8)
      return { code: 'BadParameter', message: `Key and signing key properties are not compatible: ${alg}.` };
    const der = await signDigest(key, hash, digest);
    const signature = crv === undefined ? der : derToRaw(der, CURVE_OCTETS[crv] ?? 0);
    return json({ kid: `${this.origin}/keys/${name}/${VERSION}`, value: signature.toString('base64url') });
  }
}
