import { z } from 'zod';
import { verifyCommitSignature, type CommitSigners } from '../../lib/git/commit-signature.ts';
import { jsonOrNull } from '../../lib/json.ts';
import { commitId } from './commit-id.ts';
import { identitySchema } from './identity-schema.ts';
import type { Commit } from '../../lib/git/objects.ts';
import type { ControlRepository } from './repository.ts';

/** The file on the receipt branch that says what a request needs to be signed. */
export const POLICY = 'policy.json';

const POLICY_LIMIT = 1024 * 1024;

const certificateSchema = z.object({
  identity: identitySchema,
  sha256: z.string().optional().describe('absent if the service that signs replaces it every few days'),
  notAfter: z.iso.datetime().optional(),
});

const channelSchema = z.object({
  vouches: z.int().min(0).describe('distinct others who must have vouched for the same bytes'),
  delay: z.int().min(0).describe('time lock, in seconds from when the signer first saw the request'),
  unsignedRequests: z.enum(['reject', 'accept']),
  pins: z.enum(['require', 'accept-unpinned']),
  requesters: z.array(z.string()).describe('principals who may request, as patterns'),
  names: z.array(z.string()).describe('files that may be named, as patterns'),
  files: z.array(z.string()).describe('entries of a zip that are signed, as patterns'),
  timestamped: z.boolean(),
  checksums: z
    .array(z.string())
    .optional()
    .describe(
      'kinds of files that are delivered beside each signed file: sha256sums, openpgp, ssh, minisign',
    ),
  provenance: z
    .literal(true)
    .optional()
    .describe('a signed statement of how it was signed is delivered beside each signed file'),
  alreadySigned: z
    .string()
    .max(50)
    .optional()
    .describe('what happens to programs that are signed already: replace, append or reject; keep if absent'),
  inside: z
    .string()
    .max(32)
    .optional()
    .describe(
      'what happens to programs inside of containers: sign, require-signed or ignore; report if absent',
    ),
  others: z
    .literal('checksum')
    .optional()
    .describe('files that cannot be signed are delivered unchanged, with their checksum files'),
  sparse: z.literal(false).optional().describe('files are always fetched whole, whatever a request pins'),
  waiting: z
    .object({
      for: z.string().max(50).describe('`timestamp`, `key`, or what a later signer may wait for'),
      since: z.iso.datetime(),
    })
    .optional()
    .describe(
      'requests wait since then, because no timestamp authority answers or the key cannot be reached',
    ),
  certificate: certificateSchema.optional().describe('signs now'),
  successor: z
    .object({ from: z.iso.datetime(), certificate: certificateSchema.optional() })
    .optional()
    .describe('signs from that time on; without a certificate as long as the signer cannot open it'),
});

const policySchema = z.object({
  version: z.literal(1),
  roots: z
    .array(commitId)
    .optional()
    .describe('pinned roots of the request branch; absent until they are pinned'),
  /** By channel name. */
  channels: z.record(z.string(), channelSchema),
});

/**
 * The public part of a signer's policy: `policy.json` in every commit that it adds to the receipt branch, so that
 * builders know what a request waits for, and an audit sees under which policy something was signed. Readers ignore
 * keys that they do not know.
 */
export type PublishedPolicy = z.infer<typeof policySchema>;

/** What a policy says about a signing certificate. */
export type PublishedCertificate = z.infer<typeof certificateSchema>;

/** A policy's entry for a channel; undefined for names that every object has, such as `constructor`. */
export const channelIn = (
  policy: PublishedPolicy | null | undefined,
  name: string,
): PublishedPolicy['channels'][string] | undefined =>
  policy && Object.hasOwn(policy.channels, name) ? policy.channels[name] : undefined;

/** The bytes of `policy.json`; equal policies have equal bytes. */
export const policyBytes = (policy: PublishedPolicy): Buffer =>
  Buffer.from(`${JSON.stringify(policySchema.parse(policy), null, 2)}\n`);

/** The bytes of a commit's `policy.json`, or null. */
export const readPolicyBytes = (repository: ControlRepository, commit: Commit): Promise<Buffer | null> =>
  repository.readFileAt(commit, POLICY, POLICY_LIMIT);

/** The policy in a commit on the receipt branch; null if it has none, or none that can be parsed. */
export async function readPolicy(
  repository: ControlRepository,
  commit: Commit,
): Promise<PublishedPolicy | null> {
  const bytes = await readPolicyBytes(repository, commit);
  if (bytes === null) return null;
  return policySchema.safeParse(jsonOrNull(bytes.toString('utf8'))).data ?? null;
}

/**
 * The policy in the commit `tip` of the receipt branch; null if there is no branch, or no policy that can be parsed.
 * Throws as `verifyCommitSignature` does unless one of these keys signed the commit.
 */
export async function readSignedPolicy(
  repository: ControlRepository,
  tip: string | null,
  receiptSigners: CommitSigners,
): Promise<PublishedPolicy | null> {
  if (tip === null) return null;
  const commit = await repository.readCommit(tip);
  verifyCommitSignature(commit.raw, receiptSigners);
  return readPolicy(repository, commit);
}

/**
 * Whether a commit on the receipt branch only publishes a changed policy: it has one parent, and `policy.json` is
 * alone in its tree. The caller checks its signature, as for a receipt.
 */
export async function isPolicyCommit(repository: ControlRepository, commit: Commit): Promise<boolean> {
  if (commit.parents.length !== 1) return false;
  const entries = await repository.readTree(commit.tree);
  return (
    entries.length === 1 && entries[0]?.name === POLICY && (await readPolicy(repository, commit)) !== null
  );
}
