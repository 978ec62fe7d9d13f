import { z } from 'zod';
import { sha256Set, statementOf } from './statement.ts';

/** SLSA Verification Summary Attestation, https://slsa.dev/verification_summary/v1 */
export const SUMMARY_PREDICATE = 'https://slsa.dev/verification_summary/v1';

/** The version of SLSA that the summary was written after. */
export const SLSA_VERSION = '1.1';

const uri = z.string().max(4096);

const predicate = z.object({
  verifier: z.object({ id: uri.describe('the signer, by the fingerprint of its receipt key') }),
  timeVerified: z.iso.datetime(),
  resourceUri: uri.describe('control repository, channel and file name'),
  policy: z.object({ uri, digest: sha256Set }),
  inputAttestations: z
    .array(z.object({ uri, digest: z.object({ gitCommit: z.string().optional() }) }))
    .optional()
    .describe('the signed Git commits of the request and of the vouches'),
  verificationResult: z.enum(['PASSED', 'FAILED']),
  verifiedLevels: z.array(z.string().max(200)),
  slsaVersion: z.string().max(32).optional(),
});

/** The Statement that says what the signer verified before it signed. */
export const summaryStatement = statementOf(SUMMARY_PREDICATE, predicate);

export type SummaryStatement = z.infer<typeof summaryStatement>;
