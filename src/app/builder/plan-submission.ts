import { tmpdir } from 'node:os';
import { compilePatterns } from '../../engine/artifact/globs.ts';
import { planOrKeep, type RequestPlan } from '../../engine/artifact/plan-or-keep.ts';
import type { AlreadySigned, InsidePolicy } from '../../engine/artifact/signed-artifact.ts';
import { DEFAULT_FILES } from '../../engine/formats/program-names.ts';
import { isRefused, type SignpipeError } from '../../lib/errors.ts';
import { withTempFolder } from '../../lib/bytes/temp-folder.ts';
import { channelIn, type PublishedPolicy } from '../../protocol/control/published-policy.ts';
import { formatZipname } from '../../protocol/control/zipname.ts';
import { prepareUploads, sayPacked, type PreparedUpload, type PrepareOptions } from './prepare-uploads.ts';
import type { BuilderSession } from './session.ts';
import { publishedPolicy } from './trusted-policy.ts';

/** What would become of one file of a request: a plan, or the reason why it would be refused. */
export type PlannedFile = { readonly name: string } & (
  | { readonly plan: RequestPlan }
  | { readonly refused: SignpipeError }
);

/** What a request for some files would bring about. */
export interface PlannedSubmission {
  readonly channel: string;
  /** Whether the signer's published policy was followed; if not, there is none that is trusted here. */
  readonly published: boolean;
  readonly files: readonly PlannedFile[];
}

type ChannelPolicy = PublishedPolicy['channels'][string];

const ALREADY_SIGNED: ReadonlySet<string> = new Set<AlreadySigned>(['keep', 'replace', 'append', 'reject']);
const INSIDE: ReadonlySet<string> = new Set<InsidePolicy>(['sign', 'require-signed', 'report', 'ignore']);

/** A word of the policy; the default for one that only a later version knows. */
const known = <T extends string>(word: string | undefined, words: ReadonlySet<string>, otherwise: T): T =>
  word !== undefined && words.has(word) ? (word as T) : otherwise;

async function planUpload(
  { name, path }: PreparedUpload,
  policy: ChannelPolicy | undefined,
  { config }: BuilderSession,
): Promise<PlannedFile> {
  try {
    const plan = await planOrKeep(path, name, {
      isOurs: compilePatterns(policy?.files ?? DEFAULT_FILES),
      alreadySigned: known<AlreadySigned>(policy?.alreadySigned, ALREADY_SIGNED, 'keep'),
      inside: known<InsidePolicy>(policy?.inside, INSIDE, 'report'),
      acceptOthers: policy?.others === 'checksum',
      limits: config.limits,
      scratch: tmpdir(),
    });
    return { name, plan };
  } catch (error) {
    if (!isRefused(error)) throw error;
    return { name, refused: error };
  }
}

/**
 * Plans what the signer would do with files if they were submitted, by the policy that it publishes. Nothing is uploaded
 * or committed. The signer decides again: its policy may change, and it knows roots and limits of its own.
 */
export function planSubmission(
  session: BuilderSession,
  paths: readonly string[],
  { channel = 'default', ...options }: PrepareOptions & { readonly channel?: string | undefined } = {},
): Promise<PlannedSubmission> {
  return withTempFolder(async (scratch) => {
    const prepared = await prepareUploads(paths, scratch, options);
    sayPacked(session, prepared);
    formatZipname(prepared.uploads.map(({ name, sha256 }) => ({ name, sha256 })));
    const { repository, config } = session;
    const { receipts } = await repository.fetch();
    const policy = channelIn(await publishedPolicy(repository, receipts, config.trust), channel);
    const files: PlannedFile[] = [];
    for (const each of prepared.uploads) files.push(await planUpload(each, policy, session));
    return { channel, published: policy !== undefined, files };
  });
}
