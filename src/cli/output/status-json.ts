import type { Overview } from '../../app/overview/model.ts';
import type { StatusReport } from '../../app/overview/sources/status-source.ts';

/** What `status --json` says about the repository; the documented form. */
function overviewJson({ at, heads, hold, queue, recent, channels, alarms }: Overview): object {
  return {
    at,
    heads,
    hold: hold?.held ? { commit: hold.commit, by: hold.by, since: hold.since, reason: hold.reason } : null,
    queue,
    recent,
    channels: channels.map(({ name, policy, daysLeft }) => ({
      name,
      daysLeft,
      certificate: policy.certificate ?? null,
      successor: policy.successor ?? null,
      waiting: policy.waiting ?? null,
      vouches: policy.vouches,
      delay: policy.delay,
    })),
    alarms,
  };
}

/** `status --json`, version 1. Readers ignore keys that they do not know. */
export function statusJson({ overview, health, notes }: StatusReport): object {
  const heard = (overview?.signers ?? []).map(({ state, key, content }) => ({
    running: state === 'alive' || state === 'silent',
    silent: state === 'silent',
    state,
    key,
    ...content,
  }));
  return {
    version: 1,
    signers: health ? [health] : heard,
    ...(overview ? overviewJson(overview) : {}),
    notes,
  };
}
