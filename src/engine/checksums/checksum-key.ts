import { usage } from '../../lib/errors.ts';
import { isoDay } from '../../lib/iso-day.ts';

/** The kinds of keys that sign checksum files. */
export type ChecksumKeyKind = 'openpgp' | 'ssh' | 'minisign';

/** What a verifier of each kind expects after the name of the file that was signed. */
export const SIGNATURE_SUFFIXES: Readonly<Record<ChecksumKeyKind, string>> = {
  openpgp: '.asc',
  ssh: '.sig',
  minisign: '.minisig',
};

/** Throws `checksum-key-expired` (usage) if a key's signatures would not be accepted at a time. */
export function requireUnexpired(keys: readonly ChecksumKey[], now: Date): void {
  const expired = keys.find(({ expires }) => expires !== null && expires <= now);
  if (!expired) return;
  throw usage(
    'checksum-key-expired',
    `the ${expired.kind} key ${expired.id} for checksum files expired on ${isoDay(expired.expires ?? now)}`,
    { hint: 'extend it, export it again, and reload the signer' },
  );
}

/** A key that signs checksum files, open for use. */
export interface ChecksumKey {
  readonly kind: ChecksumKeyKind;
  /** The key as its users know it: a fingerprint or a key id. */
  readonly id: string;
  /** When its signatures stop being accepted; null if never. */
  readonly expires: Date | null;
  /**
   * The detached signature over `content`, as a verifier reads it from a file; verified before it is returned. `name` is
   * the name of the file with that content. Throws `KeyUnavailable` if trying again can help.
   */
  sign(content: Buffer, name: string): Promise<Buffer>;
  /**
   * Throws, without a signature, if it is known that the key cannot sign now: the agent that holds it is gone, or the
   * program that has it must not be run again. Absent if there is nothing to ask.
   */
  readonly available?: (() => Promise<void>) | undefined;
}
