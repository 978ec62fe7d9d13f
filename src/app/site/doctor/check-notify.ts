import { findProgram, programWriters, type ProgramWriters } from '../../../lib/command/find-program.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

function writersResult({ all, some }: ProgramWriters): CheckResult[] {
  const paths = [...all, ...some];
  if (paths.length === 0) return [];
  const who = all.length > 0 ? 'every user of this machine' : 'another user or its group';
  return [
    warning(
      'notify-writable',
      `${paths.join(', ')}: ${who} may change the program, which runs as the account of the signer`,
      `make root or the account of the signer the owner, and run: chmod go-w ${paths[0]}`,
    ),
  ];
}

/** Checks that the program of `notify.command` is there, and that no other account may replace it. Does not run it. */
export async function checkNotify([program = '']: readonly string[]): Promise<CheckResult[]> {
  const found = await findProgram(program);
  if ('problem' in found)
    return [
      warning(
        'notify-missing',
        `${program}: ${found.problem}: no notification can be sent`,
        'check the path in notify.command, and that the file is executable by the account of the signer (chmod +x)',
      ),
    ];
  return [ok(`${found.file} is run for notifications`), ...writersResult(await programWriters(found.file))];
}
