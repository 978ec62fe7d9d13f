import { isDeepStrictEqual } from 'node:util';
import type { SigningStatement } from '../../engine/provenance/signing-statement.ts';
import { trustedStatements } from '../../engine/provenance/trusted-statements.ts';
import type { SummaryStatement } from '../../engine/provenance/verification-summary.ts';
import { claimedKey } from '../../lib/git/commit-signature.ts';
import type { Commit } from '../../lib/git/objects.ts';
import { publicKeyLine } from '../../lib/sshsig/ssh-key.ts';
import { invalid } from '../../lib/errors.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { Receipt, ReceiptFile } from '../../protocol/control/receipt-schema.ts';

/** What both a receipt and the provenance of one of its files state, by what it is about. */
const statedBy = {
  receipt: (
    { request, vouches, certificate, identity, signer, signpipe, test, times }: Receipt,
    { input, output, signed }: ReceiptFile,
  ) => ({
    file: [output?.size, [{ name: output?.name, digest: { sha256: output?.sha256 } }]],
    input: [input.name, input.size, input.sha256],
    programs: signed.map(
      ({ path, inside = [], before, after, authenticode, certificate: issued, timestamp }) => [
        [...inside, path],
        [before.size, before.sha256],
        [after.size, after.sha256],
        [authenticode.algorithm, authenticode.digest],
        issued,
        timestamp,
      ],
    ),
    request: [request.id, request.channel, request.requestedAt, request.sourceRevision],
    requester: [request.signer, request.key],
    vouches: vouches.map(({ name, signer: principal, key, commit }) => [name, principal, key, commit]),
    certificate: [certificate, identity, test],
    signer: [signer?.name, signer?.key, signpipe],
    times: [times.seen, times.fetched, times.signed ?? times.seen],
  }),
  provenance: ({ subject, predicate }: SigningStatement) => ({
    file: [predicate.output.size, subject],
    input: [predicate.input.name, predicate.input.size, predicate.input.digest.sha256],
    programs: predicate.programs.map(
      ({ path, inside = [], before, after, signed, certificate, timestamp }) => [
        [...inside, path],
        [before.size, before.digest.sha256],
        [after.size, after.digest.sha256],
        [signed.algorithm, signed.digest],
        certificate,
        timestamp,
      ],
    ),
    request: [
      predicate.request.id,
      predicate.request.channel,
      predicate.request.requestedAt,
      predicate.request.sourceRevision,
    ],
    requester: [predicate.request.requester?.principal ?? null, predicate.request.requester?.key ?? null],
    vouches: predicate.vouches.map(({ name, principal, key, commit }) => [name, principal, key, commit]),
    certificate: [predicate.certificate, predicate.identity, predicate.test],
    signer: [predicate.signer.name, predicate.signer.key, predicate.signer.version],
    times: [predicate.times.seen, predicate.times.fetched, predicate.times.signed],
  }),
};

/** What a verification summary of a file must state, and what one states. The request decides the other levels. */
const summarised = {
  receipt: ({ request, vouches, times }: Receipt, { output }: ReceiptFile) => ({
    file: [{ name: output?.name, digest: { sha256: output?.sha256 } }],
    commits: [request.id, ...vouches.map(({ commit }) => commit)],
    time: times.signed ?? times.seen,
    result: 'PASSED',
    vouched: new Set(vouches.map(({ signer }) => signer)).size,
    isSigned: request.key !== null,
  }),
  provenance: ({ subject, predicate }: SummaryStatement) => ({
    file: subject,
    commits: (predicate.inputAttestations ?? []).map(({ digest }) => digest.gitCommit),
    time: predicate.timeVerified,
    result: predicate.verificationResult,
    vouched: Math.max(0, ...predicate.verifiedLevels.map(vouchersIn)),
    isSigned: predicate.verifiedLevels.includes('SIGNPIPE_REQUEST_SIGNED'),
  }),
};

/** How many others vouched for the bytes, according to a level of a summary; 0 for other levels. */
const vouchersIn = (level: string): number => Number(/^SIGNPIPE_VOUCHED_(\d+)$/.exec(level)?.[1] ?? 0);

/** The key that signed a commit, without the certificate that it may have: envelopes carry none. */
function keyOf({ raw }: Commit): AllowedSigners {
  const key = claimedKey(raw);
  const list = key ? `receipt ${publicKeyLine(key.plain)}\n` : '';
  return AllowedSigners.parse(list, 'the key of the receipt');
}

/**
 * Checks the provenance of a file, as its receipt holds it: the key that signed the receipt's commit signed every
 * envelope, and the statement is that of the receipt. Throws `receipt-provenance-differs`.
 */
export function requireProvenance(
  content: Buffer,
  name: string,
  { receipt, file }: { readonly receipt: Receipt; readonly file: ReceiptFile },
  commit: Commit,
): void {
  const differs = (why: string): Error => invalid('receipt-provenance-differs', `${name}: ${why}`);
  const lines = content.toString('utf8').trimEnd().split('\n');
  const { signing, summaries, ignored } = trustedStatements(lines, keyOf(commit));
  const [bad] = ignored;
  if (bad) throw differs(`${bad.error.message} (${bad.error.code})`);
  const [only, ...more] = signing;
  if (!only || more.length > 0) throw differs(`${signing.length} statements of how the file was signed`);
  const [stated, expected] = [statedBy.provenance(only.statement), statedBy.receipt(receipt, file)];
  for (const about of Object.keys(expected) as (keyof typeof expected)[])
    if (!isDeepStrictEqual(stated[about], expected[about]))
      throw differs(`it and its receipt.json do not say the same of the ${about}`);
  const summary = summarised.receipt(receipt, file);
  for (const { statement } of summaries)
    if (!isDeepStrictEqual(summarised.provenance(statement), summary))
      throw differs('its summary and its receipt.json do not say the same');
}
