import type { SiteIdentity } from './site-identity.ts';
import { allowedSignerLine } from './key-lines.ts';

/** What `init` is asked to set up. */
export interface SiteSetup {
  readonly dir: string;
  readonly identity: SiteIdentity;
  /** URL of the control repository; the example's if left out. */
  readonly control?: string | undefined;
  /** URL of the exchange; the example's if left out. */
  readonly exchange?: string | undefined;
}

/** A step that is left to do after `init`: what to do, and the lines or commands for it, to be copied unchanged. */
export interface SetupStep {
  readonly what: string;
  readonly lines: readonly string[];
}

export const setupStep = (what: string, ...lines: string[]): SetupStep => ({ what, lines });

/** The step that completes a configuration, if `init` was not given all the URLs in it. */
export function urlSteps(file: string, urls: Readonly<Record<string, string | undefined>>): SetupStep[] {
  const missing = Object.entries(urls).flatMap(([name, url]) => (url === undefined ? [name] : []));
  if (missing.length === 0) return [];
  return [setupStep('Set the URLs in the configuration', `$EDITOR ${file}     # ${missing.join(', ')}`)];
}

/** The step by which the signer's operator learns the key of a builder or voucher. */
export const allowedSignerStep = (
  { file, publicLine }: { readonly file: string; readonly publicLine: string },
  email: string,
): SetupStep =>
  setupStep(
    `Give this line to the operator of the signer, for keys/allowed_signers; let the operator compare the fingerprint (ssh-keygen -lf ${file}.pub) over another channel, such as the telephone`,
    allowedSignerLine(email, publicLine),
  );

/** The step by which a builder or a courier learns the signer's receipt key. */
export const receiptSignersStep = (list: string): SetupStep =>
  setupStep(`Add the signer's line to ${list}: its operator has it from "signpipe init signer"`);
