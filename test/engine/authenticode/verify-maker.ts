import assert from 'node:assert/strict';
import { createHash, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { children, context, parseDer, readOid, TAG } from '../../../src/lib/asn1/der.ts';
import { explicit, oid, octets, seq, sorted, tlv } from '../../../src/lib/asn1/encode-der.ts';
import { OID, type DigestName } from '../../../src/lib/asn1/oids.ts';
import type { VerifyReport } from '../../../src/engine/authenticode/report.ts';
import { verifyProgram } from '../../../src/engine/artifact/verify-program.ts';
import type { VerifyOptions } from '../../../src/engine/authenticode/verify.ts';
import { attribute } from '../../../src/lib/cms/build-signed-data.ts';
import { makeToken, readRequest } from '../../../src/sandbox/timestamp-token.ts';
import { buildTimestampRequest } from '../../../src/engine/timestamp/token/tsp-messages.ts';
import type { Certificate } from '../../../src/lib/x509/certificate.ts';
import { buildPe } from '../../fixtures/pe.ts';
import {
  makeAuthority,
  makeCodeSigner,
  makeTimestamper,
  pem,
  privatePem,
  type KeyPair,
  type Made,
} from '../../lib/x509/certificate-maker.ts';
import { bytesOf, openBytes, inFolder, must, osslsigncode, source } from './tools.ts';

/** Keys and certificates of the tests; P-256, which takes little time. */
export const root = makeAuthority({ name: 'Test root' });
export const middle = makeAuthority({ name: 'Test intermediate', by: root });
export const signer = makeCodeSigner({ name: 'Test publisher', by: middle });
export const stampRoot = makeAuthority({ name: 'Test timestamp root' });
export const stamper = makeTimestamper({ name: 'Test timestamp authority', by: stampRoot });

export const roots: readonly Certificate[] = [root.certificate];
export const timestampRoots: readonly Certificate[] = [stampRoot.certificate];
export const trusting: VerifyOptions = { roots, timestampRoots };

/** A small unsigned program. */
export const unsigned = (): Buffer => buildPe({ checksum: 'right' });

export interface OsslOptions {
  readonly signer?: Made;
  readonly chain?: readonly Made[];
  readonly hash?: string;
  readonly program?: Buffer;
  readonly arguments?: readonly string[];
}

/** The program as osslsigncode signs it. */
export const osslSigned = (options: OsslOptions = {}): Promise<Buffer> =>
  inFolder(async (folder) => {
    const { signer: by = signer, chain = [middle], hash = 'sha256' } = options;
    const [certificates, key] = [join(folder, 'chain.pem'), join(folder, 'key.pem')];
    await writeFile(certificates, [by, ...chain].map(pem).join(''));
    await writeFile(key, privatePem(by));
    const given = ['-certs', certificates, '-key', key, '-h', hash, ...(options.arguments ?? [])];
    return osslsigncode('sign', options.program ?? unsigned(), ...given);
  });

const TSA_CONFIGURATION = `[ tsa ]
default_tsa = it
[ it ]
serial = FOLDER/serial
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
ess_cert_id_chain = no
`;

async function opensslReply(query: Buffer, by: Made): Promise<Buffer> {
  return inFolder(async (folder) => {
    const at = (name: string): string => join(folder, name);
    await writeFile(at('tsa.conf'), TSA_CONFIGURATION.replace('FOLDER', folder));
    await writeFile(at('tsa.pem'), pem(by));
    await writeFile(at('tsa.key'), privatePem(by));
    await writeFile(at('query'), query);
    const who = ['-signer', at('tsa.pem'), '-inkey', at('tsa.key')];
    const what = ['-config', at('tsa.conf'), '-queryfile', at('query'), '-out', at('reply')];
    await must('openssl', 'ts', '-reply', ...what, ...who);
    return readFile(at('reply'));
  });
}

/** A timestamp authority over HTTP whose tokens OpenSSL makes; passes its URL to `use`. */
export async function withOpensslAuthority<T>(use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const parts: Buffer[] = [];
      for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
      const reply = await opensslReply(Buffer.concat(parts), stamper);
      response.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end(reply);
    };
    answer().catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address !== 'string');
  try {
    return await use(`http://127.0.0.1:${address.port}/`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** An RFC 3161 token (ContentInfo, DER) over `data`. */
export function stamp(
  data: Buffer,
  { by = stamper, time = new Date(), hash = 'sha256' }: { by?: Made; time?: Date; hash?: DigestName } = {},
): Buffer {
  const imprint = createHash(hash).update(data).digest();
  const request = readRequest(buildTimestampRequest({ imprint, hash, nonce: randomBytes(8) }));
  const identity = {
    certificate: by.certificate,
    key: by.key.privateKey,
    chain: [by.certificate, stampRoot.certificate],
  };
  return makeToken({ request, time, identity });
}

/** The parts of a signature, each in DER, to be changed. */
export interface Parts {
  version: Buffer;
  digestAlgorithms: Buffer[];
  contentType: string;
  content: Buffer;
  certificates: Buffer[];
  signers: SignerParts[];
}

export interface SignerParts {
  version: Buffer;
  name: Buffer;
  digestAlgorithm: Buffer;
  signed: Buffer[];
  signatureAlgorithm: Buffer;
  /** The signature value itself. */
  signature: Buffer;
  unsigned: Buffer[];
}

const raws = (values: readonly { raw: Buffer }[]): Buffer[] => values.map(({ raw }) => raw);

/** Splits a signature as signers write it: certificates, one signer, signed attributes. */
export function takeApart(signature: Buffer): Parts {
  const [, wrapped] = children(parseDer(signature, 'test'), 'test');
  assert.ok(wrapped);
  const data = children(parseDer(wrapped.body, 'test'), 'test');
  const [version, digests, content, certificates, signers] = data;
  assert.ok(version && digests && content && certificates && signers);
  const [contentType, inner] = children(content, 'test');
  assert.ok(contentType && inner);
  return {
    version: version.raw,
    digestAlgorithms: raws(children(digests, 'test')),
    contentType: readOid(contentType),
    content: inner.body,
    certificates: raws(children(certificates, 'test')),
    signers: children(signers, 'test').map((each) => takeSignerApart(each.raw)),
  };
}

export function takeSignerApart(signerInfo: Buffer): SignerParts {
  const [version, name, digest, signed, algorithm, value, rest] = children(
    parseDer(signerInfo, 'test'),
    'test',
  );
  assert.ok(version && name && digest && signed && algorithm && value);
  return {
    version: version.raw,
    name: name.raw,
    digestAlgorithm: digest.raw,
    signed: raws(children(signed, 'test')),
    signatureAlgorithm: algorithm.raw,
    signature: value.body,
    unsigned: rest ? raws(children(rest, 'test')) : [],
  };
}

/** Rebuilds a signature from its parts; all members keep their order. */
export const putTogether = (parts: Parts): Buffer =>
  seq(
    oid(OID.signedData),
    explicit(
      0,
      seq(
        parts.version,
        tlv(TAG.set, ...parts.digestAlgorithms),
        seq(oid(parts.contentType), explicit(0, parts.content)),
        ...(parts.certificates.length > 0 ? [tlv(context(0), ...parts.certificates)] : []),
        tlv(TAG.set, ...parts.signers.map(putSignerTogether)),
      ),
    ),
  );

export const putSignerTogether = (parts: SignerParts): Buffer =>
  seq(
    parts.version,
    parts.name,
    parts.digestAlgorithm,
    ...(parts.signed.length > 0 ? [tlv(context(0), ...parts.signed)] : []),
    parts.signatureAlgorithm,
    octets(parts.signature),
    ...(parts.unsigned.length > 0 ? [tlv(context(1), ...parts.unsigned)] : []),
  );

/** The one signer of a signature. */
export function only(parts: Parts): SignerParts {
  const [one] = parts.signers;
  assert.ok(one);
  return one;
}

/** Replaces the signed attribute of `type`, or adds it. */
export function setSigned(parts: Parts, type: string, ...values: readonly Buffer[]): void {
  const one = only(parts);
  const others = one.signed.filter((each) => {
    const [name] = children(parseDer(each, 'test'), 'test');
    return name && readOid(name) !== type;
  });
  one.signed = sorted([...others, attribute(type, ...values)]);
}

/** Corrects messageDigest after the content was changed. */
export function redigest(parts: Parts, hash: DigestName = 'sha256'): void {
  const content = parseDer(parts.content, 'test').body;
  setSigned(parts, OID.messageDigest, octets(createHash(hash).update(content).digest()));
}

/** Signs the current signed attributes again. */
export function resign(parts: Parts, key: KeyPair = signer.key, hash = 'sha256'): void {
  const one = only(parts);
  one.signature = sign(hash, tlv(TAG.set, ...one.signed), key.privateKey);
}

/** Adds a token over the current signature value to the unsigned attributes. */
export function addTimestamp(parts: Parts, options?: Parameters<typeof stamp>[1]): void {
  const one = only(parts);
  one.unsigned = sorted([...one.unsigned, attribute(OID.spcTimestampToken, stamp(one.signature, options))]);
}

/** The first signature of a program. */
export async function signatureOf(program: Buffer): Promise<Buffer> {
  const [signature] = (await openBytes(program)).signatures;
  return signature ?? assert.fail('not signed');
}

/** The signed program with its signature changed. */
export async function edited(signed: Buffer, change: (parts: Parts) => void): Promise<Buffer> {
  const parts = takeApart(await signatureOf(signed));
  change(parts);
  return withSignature(signed, putTogether(parts));
}

/** The program with any bytes in place of its signature. */
export const withSignature = async (program: Buffer, signature: Buffer): Promise<Buffer> =>
  bytesOf(await (await openBytes(program)).embed(signature));

export const verify = (program: Buffer, options: VerifyOptions = {}): Promise<VerifyReport> =>
  verifyProgram(source(program), options);

/** The codes of a report's problems. */
export const codes = ({ problems }: VerifyReport): string[] => problems.map(({ code }) => code);

/** The outcome of each verification step of one signature, by name. */
export const outcomes = ({ signatures }: VerifyReport, index = 0): Record<string, boolean | null> =>
  Object.fromEntries((signatures[index]?.checks ?? []).map(({ name, ok }) => [name, ok]));
