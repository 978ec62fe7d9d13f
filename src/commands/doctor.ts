import { loadSignerConfig } from '../config/signer.ts';
import { printableLines } from '../printable.ts';
import { examine } from '../setup/doctor.ts';
import { worst, type Finding, type Status } from '../setup/finding.ts';
import { print, type CommonOptions } from './terminal.ts';

export interface DoctorCommandOptions extends CommonOptions {
  readonly config: string;
  readonly json?: boolean;
}

const MARKS: Record<Status, string> = { ok: 'ok     ', warning: 'warning', bad: 'BAD    ' };

/** A table: verdict, part, what was found; below it what to do. A part's name stands once. */
function table(findings: readonly Finding[]): string {
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  const lines = findings.flatMap(({ check, status, message, code, hint }, i) => {
    const name = findings[i - 1]?.check === check ? '' : check;
    const tail = status === 'ok' || code === undefined ? '' : ` [${code}]`;
    const told = printableLines(`${message}${tail}`).split('\n');
    const indent = ' '.repeat(MARKS.ok.length + width + 4);
    return [
      `${MARKS[status]}  ${name.padEnd(width)}  ${told.join(`\n${indent}`)}`,
      ...(hint === undefined || status === 'ok' ? [] : [`${indent}-> ${printableLines(hint)}`]),
    ];
  });
  return lines.join('\n');
}

function summary(findings: readonly Finding[]): string {
  const count = (status: Status): number => findings.filter((each) => each.status === status).length;
  return `${count('ok')} ok, ${count('warning')} warnings, ${count('bad')} bad`;
}

/** `signpipe doctor`: 0 when all works (warnings allowed), 1 when something does not; 2 for a configuration that cannot be used. */
export async function doctorCommand(options: DoctorCommandOptions): Promise<number> {
  const config = await loadSignerConfig(options.config);
  const read: Finding = {
    check: 'configuration',
    status: 'ok',
    message: `${config.file}; channels: ${[...config.channels.keys()].join(', ')}`,
  };
  const findings = [read, ...(await examine(config))];
  const status = worst(findings);
  if (options.json) print(JSON.stringify({ status, findings }));
  else {
    const shown = options.quiet ? findings.filter((each) => each.status !== 'ok') : findings;
    print([...(shown.length > 0 ? [table(shown)] : []), summary(findings)].join('\n'));
  }
  return status === 'bad' ? 1 : 0;
}
