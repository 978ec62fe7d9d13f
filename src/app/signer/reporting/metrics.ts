import { VERSION } from '../../../lib/version.ts';
import type { ChannelHealth } from '../../../protocol/control/signer-health.ts';
import type { Activity } from '../context/activity.ts';
import type { AnswerCounters } from './answer-counters.ts';
import type { Metric, Sample } from './metrics-text.ts';
import type { Observation } from './observation.ts';

/** What is measured beside an observation. */
export interface Measured {
  readonly counters: AnswerCounters;
  /** Whether the signer runs; false in the last file. */
  readonly up: boolean;
  readonly started: Date;
  /** Free space of the state folder's file system, in bytes. */
  readonly diskFree: number;
}

const seconds = (time: Date | string): number => new Date(time).getTime() / 1000;

const flag = (on: boolean): Sample[] => [{ value: on ? 1 : 0 }];

const gauge = (name: string, help: string, samples: Sample[]): Metric => ({
  name: `signpipe_${name}`,
  type: 'gauge',
  help,
  samples,
});

const counter = (name: string, help: string, samples: Sample[]): Metric => ({
  ...gauge(name, help, samples),
  type: 'counter',
});

/** How many requests wait for what; those that are simply next are `signer`. */
function queueLengths({ queue }: Activity): Sample[] {
  const lengths = new Map<string, number>([['signer', 0]]);
  for (const { code } of queue.values()) {
    const reason = code === '' ? 'signer' : code;
    lengths.set(reason, (lengths.get(reason) ?? 0) + 1);
  }
  return [...lengths].map(([reason, value]) => ({ labels: { reason }, value }));
}

/** How long the first request has been waiting, in seconds. */
function oldest({ at, activity }: Observation): number {
  const seen = [...activity.queue.values()].flatMap((each) => (each.seen ? [each.seen.getTime()] : []));
  return seen.length === 0 ? 0 : Math.max(0, at.getTime() - Math.min(...seen)) / 1000;
}

function channelMetrics(channels: readonly ChannelHealth[]): Metric[] {
  const each = (sample: (channel: ChannelHealth) => number | undefined): Sample[] =>
    channels.flatMap((channel) => {
      const value = sample(channel);
      return value === undefined ? [] : [{ labels: { channel: channel.name }, value }];
    });
  return [
    gauge(
      'certificate_expiry_timestamp_seconds',
      'When the signing certificate of a channel expires, or its successor that takes over before.',
      each(({ certificate, successor }) => {
        const end = successor?.open ? (successor.notAfter ?? certificate.notAfter) : certificate.notAfter;
        return end === undefined ? undefined : seconds(end);
      }),
    ),
    gauge(
      'channel_usable',
      'Whether the certificate of a channel can be used now.',
      each(({ problem }) => (problem ? 0 : 1)),
    ),
    gauge(
      'channel_outage',
      'Whether a channel is without timestamps or its key.',
      each(({ waiting }) => (waiting ? 1 : 0)),
    ),
  ];
}

function authorityMetrics(channels: readonly ChannelHealth[]): Metric[] {
  const all = channels.flatMap(({ name, authorities }) =>
    authorities.map((authority) => ({ ...authority, labels: { channel: name, url: authority.url } })),
  );
  // An authority that is listed twice has one series.
  const authorities = [...new Map(all.map((each) => [JSON.stringify(each.labels), each])).values()];
  return [
    gauge(
      'timestamp_authority_up',
      'Whether requests go to a timestamp authority; 0 while it is left alone after failures.',
      authorities.map(({ labels, circuit }) => ({ labels, value: circuit === 'closed' ? 1 : 0 })),
    ),
    counter(
      'timestamp_requests_total',
      'Requests to a timestamp authority.',
      authorities.flatMap(({ labels, succeeded, failed }) => [
        { labels: { ...labels, result: 'ok' }, value: succeeded },
        { labels: { ...labels, result: 'failed' }, value: failed },
      ]),
    ),
  ];
}

function pollMetrics({ activity }: Observation): Metric[] {
  const { polls, lastPoll } = activity;
  return [
    counter('polls_total', 'Polls of the control repository.', [
      { labels: { result: 'ok' }, value: polls.ok },
      { labels: { result: 'failed' }, value: polls.failed },
    ]),
    gauge(
      'last_poll_timestamp_seconds',
      'When a poll last worked.',
      lastPoll ? [{ value: seconds(lastPoll) }] : [],
    ),
  ];
}

function requestMetrics(observation: Observation, counters: AnswerCounters): Metric[] {
  const { activity } = observation;
  return [
    counter('requests_total', 'Answered requests.', counters.requests),
    gauge('queue_length', 'Unanswered requests, by what they wait for.', queueLengths(activity)),
    gauge('queue_oldest_seconds', 'How long the oldest unanswered request has been waiting.', [
      { value: oldest(observation) },
    ]),
    gauge('request_in_hand', 'Whether a request is being worked on.', flag(activity.current !== undefined)),
    {
      ...gauge('request_duration_seconds', 'From the poll that saw a request to its answer.', []),
      type: 'histogram',
      samples: counters.requestSeconds,
    },
    {
      ...gauge('stage_duration_seconds', 'The time of each stage of signed requests.', []),
      type: 'summary',
      samples: counters.stageSeconds,
    },
  ];
}

/** All metrics of a signer. */
export function metricsOf(observation: Observation, measured: Measured): Metric[] {
  const { at, activity, channels, holdSince } = observation;
  return [
    gauge('build_info', 'The version of the signer.', [{ labels: { version: VERSION }, value: 1 }]),
    gauge('up', 'Whether the signer runs; 0 after it was stopped in order.', flag(measured.up)),
    gauge('start_timestamp_seconds', 'When the signer started.', [{ value: seconds(measured.started) }]),
    gauge('report_timestamp_seconds', 'When these metrics were written.', [{ value: seconds(at) }]),
    ...pollMetrics(observation),
    gauge('alarm', 'Whether nothing is signed because of an alarm.', flag(activity.alarm !== null)),
    gauge('problem', 'Whether the last poll failed.', flag(activity.problem !== null)),
    gauge('hold', 'Whether signing is on HOLD.', flag(holdSince !== null)),
    gauge(
      'hold_since_timestamp_seconds',
      'Since when signing is on HOLD.',
      holdSince ? [{ value: seconds(holdSince) }] : [],
    ),
    ...requestMetrics(observation, measured.counters),
    ...channelMetrics(channels),
    ...authorityMetrics(channels),
    gauge('disk_free_bytes', 'Free space of the state folder.', [{ value: measured.diskFree }]),
    gauge('resident_memory_bytes', 'Memory of the process.', [{ value: process.memoryUsage.rss() }]),
  ];
}
