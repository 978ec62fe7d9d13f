import { shortId } from '../../lib/git/objects.ts';
import { printable } from '../../lib/printable.ts';
import { countSigned, type Receipt } from './receipt-schema.ts';
import { formatTrailers, type Trailer } from '../../lib/git/trailers.ts';
import { sha256Sums, sumLine, type NamedDigest } from '../../lib/sha256sums.ts';

function whatFor({ files, request }: Receipt): string {
  const [first, ...more] = files;
  if (!first) return `request ${shortId(request.id)}`;
  const name = printable(first.input.name, 255);
  return more.length === 0 ? name : `${name} and ${more.length} more`;
}

/** Whether a file was signed itself, and is no zip. */
const isLone = ({ signed }: Receipt['files'][number]): boolean => signed.some(({ path }) => path === '');

function subject(receipt: Receipt): string {
  const name = whatFor(receipt);
  if (receipt.outcome !== 'signed')
    return `${receipt.outcome} ${name}: ${printable(receipt.reason?.message ?? '', 160)}`;
  const verb = receipt.test ? 'TEST signed' : 'signed';
  const counts = receipt.files.map(countSigned);
  const signed = counts.reduce((sum, { own }) => sum + own, 0);
  const inside = counts.reduce((sum, each) => sum + each.inside, 0);
  const entries = receipt.files.reduce((sum, file) => sum + file.entries, 0);
  if (signed + inside === 0) return `checksummed ${name}`;
  const within = inside > 0 ? `, and ${inside} inside` : '';
  const lone = receipt.files.every((file) => file.signed.every(({ path }) => path === '') || isLone(file));
  return lone ? `${verb} ${name}${within}` : `${verb} ${name}: ${signed} of ${entries} files${within}`;
}

/** The files with a known SHA-256: the signer vouches for no byte that it did not see. */
const withDigest = (
  files: readonly ({ name: string; sha256?: string | undefined } | undefined)[],
): NamedDigest[] =>
  files.flatMap((file) => (file?.sha256 === undefined ? [] : [{ name: file.name, sha256: file.sha256 }]));

/** The content of `SHA256SUMS`: the delivered files, for `sha256sum -c`. */
export const sumsOf = ({ files }: Receipt): string =>
  sha256Sums(withDigest(files.map(({ output }) => output)));

function latestTimestamp({ files }: Receipt): string | undefined {
  const stamps = files.flatMap((f) => f.signed.flatMap((entry) => entry.timestamp ?? []));
  const latest = stamps.sort((a, b) => (a.time < b.time ? -1 : 1)).at(-1);
  return latest && `${latest.time} ${latest.url}`;
}

function trailersOf(receipt: Receipt): Trailer[] {
  const { reason, repeats, files, certificate } = receipt;
  const stamp = latestTimestamp(receipt);
  const inputs = withDigest(files.map(({ input }) => input));
  const outputs = withDigest(files.map(({ output }) => output));
  return [
    { key: 'Request', value: receipt.request.id },
    { key: 'Outcome', value: receipt.outcome },
    ...(reason ? [{ key: 'Reason', value: `${reason.code}: ${reason.message}` }] : []),
    ...(repeats ? [{ key: 'Repeats', value: repeats.request }] : []),
    ...inputs.map((file) => ({ key: 'Input-SHA256', value: sumLine(file) })),
    ...outputs.map((file) => ({ key: 'Output-SHA256', value: sumLine(file) })),
    ...(certificate ? [{ key: 'Certificate-SHA256', value: certificate.sha256 }] : []),
    ...(stamp === undefined ? [] : [{ key: 'Timestamp', value: stamp }]),
  ];
}

/** The message of a receipt commit. Hostile text is escaped, and a value stays on its line. */
export function receiptMessage(receipt: Receipt): string {
  const { reason } = receipt;
  const hint = reason?.hint === undefined ? '' : `${printable(reason.hint, 500)}\n\n`;
  return `${subject(receipt)}\n\n${hint}${formatTrailers(trailersOf(receipt))}`;
}
