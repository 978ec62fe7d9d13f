import { z } from 'zod';
import { invalid, type SignpipeError } from '../errors.ts';
import { isBounded, jsonOrNull, repeatedKey } from '../json.ts';
import type { SshSigner } from '../sshsig/ssh-signer.ts';

/**
 * A DSSE envelope (Dead Simple Signing Envelope, https://github.com/secure-systems-lab/dsse): bytes of a declared type,
 * and signatures over both. Nothing in it is trusted before one of the signatures is verified.
 */
export interface Envelope {
  readonly payloadType: string;
  readonly payload: Buffer;
  readonly signatures: readonly EnvelopeSignature[];
}

export interface EnvelopeSignature {
  /** An unauthenticated hint at the key; empty if there is none. */
  readonly keyid: string;
  readonly value: Buffer;
}

/** The most signatures that an envelope may have. */
const MAX_SIGNATURES = 16;
/** The most values in its JSON form, those of unknown keys included. */
const MAX_VALUES = 1000;

const malformed = (message: string): SignpipeError => invalid('dsse-malformed', message);

/** The JSON form of an envelope. Readers ignore unknown keys. */
const schema = z.object({
  payloadType: z.string().max(1000),
  payload: z.string(),
  signatures: z
    .array(z.object({ keyid: z.string().max(1000).default(''), sig: z.string().max(8192) }))
    .max(MAX_SIGNATURES),
});

/**
 * The bytes that are signed: DSSE's pre-authentication encoding, `DSSEv1 LENGTH TYPE LENGTH PAYLOAD`. It begins unlike
 * anything that SSH signs: `SSHSIG`, or the length of a session id.
 */
export function preAuthEncoding(payloadType: string, payload: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** Makes an envelope on one line, without a line end. The key id is the key's `SHA256:` fingerprint. */
export async function signEnvelope(
  payloadType: string,
  payload: Buffer,
  signer: Pick<SshSigner, 'fingerprint' | 'signStandard'>,
): Promise<string> {
  const signature = await signer.signStandard(preAuthEncoding(payloadType, payload));
  return JSON.stringify({
    payloadType,
    payload: payload.toString('base64'),
    signatures: [{ keyid: signer.fingerprint, sig: signature.toString('base64') }],
  });
}

/** Decodes padded base64 in the standard or the URL-safe alphabet, both of which DSSE allows. */
function decode(text: string, what: string): Buffer {
  const urlSafe = /[-_]/.test(text);
  const encoding = urlSafe ? 'base64url' : 'base64';
  const bytes = Buffer.from(text, encoding);
  const padding = urlSafe ? '='.repeat((3 - (bytes.length % 3)) % 3) : '';
  if (bytes.toString(encoding) + padding === text) return bytes;
  throw malformed(`${what} is not base64, padded and in one alphabet`);
}

/** Reads the JSON form of an envelope; `what` names it in messages. Throws `dsse-malformed`. */
export function parseEnvelope(text: string, what: string): Envelope {
  const { data, error } = schema.safeParse(isBounded(text, MAX_VALUES) ? jsonOrNull(text) : null);
  if (!data)
    throw malformed(
      `${what} is not a DSSE envelope: ${error.issues[0]?.path.join('.') ?? ''}`.replace(/: $/, ''),
    );
  const repeated = repeatedKey(text);
  if (repeated !== null) throw malformed(`${what} has the key ${JSON.stringify(repeated)} twice`);
  return {
    payloadType: data.payloadType,
    payload: decode(data.payload, `the payload of ${what}`),
    signatures: data.signatures.map(({ keyid, sig }) => ({
      keyid,
      value: decode(sig, `a signature of ${what}`),
    })),
  };
}
