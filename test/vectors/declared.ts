import type { Check } from './check-file.ts';

/** A result that is known to differ from what a vector should give, and why: it does not make the run fail. */
interface Declared {
  /** Matches the path below the folder of signed files. */
  readonly path: RegExp;
  readonly checks: readonly Check[];
  readonly why: string;
}

const DECLARED: readonly Declared[] = [
  {
    path: /(?:^|\/)sample\.(?:msix|appx)bundle$/,
    checks: ['digest', 'bytes', 'attach', 'remove'],
    why: 'its unsigned twin holds unsigned packages, the signed one signed packages: it is no twin',
  },
  {
    path: /\.ms[ipt]$/,
    checks: ['remove'],
    why: "signing overwrites the root's time, and what Windows had left in free mini sectors",
  },
];

/** Why a check of this file may fail; undefined if it may not. */
export const declaredFor = (path: string, check: Check): string | undefined =>
  DECLARED.find((each) => each.path.test(path) && each.checks.includes(check))?.why;
