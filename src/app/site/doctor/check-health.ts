import type { SignerConfig } from '../../config/signer.ts';
import { plural } from '../../../lib/plural.ts';
import { printable } from '../../../lib/printable.ts';
import { isRunning, isSilent, readHealthOrNull, type SignerHealth } from '../../signer/state/health.ts';
import { ok, warning, type CheckResult } from './check-result.ts';

type ChannelHealth = SignerHealth['channels'][number];

function authorityResults({ name, authorities }: ChannelHealth): CheckResult[] {
  return authorities
    .filter(({ circuit }) => circuit !== 'closed')
    .map(({ url, lastFailure }) => {
      const last = lastFailure ? `, last at ${lastFailure.at} [${printable(lastFailure.code, 60)}]` : '';
      return warning(
        'timestamp-circuit-open',
        `channel ${name}: ${printable(url, 200)} has failed again and again${last}`,
        'the signer passes it over and tries it now and then; if it stays so, name another authority',
      );
    });
}

function waitingResults({ name, waiting }: ChannelHealth): CheckResult[] {
  if (!waiting) return [];
  const what = waiting.for === 'key' ? 'its signing key' : 'timestamps';
  return [
    warning(
      'requests-waiting',
      `channel ${name}: requests have been waiting for ${what} since ${waiting.since}`,
      'see the lines on signing keys and timestamps above, and retry.for',
    ),
  ];
}

/** What the running signer has reported about itself; nothing is said of one that does not run. */
export async function checkHealth({ state }: SignerConfig, now = new Date()): Promise<CheckResult[]> {
  const health = await readHealthOrNull(state);
  if (!health || !isRunning(health)) return [];
  if (isSilent(health, now))
    return [
      warning(
        'signer-silent',
        `process ${health.pid} is there, and the signer with that number was last heard from at ${health.written}`,
        'the signer hangs, cannot write into its state folder, or was killed: see its log, and restart it',
      ),
    ];
  const results = health.channels.flatMap((each) => [...authorityResults(each), ...waitingResults(each)]);
  const running = `process ${health.pid} has been running since ${health.started}; ${plural(health.requests.length, 'request')} waiting`;
  return [ok(running), ...results];
}
