import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { CourierConfig } from '../../config/courier.ts';
import { sshOptionsOf } from '../../config/open.ts';
import { directEndpoint } from '../../../engine/timestamp/transport/endpoint.ts';
import { TimestampClient } from '../../../engine/timestamp/client.ts';
import { withTempFolder } from '../../../lib/bytes/temp-folder.ts';
import { plural } from '../../../lib/plural.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import { Mailbox } from '../../../protocol/courier/mailbox.ts';
import { checkPrograms } from './check-programs.ts';
import { bad, ok, runChecks, silent, type CheckResult, type SiteFinding } from './check-result.ts';

/** The control repository can be read, and what waits there is counted. */
async function checkQueries(config: CourierConfig, scratch: string): Promise<CheckResult[]> {
  const ssh = await sshOptionsOf(config, silent);
  const path = join(scratch, 'courier.git');
  const mailbox = await Mailbox.open({ url: config.control.url, path, ssh });
  try {
    const { queries, answers } = await mailbox.list();
    return [
      ok(
        `${config.control.url}: ${plural(queries.size, 'batch', 'batches')} of queries, ${answers.size} answered`,
      ),
    ];
  } finally {
    mailbox.close();
  }
}

/** Gets one token over random data. The chain of the authority is the signer's to judge. */
async function checkAuthority(url: string, { timeout }: CourierConfig): Promise<CheckResult[]> {
  const endpoint = directEndpoint(url);
  const client = new TimestampClient([endpoint], { attempts: 1, timeoutMs: timeout });
  const begun = performance.now();
  await client.timestamp(randomBytes(64), 'sha256');
  return [ok(`${endpoint.url} answered in ${Math.round(performance.now() - begun)} ms`)];
}

/** Whose queries are carried. */
async function checkSigners({ trust }: CourierConfig): Promise<CheckResult[]> {
  const { signers, name } = await AllowedSigners.load(trust.allowedSigners);
  if (signers.length > 0)
    return [ok(`the queries of ${plural(signers.length, 'key')} are carried, in ${name}`)];
  return [
    bad(
      'no-receipt-signer',
      `${name} lists no key: no query will be carried`,
      'add the line of the receipt key',
    ),
  ];
}

/** Checks every part of a courier at the same time; changes nothing. Findings hold no secrets. */
export const checkCourier = (config: CourierConfig): Promise<SiteFinding[]> =>
  withTempFolder((scratch) =>
    runChecks([
      { name: 'programs', run: () => checkPrograms(config.control.url.startsWith('ssh:')) },
      { name: 'control repository', run: () => checkQueries(config, scratch) },
      { name: 'receipt signers', run: () => checkSigners(config) },
      ...config.authorities.map((url, index) => ({
        name: `authority ${index + 1}`,
        run: () => checkAuthority(url, config),
      })),
    ]),
  );
