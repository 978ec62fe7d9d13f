import type { CompoundFile } from '../../../lib/compound-file/compound-file.ts';
import { MINI_SECTOR } from '../../../lib/compound-file/header.ts';
import { unusedBytes, type UnusedPart } from '../../../lib/compound-file/unused-bytes.ts';
import type { Finding } from '../signable-file.ts';
import { DIGEST_BYTES, type KnownDigest } from '../../../lib/asn1/oids.ts';
import { contentRanges, metadataDigest } from './msi-digest.ts';
import type { SignatureStreams } from './signature-streams.ts';
import { fromFileTime } from './signing-time.ts';

/*
 * What no digest covers in a package. Some of it holds whatever was there before in files that Windows wrote: the ends of
 * sectors, and sectors that became free. It is no fault there, and docs/formats.md says so; elsewhere it is.
 */

/** A code, and what is meant, for messages. */
interface UncoveredPart {
  readonly code: string;
  readonly what: string;
}

const PARTS: Readonly<Record<Exclude<UnusedPart, 'slack' | 'free'>, UncoveredPart>> = {
  header: { code: 'msi-header-bytes', what: 'reserved fields of its header' },
  table: { code: 'msi-table-bytes', what: 'entries of its allocation tables beyond its end' },
  directory: { code: 'msi-directory-bytes', what: 'unused fields or entries of its directory' },
  end: { code: 'msi-trailing-bytes', what: 'the bytes behind its last sector' },
};

/** The end record of a zip: with one, the same file is a package to Windows and a zip or a JAR to others. */
const ZIP_END = Buffer.from('PK\u0005\u0006', 'latin1');

const finding = (code: string, message: string): Finding => ({ code, message });

/**
 * What lies where no digest covers it.
 *
 * | code                  | meaning                                                                          |
 * | --------------------- | -------------------------------------------------------------------------------- |
 * | `msi-header-bytes`    | reserved fields of the header are not zero                                        |
 * | `msi-table-bytes`     | entries of the allocation tables are in use for sectors that do not exist         |
 * | `msi-directory-bytes` | unused fields or entries of the directory hold something                          |
 * | `msi-trailing-bytes`  | something other than zeros follows the last sector that is in use                 |
 * | `msi-hidden-zip`      | the end record of a zip lies in bytes that mean nothing                           |
 * | `msi-root`            | name, time or size of the root are not what any writer puts there                 |
 * | `msi-signature-entry` | the entry of a stream that signing adds has times or state bits                   |
 * | `msi-metadata-digest` | the stream `MsiDigitalSignatureEx` does not hold the digest that it should, or another stream seems to hold it |
 */
export async function uncoveredBytes(file: CompoundFile): Promise<Finding[]> {
  const findings = new Map<string, Finding>();
  for await (const { part, at, bytes } of unusedBytes(file)) {
    const place = part === 'slack' || part === 'free' ? hiddenZip(bytes) : PARTS[part];
    if (!place || findings.has(place.code)) continue;
    const message = `${file.source.name}: ${place.what} (byte ${at}) hold something that no signature covers`;
    findings.set(place.code, finding(place.code, message));
  }
  return [...findings.values()];
}

const hiddenZip = (bytes: Buffer): UncoveredPart | null =>
  bytes.includes(ZIP_END)
    ? { code: 'msi-hidden-zip', what: 'with the end of a zip, bytes that mean nothing' }
    : null;

const EARLIEST = Date.UTC(1990, 0);
const LATEST = Date.UTC(2108, 0);

/** The root's name and time, and the times of the signature's streams, which no digest covers. */
export function entryFindings(file: CompoundFile, streams: SignatureStreams): Finding[] {
  const { source, root, layout } = file;
  const findings: Finding[] = [];
  if (root.name !== 'Root Entry')
    findings.push(
      finding('msi-root', `${source.name}: the name of its root is ${JSON.stringify(root.name)}`),
    );
  const time = fromFileTime(root.modified);
  if (!isZero(root.modified) && (time < EARLIEST || time > LATEST))
    findings.push(finding('msi-root', `${source.name}: the time of its root is not a time`));
  if (layout.miniSize % MINI_SECTOR !== 0)
    findings.push(finding('msi-root', `${source.name}: its small streams have ${layout.miniSize} bytes`));
  for (const stream of [streams.metadata, streams.signature])
    if (stream && ![stream.state, stream.created, stream.modified].every(isZero))
      findings.push(
        finding(
          'msi-signature-entry',
          `${source.name}: the entries of its signature have times or state bits`,
        ),
      );
  return findings;
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

/**
 * Whether the stream beside the signature holds the metadata digest; `hash` is that of the signature. The digest of a file
 * with this stream is also that of one in which the stream has a name that comes first, and nothing covers names, sizes and
 * times any more: what comes first must not look like it.
 */
export async function metadataFindings(
  file: CompoundFile,
  { metadata }: SignatureStreams,
  hash: KnownDigest,
): Promise<Finding[]> {
  const { name } = file.source;
  if (!metadata) {
    const first = contentRanges(file).find(({ start, end }) => end > start);
    if (first === undefined || first.end - first.start !== DIGEST_BYTES[hash]) return [];
    return [
      finding('msi-metadata-digest', `${name}: its first stream seems to be a renamed MsiDigitalSignatureEx`),
    ];
  }
  const expected = metadataDigest(file, hash);
  const same =
    metadata.size === expected.length &&
    (await file.openStream(metadata).read(0, metadata.size)).equals(expected);
  if (same) return [];
  const message = `${name}: its stream MsiDigitalSignatureEx does not hold the digest of names, times and sizes`;
  return [finding('msi-metadata-digest', message)];
}
