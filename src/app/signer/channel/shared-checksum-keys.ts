import type { ChecksumKey } from '../../../engine/checksums/checksum-key.ts';
import {
  openChecksumKeys,
  type OpenChecksumKeyOptions,
} from '../../../engine/checksums/open-checksum-keys.ts';
import type { ChecksumsConfig } from '../../config/checksums.ts';

/** Opens the keys of a section `checksums`. */
export type ChecksumKeysOf = (section: ChecksumsConfig) => Promise<readonly ChecksumKey[]>;

/** Opens the keys of equal sections once: channels inherit them, and a minisign key takes a gigabyte and seconds to open. */
export function sharedChecksumKeys(options: OpenChecksumKeyOptions): ChecksumKeysOf {
  const opened = new Map<string, Promise<readonly ChecksumKey[]>>();
  return (section) => {
    const id = JSON.stringify(section);
    const keys = opened.get(id) ?? openChecksumKeys(section, options);
    opened.set(id, keys);
    return keys;
  };
}
