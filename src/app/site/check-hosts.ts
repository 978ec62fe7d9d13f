import { connectSsh } from '../../lib/ssh/connection.ts';
import { parseSshUrl } from '../../lib/ssh/url.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import { knownHostName } from '../../lib/ssh/known-hosts.ts';
import { usage } from '../../lib/errors.ts';
import { ok, type CheckResult } from './check-result.ts';

/** Logs in and out again: whether the host shows a pinned key, and takes ours. */
export async function checkHost(url: string, ssh: SshOptions | undefined): Promise<CheckResult[]> {
  if (!ssh)
    throw usage('exchange-ssh-missing', 'there is no ssh section', {
      hint: 'set ssh.identity and ssh.knownHosts',
    });
  const target = parseSshUrl(url);
  const began = performance.now();
  const client = await connectSsh(target, ssh);
  const took = Math.round(performance.now() - began);
  client.end();
  const where = knownHostName(target.host, target.port);
  return [ok(`${where} shows a pinned host key, and lets ${target.user} in (${took} ms)`)];
}
