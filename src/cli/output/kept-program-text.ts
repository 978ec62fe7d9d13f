import { printable } from '../../lib/printable.ts';
import type { KeptSigner } from '../../engine/artifact/signed-artifact.ts';

/** Receipts before version 2 name only the subject. */
type AnyKeptProgram = Pick<KeptSigner, 'signer'> & {
  readonly certificate?: string | undefined;
  readonly trusted?: boolean | null | undefined;
};

const VOUCHED = new Map<boolean | null | undefined, string>([
  [true, ', under signing.roots'],
  [false, ', not under signing.roots'],
  [null, ', not checked who that is'],
]);

/** Who signed a program that was kept as it is. Anyone can choose a subject, so the certificate is shown too. */
export const describeKept = ({ signer, certificate, trusted }: AnyKeptProgram): string =>
  `kept: signed by ${printable(signer)}${certificate === undefined ? '' : ` (certificate ${certificate.slice(0, 16)})`}${VOUCHED.get(trusted) ?? ''}`;

const WHY = new Map([
  ['apple-double', 'left alone: a macOS metadata file (AppleDouble), not a program'],
  ['nested-zip', 'not examined: a zip inside the zip'],
  ['not-opened', 'not examined: what is inside of it cannot be read'],
]);

/** What is said of a program in a container that has no signature. */
export const UNSIGNED_INSIDE = 'NOT SIGNED, inside of a container';

/** Why an entry was left alone. */
export const describeLeftAlone = ({ why }: { readonly why: string }): string =>
  WHY.get(why) ?? `left alone: ${printable(why)}`;
