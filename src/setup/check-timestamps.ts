import { randomBytes } from 'node:crypto';
import type { SigningConfig } from '../config/signer.ts';
import { printable } from '../printable.ts';
import { readRoots } from '../keys/roots.ts';
import { TimestampAuthorities } from '../timestamp/authority.ts';
import type { Certificate } from '../x509/certificate.ts';
import { ok, verdictOf, warning, type Verdict } from './finding.ts';

/** How far a token's time may be from ours and still be shown rather than refused; in ms. */
const SHOWN = 7 * 86_400_000;
/** Beyond this the signer takes no token. */
const REFUSED = 300_000;
/** Beyond this a person should know. Tokens mostly count in whole seconds. */
const NOTICED = 30_000;

/** How far this machine's clock is ahead of an authority's, in ms. */
function aheadBy(time: Date, began: number, ended: number): number {
  return Math.round((began + ended) / 2 - time.getTime());
}

function clockVerdict(url: string, ahead: number): Verdict[] {
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
): Promise<Verdict[]> {
  const authority = new TimestampAuthorities([url], {
    roots,
    attempts: 1,
    timeoutMs: timestampTimeout,
    clockToleranceMs: SHOWN,
  });
  const began = Date.now();
  const { info } = await authority.timestamp(randomBytes(64), digest);
  const ended = Date.now();
  const ahead = aheadBy(info.time, began, ended);
  const who = printable(info.authority, 200);
  return [
    ok(
      `${url} answered in ${ended - began} ms, its clock ${(Math.abs(ahead) / 1000).toFixed(1)} s from ours; ${who}`,
    ),
    ...clockVerdict(url, ahead),
  ];
}

/** Every authority is asked for one token. One that fails is a warning while another answers. */
export async function checkTimestamps(config: SigningConfig): Promise<Verdict[]> {
  if (config.timestamp.length === 0) return [ok('none is configured: only test certificates may do without')];
  const roots = await readRoots(config.timestampRoots);
  const answers = await Promise.allSettled(config.timestamp.map((url) => askOne(url, config, roots)));
  const status = answers.some((answer) => answer.status === 'fulfilled') ? 'warning' : 'bad';
  return answers.flatMap((answer) =>
    answer.status === 'fulfilled' ? answer.value : [verdictOf(answer.reason, status)],
  );
}
