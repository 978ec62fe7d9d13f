import { isDeepStrictEqual } from 'node:util';
import type { SigningStatement } from '../../engine/provenance/signing-statement.ts';
import { trustedStatements } from '../../engine/provenance/trusted-statements.ts';
import { claimedKey } from '../../lib/git/commit-signature.ts';
import type { Commit } from '../../lib/git/objects.ts';
import { publicKeyLine } from '../../lib/sshsig/ssh-key.ts';
import { invalid } from '../../lib/errors.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import type { Receipt, ReceiptFile } from '../../protocol/control/receipt-schema.ts';

/** What both a receipt and the provenance of one of its files state, by what it is about. */
const statedBy = {
  receipt: ({ request, vouches, certificate, signer }: Receipt, { input, output, signed }: ReceiptFile) => ({
    file: [output?.size, output?.sha256],
    input: [input.name, input.size, input.sha256],
    programs: signed.map(({ path, before, after, authenticode }) => [
      path,
      before.sha256,
      after.sha256,
      authenticode.digest,
    ]),
    request: [request.id, request.channel, request.requestedAt, request.sourceRevision],
    requester: [request.signer, request.key],
    vouches: vouches.map(({ commit }) => commit),
    certificate: certificate?.sha256,
    signer: signer?.key,
  }),
  provenance: ({ subject, predicate }: SigningStatement) => ({
    file: [predicate.output.size, subject[0]?.digest.sha256],
    input: [predicate.input.name, predicate.input.size, predicate.input.digest.sha256],
    programs: predicate.programs.map(({ path, before, after, signed }) => [
      path,
      before.digest.sha256,
      after.digest.sha256,
      signed.digest,
    ]),
    request: [
      predicate.request.id,
      predicate.request.channel,
      predicate.request.requestedAt,
      predicate.request.sourceRevision,
    ],
    requester: [predicate.request.requester?.principal ?? null, predicate.request.requester?.key ?? null],
    vouches: predicate.vouches.map(({ commit }) => commit),
    certificate: predicate.certificate?.sha256,
    signer: predicate.signer.key,
  }),
};

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
  const { signing, ignored } = trustedStatements(lines, keyOf(commit));
  const [bad] = ignored;
  if (bad) throw differs(`${bad.error.message} (${bad.error.code})`);
  const [only, ...more] = signing;
  if (!only || more.length > 0) throw differs(`${signing.length} statements of how the file was signed`);
  const [stated, expected] = [statedBy.provenance(only.statement), statedBy.receipt(receipt, file)];
  for (const about of Object.keys(expected) as (keyof typeof expected)[])
    if (!isDeepStrictEqual(stated[about], expected[about]))
      throw differs(`it and its receipt.json do not say the same of the ${about}`);
}
