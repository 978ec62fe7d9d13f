import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import type { VerifiedProvenance } from '../../engine/provenance/verify-provenance.ts';

/** Longer texts, which others chose, are cut off. */
const MOST = 200;

const text = (value: string): string => printable(value, MOST);

/** How verified provenance is described to people, in indented lines. */
export function provenanceLines({ signing, summary, restored, ignored }: VerifiedProvenance): string[] {
  const { input, programs, request, vouches, signer } = signing.statement.predicate;
  const { requester } = request;
  const by = requester ? `${text(requester.principal)} (${text(requester.key)})` : 'an unsigned commit';
  const revision = request.sourceRevision === undefined ? '' : `, source ${text(request.sourceRevision)}`;
  return [
    `  provenance: stated by ${text(signing.principal)} (${signing.key}), signpipe ${text(signer.version)}`,
    `    made from ${text(input.name)}, SHA-256 ${input.digest.sha256}`,
    `    request ${request.id} by ${by} on channel ${text(request.channel)}${revision}`,
    ...(vouches.length > 0
      ? [`    vouched for by ${vouches.map(({ principal }) => text(principal)).join(', ')}`]
      : []),
    ...(programs.length > 0
      ? [
          `    ${restored.length} of ${plural(programs.length, 'program')}: with the signature removed, the digest is that stated for the unsigned program`,
        ]
      : []),
    ...(summary
      ? [
          `    summary: ${text(summary.statement.predicate.verificationResult)} ${summary.statement.predicate.verifiedLevels.map(text).join(', ')}`,
        ]
      : []),
    ...ignored.map(({ error }) => `    ignored: ${text(error.message)} [${error.code}]`),
  ];
}

/** Verified provenance in the JSON of `signpipe verify`. */
export const provenanceJson = (verified: VerifiedProvenance | null): object =>
  verified
    ? {
        verified: true,
        signer: { principal: verified.signing.principal, key: verified.signing.key },
        statement: verified.signing.statement,
        summary: verified.summary?.statement ?? null,
        restored: verified.restored,
        ignored: verified.ignored.map(({ line, error: { code, message } }) => ({ line, code, message })),
      }
    : { verified: false };
