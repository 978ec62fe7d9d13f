/** The script of a worker thread that hashes and compares. */
import { serveJobs } from '../concurrency/worker-pool.ts';
import { hashJobs } from './hash-jobs.ts';

serveJobs(hashJobs);
