import { z } from 'zod';
import { sha256, sha256Set, statementOf } from './statement.ts';

/**
 * The type of the predicate that says how a file was signed, with its major version. The domain is reserved (RFC 2606)
 * and resolves nowhere: docs/provenance.md describes the predicate.
 */
export const SIGNING_PREDICATE = 'https://signpipe.invalid/provenance/v1';

const text = z.string().max(4096);
const size = z.int().min(0);
const time = z.iso.datetime();
const path = z.string().max(65535);
/** Named by a later version too: readers take any word. */
const word = z.string().max(32);
const commit = z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/);
const contents = z.object({ size: size.describe('bytes'), digest: sha256Set });

const program = z.object({
  path: path.describe('the entry of the zip; empty for a lone program'),
  inside: z.array(path).max(16).optional().describe('containers that were opened to reach `path`'),
  format: word.optional().describe('pe, ...'),
  scheme: word.optional().describe('authenticode, ...'),
  before: contents.describe('without the new signature'),
  after: contents.describe('with it'),
  signed: z
    .object({ algorithm: word, digest: z.string().regex(/^(?:[0-9a-f]{2}){32,1024}$/) })
    .describe('the digest that the signature states, hex: the Authenticode digest'),
  certificate: sha256.optional().describe('of its certificate, if those of a service change every few days'),
  timestamp: z
    .object({ time, authority: text, url: text })
    .nullable()
    .describe('null only with a test certificate'),
});

const predicate = z.object({
  input: contents.extend({ name: text }).describe('the file as it was requested, before signing'),
  output: z.object({ size }).describe('the delivered file, whose digest is the subject’s'),
  programs: z.array(program).describe('what was signed; empty if the file is not one that can be signed'),
  request: z.object({
    id: commit.describe('the Git commit that requested the signature'),
    roots: z.array(commit).max(64).describe('root commits of the control repository'),
    channel: text,
    requester: z
      .object({
        principal: text.describe('its name in the allowed signers'),
        key: text.describe('SHA256: fingerprint'),
      })
      .nullable()
      .describe('whose key signed the request; null if it is not signed'),
    identity: sha256
      .nullable()
      .describe(
        'of the key and the text that it signed, the same under every commit id; null if it is not signed',
      ),
    requestedAt: time,
    sourceRevision: text.optional().describe('what was built, as the requester says'),
  }),
  vouches: z
    .array(z.object({ name: text, principal: text, key: text, commit }))
    .describe('others who stated in signed commits that they got the same bytes'),
  policy: z.object({
    digest: sha256Set.describe('of policy.json'),
    channel: z.record(z.string(), z.json()).describe('what policy.json says of the channel'),
  }),
  test: z.boolean().describe('signed with a test certificate'),
  certificate: z
    .object({ subject: text, issuer: text, serial: text, sha256, notBefore: time, notAfter: time })
    .optional()
    .describe('absent if nothing in the file can be signed'),
  identity: z
    .union([z.object({ eku: text }), z.object({ subject: text, issuer: text })])
    .optional()
    .describe('what stays the same when the certificate is renewed'),
  signer: z.object({
    name: text,
    key: text.describe('SHA256: fingerprint of the key that signs receipts and this envelope'),
    version: z.string().max(64).describe('of signpipe'),
  }),
  times: z.object({ seen: time, fetched: time.optional(), signed: time }),
});

/** The Statement that says how a file was signed. */
export const signingStatement = statementOf(SIGNING_PREDICATE, predicate);

export type SigningStatement = z.infer<typeof signingStatement>;
export type SigningPredicate = SigningStatement['predicate'];
export type AttestedProgram = SigningPredicate['programs'][number];
