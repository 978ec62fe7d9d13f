import { printable } from '../../lib/printable.ts';
import type { KeptSigner } from '../../engine/artifact/sign-program.ts';

/** Receipts from before version 2 name the subject alone. */
type KeptProgram = Pick<KeptSigner, 'signer'> & {
  readonly certificate?: string | undefined;
  readonly trusted?: boolean | null | undefined;
};

const VOUCHED = new Map<boolean | null | undefined, string>([
  [true, ', under signing.roots'],
  [false, ', not under signing.roots'],
  [null, ', who that is was not checked'],
]);

/** Who signed a program that was left alone. Anyone can choose a subject, so the certificate stands beside it. */
export const describeKept = ({ signer, certificate, trusted }: KeptProgram): string =>
  `kept: signed by ${printable(signer)}${certificate === undefined ? '' : ` (certificate ${certificate.slice(0, 16)})`}${VOUCHED.get(trusted) ?? ''}`;

const WHY = new Map([
  ['apple-double', 'left alone: a file of macOS (AppleDouble), no program'],
  ['nested-zip', 'not looked into: a zip inside the zip'],
]);

/** Why an entry was left as it was. */
export const describeLeftAlone = ({ why }: { readonly why: string }): string =>
  WHY.get(why) ?? `left alone: ${printable(why)}`;
