import { expiryOf } from '../../lib/x509/expiry.ts';
import { printable } from '../../lib/printable.ts';
import type { Hold } from '../../protocol/control/hold.ts';
import type { ChannelOverview, Notice, RecentOutcome, SignerOverview } from './model.ts';

/** Days before a certificate's end from which it is among the alarms. */
const DAYS = 30;

export interface AlarmFacts {
  readonly hold: Hold | null;
  /** Why the policy at the tip of the receipt branch is not trusted; null if it is, or if there is no such branch. */
  readonly policyFault: Notice | null;
  readonly signers: readonly SignerOverview[];
  /** Heads that signers accepted and that the reader's history lacks, by the signer's name. */
  readonly foreignHeads: readonly { readonly signer: string; readonly head: string }[];
  readonly channels: readonly ChannelOverview[];
  readonly recent: readonly RecentOutcome[];
  readonly now: Date;
}

function signerAlarms({ state, content }: SignerOverview): Notice[] {
  const name = `signer ${printable(content.name, 60)}`;
  const { written, alarm, problem } = content;
  const alarms: Notice[] = [];
  if (alarm)
    alarms.push({
      code: alarm.code,
      text: `${name} signs nothing since ${alarm.since}, because of an alarm`,
    });
  if (state === 'silent')
    alarms.push({ code: 'signer-silent', text: `nothing was heard from ${name} since ${written}` });
  if (state === 'ahead')
    alarms.push({
      code: 'heartbeat-ahead',
      text: `${name} dates its heartbeat ${written}, ahead of this machine's clock`,
    });
  if (state === 'alive' && problem)
    alarms.push({ code: problem.code, text: `${name} has had a problem since ${problem.since}` });
  return alarms;
}

function certificateAlarms({ name, policy, daysLeft }: ChannelOverview, now: Date): Notice[] {
  const notAfter = policy.certificate?.notAfter;
  if (daysLeft === null || notAfter === undefined || daysLeft > DAYS || policy.successor) return [];
  const { text } = expiryOf({ notAfter: new Date(notAfter) }, now);
  const what = `channel ${printable(name, 60)}: the signing certificate`;
  return daysLeft < 0
    ? [{ code: 'certificate-expired', text: `${what} ${text}` }]
    : [{ code: 'certificate-expires', text: `${what} is ${text}` }];
}

/** What someone has to look at, the worst first. */
export function alarmsOf(facts: AlarmFacts): Notice[] {
  const { hold, policyFault, signers, foreignHeads, channels, recent, now } = facts;
  const unproven = recent.filter(({ proven }) => !proven).length;
  return [
    ...foreignHeads.map(({ signer, head }) => ({
      code: 'history-differs',
      text: `signer ${printable(signer, 60)} has accepted ${head} on the request branch, which is not in the history here: the Git host shows the two of you different histories, or this clone is old`,
    })),
    ...(policyFault ? [policyFault] : []),
    ...(unproven > 0
      ? [
          {
            code: 'receipts-unproven',
            text: `${unproven} of the newest ${recent.length} receipts are not signed by a key that is trusted for receipts here; run signpipe audit`,
          },
        ]
      : []),
    ...signers.flatMap(signerAlarms),
    ...(hold?.held ? [{ code: 'hold', text: 'signing is on hold' }] : []),
    ...channels.flatMap((channel) => certificateAlarms(channel, now)),
  ];
}
