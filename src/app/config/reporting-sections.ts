import { z } from 'zod';
import { commandLine } from './command-line.ts';
import { duration, path } from './common-sections.ts';
import { parseDuration } from './units.ts';

const MINUTE = 60_000;

/** The time between two heartbeats. Its output is in ms; null for none. */
const heartbeatTimes = z
  .string()
  .default('5m')
  .transform((text, context): number | null => {
    if (text === 'off') return null;
    const every = parseDuration(text);
    if (every !== undefined && every >= MINUTE && every <= 1440 * MINUTE) return every;
    context.addIssue({ code: 'custom', message: 'must be off, or a time span from 1m to 24h, such as 5m' });
    return z.NEVER;
  });

/** The section `health`: heartbeats. */
export const health = z.strictObject({ heartbeat: heartbeatTimes }).prefault({});

/** The section `metrics`: a file for Prometheus. */
export const metrics = z.strictObject({
  file: path.refine((file) => file.endsWith('.prom'), 'must end in .prom, or node_exporter does not read it'),
});

/** What `notify.command` can be run for. */
export const NOTIFY_EVENTS = [
  'refused',
  'failed',
  'alarm',
  'certificate',
  'outage',
  'hold',
  'problem',
] as const;

export type NotifyEvent = (typeof NOTIFY_EVENTS)[number];

/** The section `notify`: a program that is run when a person should look. */
export const notify = z.strictObject({
  command: commandLine,
  on: z
    .array(z.enum(NOTIFY_EVENTS))
    .min(1, 'must name at least one event')
    .default([...NOTIFY_EVENTS]),
  timeout: duration
    .refine((ms) => ms >= 1000 && ms <= 10 * MINUTE, 'must be between 1s and 10m')
    .default(30_000),
  perMinute: z.int().min(1).max(60).default(6),
});

export type NotifyConfig = z.output<typeof notify>;
