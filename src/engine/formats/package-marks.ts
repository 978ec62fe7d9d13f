import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { scanNames } from '../../lib/zip/scan-names.ts';

/**
 * Names of entries that distinguish packages from other zips, in lower case: those of all formats in one pattern, so that the
 * directory of a zip is looked through only once.
 */
const MARKS =
  /^(?:\[content_types\]\.xml|appxmanifest\.xml|appxblockmap\.xml|appxsignature\.p7x|appxmetadata\/(?:appxbundlemanifest\.xml|codeintegrity\.cat)|[^/]+\.nuspec|\.signature\.p7s|[^/]+\.vsixmanifest|extension\/package\.json)$/;

const found = new WeakMap<ByteSource, Promise<ReadonlySet<string>>>();

/**
 * Which of the marks a zip has among its entries, for `FileFormat.confirm`; see `scanNames`. The source must not change
 * while it is in use.
 */
export function packageMarks(source: ByteSource): Promise<ReadonlySet<string>> {
  const marks = found.get(source) ?? scanNames(source, MARKS);
  found.set(source, marks);
  return marks;
}
