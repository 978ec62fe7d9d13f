import type { Waited } from '../../app/builder/wait.ts';
import { countSigned, isUnchanged, type ReceiptFile } from '../../protocol/control/receipt-schema.ts';
import { shortId } from '../../lib/git/objects.ts';
import { painter, wantsColour } from '../../lib/terminal-colors.ts';
import { printable } from '../../lib/printable.ts';
import { shownPlace } from '../../engine/artifact/inside/place.ts';
import { describeKept, describeLeftAlone, UNSIGNED_INSIDE } from './kept-program-text.ts';
import { isoDay } from '../../lib/iso-day.ts';

const whatWasDone = (file: ReceiptFile): string =>
  isUnchanged(file)
    ? `unchanged: ${(file.leftAlone ?? []).length > 0 ? 'nothing that was examined' : 'nothing in it'} can be signed`
    : signedCounts(file);

function signedCounts(file: ReceiptFile): string {
  const { own, inside } = countSigned(file);
  return `${own} of ${file.entries} files signed${inside > 0 ? `, and ${inside} inside` : ''}`;
}

/** A receipt as text. */
export function describeReceipt({ receipt, commit, files }: Waited): string {
  const paint = painter(wantsColour(process.stdout));
  const lines = [
    `${paint(receipt.files.every(isUnchanged) ? 'checksummed' : 'signed', 'good')}${receipt.test && receipt.certificate ? ' with a TEST certificate' : ''}: request ${shortId(receipt.request.id)}, receipt ${shortId(commit)}`,
  ];
  if (receipt.certificate)
    lines.push(
      `  by ${printable(receipt.certificate.subject)} (until ${isoDay(receipt.certificate.notAfter)})`,
    );
  for (const file of receipt.files) {
    lines.push(`  ${printable(file.input.name)}: ${whatWasDone(file)}`);
    for (const entry of file.signed)
      if (entry.path !== '')
        lines.push(
          `    ${printable(shownPlace(entry))}${entry.timestamp ? `  ${entry.timestamp.time}` : ''}`,
        );
    for (const kept of file.kept) lines.push(`    ${printable(shownPlace(kept))}  ${describeKept(kept)}`);
    for (const left of file.leftAlone ?? [])
      lines.push(`    ${printable(shownPlace(left))}  ${describeLeftAlone(left)}`);
    for (const place of file.unsignedInside ?? [])
      lines.push(`    ${printable(shownPlace(place))}  ${UNSIGNED_INSIDE}`);
  }
  for (const path of files) lines.push(`  -> ${printable(path)}`);
  return lines.join('\n');
}
