import { SignpipeError } from '../../lib/errors.ts';

/** The flags of `sign` and `plan` for the settings of signer.yaml. */
const FLAGS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    pfx: '--pfx FILE',
    certificate: '--certificate FILE',
    key: '--key FILE',
    digest: '--digest',
    concurrency: '--concurrency',
    keyName: '--key-name',
    passphraseFile: '--passphrase-file',
    pageHashes: '--page-hashes',
    files: '--files',
    inside: '--inside',
    alreadySigned: '--already-signed',
    timestampRoots: '--timestamp-ca',
  }),
);

/** Error texts name a setting as `signing.KEY`, with "on the signer" if their reader may be on another machine. */
const SETTING = /\bsigning\.(\w+)( on the signer)?/g;

const withFlags = (text: string): string =>
  text.replace(SETTING, (setting, key: string) => FLAGS.get(key) ?? setting);

/** Names the flags of `sign` in an error instead of settings, for readers without a signer.yaml. */
export const withFlagNames = (error: unknown): unknown =>
  error instanceof SignpipeError ? error.reworded(withFlags) : error;
