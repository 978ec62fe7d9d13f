import { join } from 'node:path';
import type { KeySettings } from '../../../engine/keys/open.ts';
import { readDetached } from '../../../engine/artifact/detached.ts';
import { isRefused } from '../../../lib/errors.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { newKeyFinding } from '../../../lib/x509/successor-findings.ts';
import { readReceipt } from '../../../protocol/control/receipt.ts';
import { receiptsSince } from '../../../protocol/control/receipt-history.ts';
import { ControlRepository } from '../../../protocol/control/repository.ts';
import type { SignerConfig } from '../../config/signer.ts';
import { findingResult } from './check-certificate.ts';
import type { SigningKeys } from './check-keys.ts';
import type { CheckResult } from './check-result.ts';

/** How many of the newest receipts are read. */
const MOST_RECEIPTS = 100;

/** The certificate of one signature in a receipt, if the receipt is about a certificate with this subject; else null. */
async function certificateIn(
  repository: ControlRepository,
  id: string,
  subject: string,
): Promise<Certificate | null> {
  const found = await readReceipt(repository, id);
  const { receipt } = found;
  const [program] = receipt.files.flatMap(({ signed }) => signed);
  if (!program || receipt.certificate?.subject !== subject) return null;
  const all = await readDetached(await found.signature(program), program.format, id);
  const certificates = all.map(({ signature }) => signature.certificate);
  return certificates.find((each) => each?.subject === subject) ?? null;
}

/** The certificate with this subject with which the newest receipt was signed; null if the newest receipts have none. */
export async function lastCertificate(
  repository: ControlRepository,
  subject: string,
): Promise<Certificate | null> {
  const { receipts } = await repository.heads();
  if (receipts === null) return null;
  const ids = (await receiptsSince(repository, receipts, null)).filter(({ request }) => request !== null);
  for (const { id } of ids.slice(-MOST_RECEIPTS).reverse()) {
    const found = await certificateIn(repository, id, subject).catch((error: unknown) => {
      if (isRefused(error)) return null;
      throw error;
    });
    if (found) return found;
  }
  return null;
}

/**
 * Warns if the key is another one than that of the newest receipt under the same subject. The receipts are those in the
 * signer's clone; if there is none yet, there is nothing to compare with.
 */
export async function checkKeyHistory(
  { state, control }: SignerConfig,
  settings: KeySettings,
  keys: SigningKeys,
): Promise<CheckResult[]> {
  const key = await keys.open(settings).catch(() => null); // Its own check reports that it does not open.
  const [leaf] = key?.certificates ?? [];
  if (!leaf || leaf.isTest || key?.shortLived) return [];
  const { requests, receipts } = control;
  const clone = join(state, 'control.git');
  const repository = await ControlRepository.openExisting(clone, { requests, receipts }).catch(() => null);
  if (!repository) return [];
  try {
    const last = await lastCertificate(repository, leaf.subject);
    const finding = last && newKeyFinding(last, leaf);
    return finding ? [findingResult(finding)] : [];
  } finally {
    repository.close();
  }
}
