import { printable } from '../../lib/printable.ts';
import { signatureLabel } from './unauthenticated-data.ts';
import type { Check, SignatureReport, VerifyReport } from './report.ts';
import { isoDay } from '../../lib/iso-day.ts';

/**
 * Formats a report for people: signer, validity, timestamp and problems, in several lines without colour and without a
 * final newline. Text from the file is escaped so that it can neither control a terminal nor look like another line.
 */
export function describeReport(report: VerifyReport): string {
  const lines = [`${shown(report.path)}: ${HEADLINES[report.status]}`];
  for (const signature of report.signatures) lines.push(...describeSignature(signature));
  for (const { code, message, signature } of report.problems)
    lines.push(`  problem${whereOf(report, signature)}: ${shown(message)} [${code}]`);
  return lines.join('\n');
}

function whereOf({ signatures }: VerifyReport, signature: number | undefined): string {
  if (!signature) return '';
  return ` in ${signatureLabel(signatures[signature] ?? { index: signature, nested: true })}`;
}

const HEADLINES: Record<VerifyReport['status'], string> = {
  ok: 'ok: signed by a trusted publisher',
  intact: 'intact: unchanged since it was signed; who signed it was not checked',
  unsigned: 'not signed',
  bad: 'BAD',
};

type Row = [label: string, text: string | null | undefined];

function describeSignature(report: SignatureReport): string[] {
  const { signer, timestamp, digestAlgorithm, digest } = report;
  const rows: Row[] = [
    ['signed by', signer?.subject],
    ['issued by', signer?.issuer],
    [
      'certificate',
      signer && `valid ${isoDay(signer.notBefore)} to ${isoDay(signer.notAfter)}, serial ${signer.serial}`,
    ],
    ['program', report.programName],
    ['about', report.url],
    ['digest', digest && `${digestAlgorithm} ${digest}`],
    ['signed at', report.signingTime && `${report.signingTime} (as the signer says)`],
    [
      'timestamp',
      timestamp ? `${timestamp.time} by ${timestamp.authority}${authorityNote(timestamp.trusted)}` : 'none',
    ],
    ['chain', chainText(report.checks)],
    ...report.notes.map(({ message }): Row => ['note', message]),
  ];
  return [
    `  ${signatureLabel(report)}`,
    ...rows.filter(([, text]) => text).map(([label, text]) => `    ${label.padEnd(12)}${shown(text ?? '')}`),
  ];
}

const authorityNote = (trusted: boolean | null): string =>
  trusted === null ? ', authority not checked' : trusted ? '' : ', authority not trusted';

function chainText(checks: readonly Check[]): string | undefined {
  const chain = checks.find(({ name }) => name === 'chain');
  return chain && chain.ok !== false ? chain.detail : undefined;
}

/** The longest text from a file that is shown, in UTF-16 units. */
const LONGEST = 500;

/**
 * Escapes text from a file, without the NULs and blanks that some signers write at its end. The text is cut first, so
 * that its length cannot make this slow.
 */
function shown(text: string): string {
  const start = text.slice(0, LONGEST + 1);
  let end = start.length;
  while (end > 0 && /[\0\s]/.test(start.charAt(end - 1))) end--;
  return printable(start.slice(0, end), LONGEST);
}
