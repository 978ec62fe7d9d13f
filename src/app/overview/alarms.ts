import { expiryOf } from '../../lib/x509/expiry.ts';
import { printable } from '../../lib/printable.ts';
import type { HeartbeatProblem } from '../../protocol/control/read-heartbeats.ts';
import type { Hold } from '../../protocol/control/hold.ts';
import type { ForeignHead } from './foreign-heads.ts';
import type { Alarm, ChannelOverview, Notice, RecentOutcome, SignerReport } from './model.ts';

/** Days before a certificate's end from which it is among the alarms. */
const DAYS = 30;

export interface AlarmFacts {
  readonly hold: Hold | null;
  readonly operatorHold: Notice | null;
  /** Why the receipt branch, or the policy at its tip, is not trusted. */
  readonly faults: readonly Notice[];
  readonly signers: readonly SignerReport[];
  /** Refs that should be heartbeats and are not, and why the newest ones are missing. */
  readonly problems: readonly HeartbeatProblem[];
  readonly foreignHeads: readonly ForeignHead[];
  readonly channels: readonly ChannelOverview[];
  readonly recent: readonly RecentOutcome[];
  readonly now: Date;
}

const MISSING = 'the newest heartbeats of the signers cannot be fetched';

const grave = (code: string, text: string): Alarm => ({ level: 'alarm', code, text });
const minor = (code: string, text: string): Alarm => ({ level: 'warning', code, text });

function signerAlarms({ state, content }: SignerReport): Alarm[] {
  const name = `signer ${printable(content.name, 60)}`;
  const { written, alarm: reported, problem } = content;
  const alarms: Alarm[] = [];
  if (reported)
    alarms.push(grave(reported.code, `${name} signs nothing since ${reported.since}, because of an alarm`));
  if (state === 'silent')
    alarms.push(minor('signer-silent', `nothing was heard from ${name} since ${written}`));
  if (state === 'ahead')
    alarms.push(
      minor('heartbeat-ahead', `${name} dates its heartbeat ${written}, ahead of this machine's clock`),
    );
  if (state === 'alive' && problem)
    alarms.push(minor(problem.code, `${name} has had a problem since ${problem.since}`));
  return alarms;
}

function certificateAlarms({ name, policy, daysLeft }: ChannelOverview, now: Date): Alarm[] {
  const notAfter = policy.certificate?.notAfter;
  if (daysLeft === null || notAfter === undefined || daysLeft > DAYS || policy.successor) return [];
  const { text } = expiryOf({ notAfter: new Date(notAfter) }, now);
  const what = `channel ${printable(name, 60)}: the signing certificate`;
  return [
    daysLeft < 0
      ? minor('certificate-expired', `${what} ${text}`)
      : minor('certificate-expires', `${what} is ${text}`),
  ];
}

/** What someone has to look at, the worst first. */
export function alarmsOf(facts: AlarmFacts): Alarm[] {
  const { hold, operatorHold, faults, signers, problems, foreignHeads, channels, recent, now } = facts;
  const unproven = recent.filter(({ proven }) => !proven).length;
  const alarms = [
    ...foreignHeads.map(({ signer, branch, head }) =>
      grave(
        'history-differs',
        `signer ${printable(signer, 60)} has accepted ${head} on the ${branch} branch, which is not in the history here: the Git host shows the two of you different histories, or this clone is old`,
      ),
    ),
    ...faults.map(({ code, text }) => grave(code, text)),
    ...(unproven > 0
      ? [
          grave(
            'receipts-unproven',
            `${unproven} of the newest ${recent.length} receipts are not signed by a key that is trusted for receipts here; run signpipe audit`,
          ),
        ]
      : []),
    ...signers.flatMap(signerAlarms),
    ...problems.map(({ name, code, message }) =>
      minor(code, `${name === null ? MISSING : `the heartbeat ${name} is ignored`}: ${message}`),
    ),
    ...(operatorHold ? [minor(operatorHold.code, operatorHold.text)] : []),
    ...(hold?.held ? [minor('hold', 'signing is on hold')] : []),
    ...channels.flatMap((channel) => certificateAlarms(channel, now)),
  ];
  return [
    ...alarms.filter(({ level }) => level === 'alarm'),
    ...alarms.filter(({ level }) => level === 'warning'),
  ];
}
