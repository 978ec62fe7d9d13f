import type { NotifyEvent } from '../../config/reporting-sections.ts';
import type { ChannelHealth } from '../../../protocol/control/signer-health.ts';
import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import { shortId } from '../../../lib/git/objects.ts';
import { printable } from '../../../lib/printable.ts';
import type { Lasting } from '../context/activity.ts';
import type { Observation } from './observation.ts';

/** Something that a person should know. Its texts are one line each, and fit to show. */
export interface Notice {
  readonly event: NotifyEvent;
  /** `is` for what happens at one moment. */
  readonly state: 'begins' | 'ends' | 'is';
  readonly title: string;
  readonly text: string;
  readonly code?: string;
  readonly hint?: string;
  readonly request?: string;
  readonly channel?: string;
}

/** A condition that lasts; its notices are those of its beginning and its end. */
export type Condition = Omit<Notice, 'state'>;

/** How long polls fail before a person is asked, in ms: a host that is restarted is none of their business. */
const PROBLEM_AFTER = 60_000;
const MOST_TEXT = 1000;
const MOST_TITLE = 150;

const oneLine = (text: string, most = MOST_TEXT): string => printable(text.replaceAll('\n', ' '), most);

/** The notice of an answer; null if the request was signed. */
export function answerNotice({ outcome, request, reason }: Receipt): Notice | null {
  if (outcome === 'signed') return null;
  const event = outcome === 'rejected' ? 'refused' : 'failed';
  const code = reason?.code ?? outcome;
  return {
    event,
    state: 'is',
    title: `request ${shortId(request.id)} ${outcome}: ${code}`,
    text: oneLine(reason?.message ?? `the request was answered ${outcome}`),
    code,
    ...(reason?.hint === undefined ? {} : { hint: oneLine(reason.hint) }),
    request: request.id,
    channel: request.channel,
  };
}

/** The notice that a certificate comes to its end. */
export const certificateNotice = (channel: string, code: string, text: string): Notice => ({
  event: 'certificate',
  state: 'is',
  title: oneLine(text, MOST_TITLE),
  text: oneLine(text),
  code,
  channel,
});

const lastingCondition = (event: 'alarm' | 'problem', { code, message }: Lasting): Condition => ({
  event,
  title: event === 'alarm' ? `ALARM: nothing is signed: ${code}` : `polls fail: ${code}`,
  text: oneLine(message),
  code,
});

function channelConditions({ name, waiting, problem }: ChannelHealth): [string, Condition][] {
  const conditions: [string, Condition][] = [];
  if (waiting) {
    const what =
      waiting.for === 'key' ? 'the signing key cannot be reached' : 'no timestamp authority answers';
    conditions.push([
      `outage ${name} ${waiting.for}`,
      {
        event: 'outage',
        title: `channel ${name}: ${what}`,
        text: `channel ${name}: ${what} since ${waiting.since}; its requests wait`,
        code: `outage-${waiting.for}`,
        channel: name,
      },
    ]);
  }
  if (problem)
    conditions.push([
      `unusable ${name}`,
      {
        event: 'outage',
        title: `channel ${name} signs nothing: ${problem.code}`,
        text: `channel ${name}: its key signs nothing now; its requests wait`,
        code: problem.code,
        channel: name,
      },
    ]);
  return conditions;
}

/** What lasts at this moment and a person should know, by a name for each. */
export function conditionsOf({ at, activity, channels, holdSince }: Observation): Map<string, Condition> {
  const { alarm, problem } = activity;
  const conditions = new Map<string, Condition>(channels.flatMap(channelConditions));
  if (alarm) conditions.set('alarm', lastingCondition('alarm', alarm));
  if (problem && at.getTime() - problem.since.getTime() >= PROBLEM_AFTER)
    conditions.set('problem', lastingCondition('problem', problem));
  if (holdSince)
    conditions.set('hold', {
      event: 'hold',
      title: 'signing is on HOLD',
      text: `signing is on HOLD since ${holdSince.toISOString()}`,
      code: 'hold',
    });
  return conditions;
}
