/** The script of the threads that `worker-pool.test.ts` starts. */
import { threadId, workerData } from 'node:worker_threads';
import { serveJobs } from '../../../src/lib/concurrency/worker-pool.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';

const wait = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

const jobs = {
  double: (n: number): number => n * 2,
  thread: async (milliseconds: number): Promise<number> => {
    await wait(milliseconds);
    return threadId;
  },
  data: (): unknown => workerData,
  bytes: (size: number): Uint8Array => new Uint8Array(size).fill(7),
  refuse: (): never => {
    throw new SignpipeError('not-allowed', 'test-code', 'it is refused', {
      hint: 'ask for something else',
      cause: new Error('the reason'),
    });
  },
  fail: (): never => {
    throw new RangeError('a bug');
  },
  exit: (): never => process.exit(3),
};
export type TestJobs = typeof jobs;

serveJobs(jobs, (result) => (result instanceof Uint8Array ? [result.buffer as ArrayBuffer] : []));
