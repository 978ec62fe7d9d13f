import { signedIdentity } from '../../../lib/git/commit-signature.ts';
import type { NewAttachment, NewAttachments, SignedWork } from './new-attachment.ts';
import { policyWithRoots } from '../channel/public-policy.ts';
import { PROVENANCE_SUFFIX, provenanceOf } from './provenance.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** The provenance of each file of a request, if its channel has `provenance: true`; signed by the key for receipts. */
export async function provenanceAttachments(
  { channel, receipt, request }: SignedWork,
  { writer: { signer, policy }, origin: { roots } }: Pick<SignerContext, 'writer' | 'origin'>,
): Promise<NewAttachments> {
  const byFile = new Map<string, NewAttachment[]>();
  if (!channel.config.provenance) return { byFile, common: [] };
  if (!policy) throw new Error('a signer without a policy');
  const source = {
    receipt,
    requestIdentity: signedIdentity(request.raw),
    roots,
    policy: policyWithRoots(policy, roots),
    pinned: new Set(request.files.flatMap(({ name, sha256 }) => (sha256 === undefined ? [] : [name]))),
  };
  for (const file of receipt.files) {
    const { name } = file.input;
    const content = await provenanceOf(source, file, signer);
    byFile.set(name, [{ name: `${name}${PROVENANCE_SUFFIX}`, kind: 'provenance', content }]);
  }
  return { byFile, common: [] };
}
