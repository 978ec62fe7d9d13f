import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { children, parseDer, type Der } from '../../../src/lib/asn1/der.ts';
import { seq } from '../../../src/lib/asn1/encode-der.ts';
import { context, DerReader, TAG } from '../../../src/lib/asn1/der.ts';
import { explicit, set } from '../../../src/lib/asn1/encode-der.ts';
import { grant } from '../../../src/sandbox/timestamp-token.ts';

/** The parts of a token (ContentInfo) in DER. The signature covers only `content` and the signed attributes. */
export interface TokenParts {
  readonly version: Buffer;
  readonly digests: readonly Buffer[];
  /** EncapsulatedContentInfo. */
  readonly content: Buffer;
  readonly certificates: readonly Buffer[];
  /** What follows the certificates: `[1]` for CRLs. */
  readonly crls: readonly Buffer[];
  /** The fields of the SignerInfo without the unsigned attributes. */
  readonly signer: readonly Buffer[];
  /** `[1]` of the SignerInfo, or nothing. */
  readonly unsigned: readonly Buffer[];
}

const raws = (each: readonly Der[]): Buffer[] => each.map(({ raw }) => raw);

export function takeApart(token: Buffer): TokenParts {
  const [, wrapped] = children(parseDer(token, 'token'), 'token');
  const data = DerReader.of(wrapped?.body ?? token, 'token');
  const [version, digests, content] = [data.next(), data.next(TAG.set), data.next()];
  const certificates = data.optional(context(0));
  const crls = data.optional(context(1));
  const [signer] = children(data.next(TAG.set), 'token');
  const fields = signer ? children(signer, 'token') : [];
  return {
    version: version.raw,
    digests: raws(children(digests, 'token')),
    content: content.raw,
    certificates: certificates ? raws(children(certificates, 'token')) : [],
    crls: crls ? [crls.raw] : [],
    signer: raws(fields.filter(({ tag }) => tag !== context(1))),
    unsigned: raws(fields.filter(({ tag }) => tag === context(1))),
  };
}

export function putTogether(parts: TokenParts, token: Buffer): Buffer {
  const [type] = children(parseDer(token, 'token'), 'token');
  const data = seq(
    parts.version,
    set(...parts.digests),
    parts.content,
    ...(parts.certificates.length > 0 ? [explicit(0, ...parts.certificates)] : []),
    ...parts.crls,
    set(seq(...parts.signer, ...parts.unsigned)),
  );
  return seq(type?.raw ?? token, explicit(0, data));
}

/** Changes parts of a token. */
export const altered = (token: Buffer, change: (parts: TokenParts) => Partial<TokenParts>): Buffer => {
  const parts = takeApart(token);
  return putTogether({ ...parts, ...change(parts) }, token);
};

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

async function ask(url: string, query: Buffer): Promise<Buffer> {
  const outgoing = request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/timestamp-query' },
  });
  outgoing.end(query);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  return bytesOf(answer);
}

export interface AlteringAuthority {
  readonly url: string;
  /** How many requests came. */
  readonly asked: () => number;
  close(): void;
}

/** A server between a client and an authority that changes each token, as anyone on the network can. */
export async function alteringAuthority(
  behind: string,
  change: (token: Buffer) => Buffer,
): Promise<AlteringAuthority> {
  let asked = 0;
  const server = createServer((incoming, response) => {
    asked += 1;
    void bytesOf(incoming)
      .then((query) => ask(behind, query))
      .then((answer) => {
        const [, token] = children(parseDer(answer, 'answer'), 'answer');
        response.writeHead(200, { 'content-type': 'application/timestamp-reply' });
        response.end(grant(change(token?.raw ?? answer)));
      });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, asked: () => asked, close: () => server.close() };
}
