import { randomBytes } from 'node:crypto';
import { requireNoExtraContent } from '../../engine/authenticode/unauthenticated-data.ts';
import type { SigningConfig } from '../config/signer.ts';
import { SignpipeError } from '../../lib/errors.ts';
import {
  PUBLIC_ROOTS,
  readPublicRoots,
  readTimestampRoots,
  timestampRootsFor,
} from '../../engine/keys/trusted-roots.ts';
import { printable } from '../../lib/printable.ts';
import { TimestampClient } from '../../engine/timestamp/client.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { SigningKeys } from './check-keys.ts';
import { ok, resultOf, warning, type CheckResult } from './check-result.ts';
import { isoDay } from '../../lib/iso-day.ts';

/** How far a token's time may be from ours and still be shown rather than refused; in ms. */
const SHOWN = 7 * 86_400_000;
/** Beyond this the signer takes no token. */
const REFUSED = 300_000;
/** Beyond this a person should know. Tokens mostly count in whole seconds. */
const NOTICED = 30_000;
/** The age at which the roots that come along are worth a warning, in ms: authorities change roots. */
const OLD = 2 * 365.25 * 86_400_000;

/** How far this machine's clock is ahead of an authority's, in ms. */
function aheadBy(time: Date, began: number, ended: number): number {
  return Math.round((began + ended) / 2 - time.getTime());
}

function clockResults(url: string, ahead: number): CheckResult[] {
  const seconds = (Math.abs(ahead) / 1000).toFixed(0);
  const how = `this machine's clock is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} that of ${url}`;
  const hint = 'set the clock (timedatectl, chrony), or is it the authority that is wrong?';
  if (Math.abs(ahead) > REFUSED)
    return [{ status: 'bad', code: 'clock-wrong', message: `${how}: its stamps would be refused`, hint }];
  return Math.abs(ahead) > NOTICED ? [warning('clock-differs', how, hint)] : [];
}

/** One real stamp over random data, with every check that a signature's would get. */
async function askOne(
  url: string,
  { digest, timestampTimeout }: SigningConfig,
  roots: readonly Certificate[] | undefined,
): Promise<CheckResult[]> {
  let failure: SignpipeError | undefined;
  const authority = new TimestampClient([url], {
    roots,
    attempts: 1,
    timeoutMs: timestampTimeout,
    clockToleranceMs: SHOWN,
    onFailure: (_url, error) => (failure = error),
  });
  const began = Date.now();
  const { info } = await authority
    .timestamp(randomBytes(64), digest, requireNoExtraContent)
    .catch((error) => {
      // A root that is missing is the one fault that this machine's own configuration can mend.
      throw failure?.code === 'timestamp-untrusted' ? failure : error;
    });
  const ended = Date.now();
  const ahead = aheadBy(info.time, began, ended);
  const who = printable(info.authority, 200);
  return [
    ok(
      `${url} answered in ${ended - began} ms, its clock ${(Math.abs(ahead) / 1000).toFixed(1)} s from ours; ${who}`,
    ),
    ...clockResults(url, ahead),
  ];
}

/** A missing root, with the line of configuration that would add it; any other error as it is. */
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
    message: `${url} is passed over, its root is missing: ${printable(error.message, 500)}`,
    hint: `if you trust this authority, save the certificate of its root and add it: timestampRoots: [${[...names, 'keys/timestamp-root.pem'].join(', ')}]`,
  };
}

/** What the roots are, and whether those that come along are out of date. */
async function rootResults(names: readonly string[] | undefined, now: Date): Promise<CheckResult[]> {
  if (!names) return [];
  if (!names.includes(PUBLIC_ROOTS)) return [ok(`their roots: ${names.join(', ')}`)];
  const { certificates, checked } = await readPublicRoots();
  const day = isoDay(checked);
  if (now.getTime() - checked.getTime() <= OLD)
    return [ok(`their roots: ${names.join(', ')} (${certificates.length} public ones, checked on ${day})`)];
  return [
    warning(
      'timestamp-roots-old',
      `the public timestamp roots are of ${day}: authorities may have changed theirs since`,
      'install a newer signpipe, or name the roots yourself under signing.timestampRoots',
    ),
  ];
}

/** The roots for timestamps on this key's signatures. None if the key does not open: its own check reports that. */
async function rootNames(config: SigningConfig, keys: SigningKeys): Promise<readonly string[] | undefined> {
  if (config.timestampRoots) return config.timestampRoots;
  const key = await keys.open(config).catch(() => null);
  return key ? timestampRootsFor(undefined, key.certificates) : undefined;
}

/** Every authority is asked for one token. One that fails is a warning while another answers. */
export async function checkTimestamps(
  config: SigningConfig,
  keys: SigningKeys,
  now: Date,
): Promise<CheckResult[]> {
  if (config.timestamp.length === 0) return [ok('none is configured: only test certificates may do without')];
  const names = await rootNames(config, keys);
  const roots = await readTimestampRoots(names);
  const answers = await Promise.allSettled(config.timestamp.map((url) => askOne(url, config, roots)));
  const status = answers.some((answer) => answer.status === 'fulfilled') ? 'warning' : 'bad';
  const results = answers.flatMap((answer, at) =>
    answer.status === 'fulfilled'
      ? answer.value
      : [failureOf(config.timestamp[at] ?? '', answer.reason, names ?? [], status)],
  );
  return [...(await rootResults(names, now)), ...results];
}
