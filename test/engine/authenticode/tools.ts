import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Finding, SignableFile } from '../../../src/engine/formats/signable-file.ts';
import { schemeOf } from '../../../src/engine/authenticode/scheme-of.ts';
import { EVERYTHING } from '../../../src/engine/authenticode/unauthenticated-data.ts';
import { signaturesOf } from '../../../src/engine/authenticode/verify.ts';
import { openSignableFile } from '../../../src/engine/formats/recognize.ts';
import { BufferSource, type ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { keyToPem, toPem, type TestIdentity } from '../../../src/sandbox/certificates.ts';
import type { Timestamper } from '../../../src/engine/timestamp/client.ts';
import { parseDer } from '../../../src/lib/asn1/der.ts';
import { withTimestampCode } from '../../../src/engine/timestamp/timestamp-errors.ts';
import {
  checkToken,
  parseToken,
  type TimestampInfo,
  type TokenExpectation,
} from '../../../src/engine/timestamp/token/token.ts';
import {
  buildTimestampRequest,
  parseTimestampResponse,
} from '../../../src/engine/timestamp/token/tsp-messages.ts';

const run = promisify(execFile);

/** The output of a command on both streams, and its exit status. */
export interface Outcome {
  readonly status: number;
  readonly text: string;
}

/** Runs an external tool; throws if it is missing. */
export async function tool(command: string, ...args: readonly string[]): Promise<Outcome> {
  try {
    const { stdout, stderr } = await run(command, args, { maxBuffer: 16 * 1024 * 1024 });
    return { status: 0, text: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof code !== 'number') throw error;
    return { status: code, text: (stdout ?? '') + (stderr ?? '') };
  }
}

/** Runs an external tool, which must succeed; returns its output. */
export async function must(command: string, ...args: readonly string[]): Promise<string> {
  const { status, text } = await tool(command, ...args);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} exited ${status}: ${text}`);
  return text;
}

/** Creates a folder for `use`, which is removed afterwards. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-authenticode-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const source = (bytes: Buffer, name = 'program.exe'): BufferSource => new BufferSource(bytes, name);

export const openBytes = (bytes: Buffer): Promise<SignableFile> => openSignableFile(source(bytes));

/** All unauthenticated data in a file: what no signature covers and no verifier needs. */
export const findingsIn = (file: SignableFile): Finding[] => [
  ...file.unauthenticatedData,
  ...signaturesOf(file).flatMap(({ der, ...place }) =>
    schemeOf(file).read(der, 'it').findings(place, EVERYTHING),
  ),
];

/** All bytes of a source. */
export const bytesOf = (content: ByteSource): Promise<Buffer> => content.read(0, content.size);

/** A certificate and key as files: `NAME.crt` (leaf first, root left out) and `NAME.key`. */
export async function writeIdentity(folder: string, name: string, identity: TestIdentity): Promise<void> {
  const chain = identity.chain.length > 1 ? identity.chain.slice(0, -1) : identity.chain;
  await writeFile(join(folder, `${name}.crt`), toPem(chain));
  await writeFile(join(folder, `${name}.key`), keyToPem(identity.key));
}

/** Parses a token and checks it. */
export function checkTokenBytes(token: Buffer, expected: TokenExpectation): TimestampInfo {
  const der = withTimestampCode('timestamp-malformed', () => parseDer(token, 'token'));
  return checkToken(parseToken(der, 'token'), expected);
}

const TSA_CONFIGURATION = `[ tsa ]
default_tsa = it
[ it ]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_chain = no
`;

/** A timestamp authority by OpenSSL, one process per token: an independent implementation of RFC 3161. */
export class OpensslTimestamper implements Timestamper {
  /** Signature values that it was asked to stamp. */
  readonly asked: Buffer[] = [];

  constructor(private readonly identity: TestIdentity) {}

  async timestamp(
    ...[data, hash]: Parameters<Timestamper['timestamp']>
  ): ReturnType<Timestamper['timestamp']> {
    this.asked.push(data);
    const imprint = createHash(hash).update(data).digest();
    const nonce = randomBytes(8);
    const reply = await this.reply(buildTimestampRequest({ imprint, hash, nonce }));
    const { token } = parseTimestampResponse(reply, 'openssl ts');
    return { token, info: checkTokenBytes(token, { imprint, hash, nonce }), url: 'http://tsa.example/' };
  }

  private reply(request: Buffer): Promise<Buffer> {
    return inFolder(async (folder) => {
      await writeIdentity(folder, 'tsa', this.identity);
      await writeFile(join(folder, 'chain.pem'), toPem(this.identity.chain.slice(1)));
      await writeFile(join(folder, 'tsa.conf'), TSA_CONFIGURATION.replace('serial\n', `${folder}/serial\n`));
      await writeFile(join(folder, 'request'), request);
      const at = (name: string): string => join(folder, name);
      const key = ['-signer', at('tsa.crt'), '-inkey', at('tsa.key'), '-chain', at('chain.pem')];
      const files = ['-config', at('tsa.conf'), '-queryfile', at('request'), '-out', at('reply')];
      await must('openssl', 'ts', '-reply', ...files, ...key);
      return readFile(at('reply'));
    });
  }
}

/** The output of `osslsigncode verify` for a program; its exit status proves little. */
export const osslsigncodeVerify = (bytes: Buffer, root: TestIdentity): Promise<string> =>
  inFolder(async (folder) => {
    const [file, ca] = [join(folder, 'program.exe'), join(folder, 'ca.pem')];
    await writeFile(file, bytes);
    await writeFile(ca, toPem([root.certificate]));
    return (await tool('osslsigncode', 'verify', '-CAfile', ca, '-TSA-CAfile', ca, '-in', file)).text;
  });

export const SIGNATURE_OK = /^Signature verification: ok$/m;
export const TIMESTAMP_OK = /^Timestamp Server Signature verification: ok$/m;

/** Runs osslsigncode's `command` on the bytes and returns its output file. */
export const osslsigncode = (command: string, bytes: Buffer, ...args: string[]): Promise<Buffer> =>
  inFolder(async (folder) => {
    const [input, output] = [join(folder, 'input.exe'), join(folder, 'output')];
    await writeFile(input, bytes);
    await must('osslsigncode', command, ...args, '-in', input, '-out', output);
    return readFile(output);
  });
