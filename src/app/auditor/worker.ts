/** The script of a worker thread that judges batches of receipts. */
import { workerData } from 'node:worker_threads';
import { serveJobs } from '../../lib/concurrency/worker-pool.ts';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { ControlRepository } from '../../protocol/control/repository.ts';
import type { ReceiptContext } from './receipt-audit.ts';
import { auditBatch, type AuditJobs, type AuditSetup } from './workers.ts';

async function contextFrom(setup: AuditSetup): Promise<ReceiptContext> {
  const { path, branches, requests, allowed, receiptSigners, onlyKey, now } = setup;
  return {
    repository: await ControlRepository.openExisting(path, branches),
    requests,
    allowed: AllowedSigners.parse(allowed.text, allowed.name),
    receiptSigners: AllowedSigners.parse(receiptSigners.text, receiptSigners.name),
    onlyKey,
    now,
  };
}

const context = contextFrom(workerData as AuditSetup);
// The first job reports the error.
context.catch(() => {});

const jobs: AuditJobs = { audit: async (commits) => auditBatch(await context, commits) };

// The compressed rows are transferred, not copied.
serveJobs(jobs, ({ chunks }) => chunks.map(({ bytes }) => bytes.buffer));
