import type { Check } from './check-file.ts';

/** A result that is known to differ from what a vector should give, and why: it does not make the run fail. */
interface Declared {
  /** Matches the path below the folder of signed files. */
  readonly path: RegExp;
  readonly checks: readonly Check[];
  readonly why: string;
}

/**
 * Signed files whose unsigned files are other ones: in psign's bundles they hold unsigned packages, the signed ones
 * signed packages. They are signed again after their signature was removed.
 */
const NO_TWINS: readonly RegExp[] = [/(?:^|\/)sample\.(?:msix|appx)bundle$/];

export const hasTwin = (path: string): boolean => !NO_TWINS.some((each) => each.test(path));

const DECLARED: readonly Declared[] = [
  {
    path: /\.vsix$/,
    checks: ['remove'],
    why: 'its relationships and content types are written again, in another form than the packer wrote them',
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
