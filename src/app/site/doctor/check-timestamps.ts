import { randomBytes } from 'node:crypto';
import { requireNoExtraContent } from '../../../engine/authenticode/unauthenticated-data.ts';
import type { SigningConfig } from '../../config/channel-sections.ts';
import type { TimestampAuthority } from '../../config/timestamp-authorities.ts';
import type { TimestampRoutes } from '../../timestamps/routes.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import {
  PUBLIC_ROOTS,
  readPublicRoots,
  readTimestampRoots,
  timestampRootsFor,
} from '../../../engine/keys/trusted-roots.ts';
import { printable } from '../../../lib/printable.ts';
import { TimestampClient } from '../../../engine/timestamp/client.ts';
import type { TimestampEndpoint } from '../../../engine/timestamp/transport/endpoint.ts';
import { parseEndpoint } from '../../../engine/timestamp/transport/http.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { settingsInUse, type SigningKeys } from './check-keys.ts';
import { bad, ok, resultOf, warning, type CheckResult } from './check-result.ts';
import { isoDay } from '../../../lib/iso-day.ts';

/** The largest difference between a token's time and this machine's clock that this check measures, in ms. */
const MEASURED = 7 * 86_400_000;
/** Beyond this, the signer accepts no token. In ms. */
const REFUSED = 300_000;
/** Beyond this, the check warns. In ms; most tokens have whole seconds. */
const NOTICED = 30_000;
/** The age in ms at which the check warns about this package's roots: authorities change theirs. */
const OLD_ROOTS = 2 * 365.25 * 86_400_000;

/** Compares the clocks; this machine's is `ahead` ms ahead of the authority's. */
function clockResults(url: string, ahead: number): CheckResult[] {
  const seconds = (Math.abs(ahead) / 1000).toFixed(0);
  const difference = `this machine's clock is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} that of ${url}`;
  const hint = 'set the clock (timedatectl, chrony), unless the authority is wrong';
  if (Math.abs(ahead) > REFUSED)
    return [bad('clock-wrong', `${difference}: the signer would refuse its timestamps`, hint)];
  return Math.abs(ahead) > NOTICED ? [warning('clock-differs', difference, hint)] : [];
}

/** How results name an authority. */
const shownAuthority = ({ url, via }: TimestampAuthority): string => {
  const { url: shown } = parseEndpoint(url);
  return via === 'direct' ? shown : `${shown} via ${via}`;
};

/** Errors that keep their own code and hint, because the configuration of this machine or of the SSH host can mend them. */
const MENDABLE = new Set(['timestamp-untrusted', 'timestamp-forwarding']);

/** How long one authority may take here, in ms: a courier has longer when a request waits for it. */
const LONGEST_CHECK = 30_000;

/** Gets one timestamp over random data, with every check that the timestamp of a signature gets. */
async function checkAuthority(
  endpoint: TimestampEndpoint,
  shown: string,
  { digest, timestampTimeout }: SigningConfig,
  roots: readonly Certificate[] | undefined,
): Promise<CheckResult[]> {
  let failure: SignpipeError | undefined;
  const limit = Math.min(endpoint.timeoutMs ?? timestampTimeout, LONGEST_CHECK);
  const authority = new TimestampClient([{ ...endpoint, timeoutMs: limit }], {
    roots,
    attempts: 1,
    timeoutMs: timestampTimeout,
    clockToleranceMs: MEASURED,
    onFailure: (_url, error) => (failure = error),
  });
  const start = Date.now();
  const { info } = await authority
    .timestamp(randomBytes(64), digest, requireNoExtraContent)
    .catch((error) => {
      throw failure && MENDABLE.has(failure.code) ? failure : error;
    });
  const end = Date.now();
  const ahead = Math.round((start + end) / 2 - info.time.getTime());
  const subject = printable(info.authority, 200);
  return [
    ok(
      `${shown} answered in ${end - start} ms, its clock ${(Math.abs(ahead) / 1000).toFixed(1)} s from ours; ${subject}`,
    ),
    ...clockResults(shown, ahead),
  ];
}

/** Reports an error; for a missing root, with the line of the configuration that would add it. */
function failureOf(
  url: string,
  error: unknown,
  names: readonly string[],
  status: CheckResult['status'],
): CheckResult {
  if (!(error instanceof SignpipeError) || error.code !== 'timestamp-untrusted')
    return resultOf(error, status);
  return {
    status,
    code: error.code,
    message: `${url} is not used, since its root is missing: ${printable(error.message, 500)}`,
    hint: `if you trust this authority, save the certificate of its root and add it: timestampRoots: [${[...names, 'keys/timestamp-root.pem'].join(', ')}]`,
  };
}

/** Reports the roots, and whether those of this package are out of date. */
async function rootResults(names: readonly string[] | undefined, now: Date): Promise<CheckResult[]> {
  if (!names) return [];
  if (!names.includes(PUBLIC_ROOTS)) return [ok(`trusted roots: ${names.join(', ')}`)];
  const { certificates, checked } = await readPublicRoots();
  const day = isoDay(checked);
  if (now.getTime() - checked.getTime() <= OLD_ROOTS)
    return [ok(`trusted roots: ${names.join(', ')} (${certificates.length} public ones, as of ${day})`)];
  return [
    warning(
      'timestamp-roots-old',
      `the public timestamp roots are as of ${day}: authorities may have changed theirs since`,
      'install a newer signpipe, or name the roots yourself under signing.timestampRoots',
    ),
  ];
}

/** The roots for timestamps on this key's signatures. None if the key does not open: its own check reports that. */
async function rootNames(
  config: SigningConfig,
  keys: SigningKeys,
  now: Date,
): Promise<readonly string[] | undefined> {
  if (config.timestampRoots) return config.timestampRoots;
  const key = await keys.open(settingsInUse(config, now)).catch(() => null);
  return key ? timestampRootsFor(undefined, key.certificates) : undefined;
}

/** Asks every authority for one token. A failure is only a warning if another authority answers. */
export async function checkTimestamps(
  config: SigningConfig,
  keys: SigningKeys,
  routes: TimestampRoutes,
  now: Date,
): Promise<CheckResult[]> {
  if (config.timestamp.length === 0)
    return [ok('no authority is configured, which is allowed only for test certificates')];
  const names = await rootNames(config, keys, now);
  const roots = await readTimestampRoots(names);
  const answers = await Promise.allSettled(
    config.timestamp.map(async (each) =>
      checkAuthority(routes.endpoint(each), shownAuthority(each), config, roots),
    ),
  );
  const status = answers.some((answer) => answer.status === 'fulfilled') ? 'warning' : 'bad';
  const results = answers.flatMap((answer, at) => {
    if (answer.status === 'fulfilled') return answer.value;
    const authority = config.timestamp[at];
    return [failureOf(authority ? shownAuthority(authority) : '', answer.reason, names ?? [], status)];
  });
  return [...(await rootResults(names, now)), ...results];
}
