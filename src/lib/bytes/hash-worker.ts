/** One thread that hashes and compares: does the jobs that it is sent, one after another. */
import { parentPort } from 'node:worker_threads';
import { messageOf, SignpipeError } from '../errors.ts';
import { doJob, type Job } from './extents.ts';
import type { Answer, Fault } from './worker-pool.ts';

function faultOf(error: unknown): Fault {
  if (error instanceof SignpipeError) {
    const { kind, code, message } = error;
    return { kind, code, message };
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  return { code, message: messageOf(error) };
}

function answerTo(job: Job): Answer {
  try {
    return { result: doJob(job) };
  } catch (error) {
    return { fault: faultOf(error) };
  }
}

parentPort?.on('message', (job: Job) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
  parentPort?.postMessage(answerTo(job));
});
