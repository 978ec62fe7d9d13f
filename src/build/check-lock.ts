/** What `npm run check` runs: checks that package-lock.json pins every package, and that all are from a registry. */
import { resolve } from 'node:path';
import { lockedPackages, lockFileProblems } from './packages/lock-file.ts';

const problems = lockFileProblems(await lockedPackages(resolve(import.meta.dirname, '../..')));
for (const problem of problems) console.error(`package-lock.json: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
