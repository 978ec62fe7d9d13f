/** One thread of the audit: judges the batches of receipts that it is sent, one after another. */
import { parentPort, workerData } from 'node:worker_threads';
import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { ControlRepository } from '../../protocol/control/repository.ts';
import { SignpipeError } from '../../lib/errors.ts';
import { auditBatch, type CrewAnswer, type CrewSetup } from './workers.ts';
import type { ReceiptContext, Step } from './receipt-audit.ts';

async function contextFrom(setup: CrewSetup): Promise<ReceiptContext> {
  const { path, branches, allowed, receiptSigners, onlyKey, now } = setup;
  return {
    repository: await ControlRepository.openExisting(path, branches),
    allowed: AllowedSigners.parse(allowed.text, allowed.name),
    receiptSigners: AllowedSigners.parse(receiptSigners.text, receiptSigners.name),
    onlyKey,
    now,
  };
}

const context = contextFrom(workerData as CrewSetup);

async function answerTo(steps: readonly Step[]): Promise<CrewAnswer> {
  try {
    return { batch: await auditBatch(await context, steps) };
  } catch (error) {
    // A bug keeps its stack: it ends the thread, and is thrown on the other side.
    if (!(error instanceof SignpipeError)) throw error;
    const { kind, code, message, hint } = error;
    return { fault: { kind, code, message, hint } };
  }
}

let before: Promise<void> = Promise.resolve();
parentPort?.on('message', (steps: readonly Step[]) => {
  before = before.then(async () => {
    const answer = await answerTo(steps);
    const packs = 'batch' in answer ? answer.batch.packs : [];
    // Handed over and not copied.
    parentPort?.postMessage(
      answer,
      packs.map(({ bytes }) => bytes.buffer),
    );
  });
});
