import { tmpdir } from 'node:os';
import type { FileReport } from '../../engine/artifact/verify-file.ts';
import type { VerifiedProvenance } from '../../engine/provenance/verify-provenance.ts';
import { invalid, usage } from '../../lib/errors.ts';
import { sha256OfFile } from '../../lib/bytes/hash.ts';
import { DEFAULT_LIMITS } from '../../lib/zip/limits.ts';

/** The options of `signpipe verify` that concern provenance. */
interface ProvenanceOptions {
  readonly provenance?: string;
  readonly receiptSigners?: string;
  readonly original?: string;
}

/** Throws usage errors for options that do not belong together. */
export function requireProvenanceOptions(
  files: readonly string[],
  { provenance, receiptSigners }: ProvenanceOptions,
): void {
  if (provenance === undefined) {
    if (receiptSigners === undefined) return;
    throw usage('receipt-signers-alone', '--receipt-signers belongs to --provenance', {
      hint: 'give --provenance NAME.intoto.jsonl too',
    });
  }
  if (receiptSigners === undefined)
    throw usage('receipt-signers-missing', 'who may sign provenance? The file itself cannot decide that', {
      hint: 'give --receipt-signers FILE: the .pub file of the signer’s receipt key, or an allowed signers file',
    });
  if (files.length > 1)
    throw usage('one-provenance-for-several', '--provenance applies to one file', {
      hint: 'verify one file at a time with it',
    });
}

/** Verifies the provenance of a file, and that the original, if one is given, is the file that it names; null if none is asked for. */
export async function checkProvenance(
  report: FileReport,
  { provenance, receiptSigners, original }: ProvenanceOptions,
): Promise<VerifiedProvenance | null> {
  if (provenance === undefined || receiptSigners === undefined) return null;
  const { readReceiptSigners } = await import('../../engine/provenance/read-provenance.ts');
  const { verifyProvenance } = await import('../../engine/provenance/verify-provenance.ts');
  const allowed = await readReceiptSigners(receiptSigners);
  const options = { limits: DEFAULT_LIMITS, scratch: tmpdir() };
  const verified = await verifyProvenance(provenance, allowed, report, options);
  const { input } = verified.signing.statement.predicate;
  if (original !== undefined && (await sha256OfFile(original)) !== input.digest.sha256)
    throw invalid(
      'provenance-other-original',
      `${original} is not the file that was signed: provenance names one with SHA-256 ${input.digest.sha256}`,
    );
  return verified;
}
