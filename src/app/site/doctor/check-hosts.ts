import { sshOptionsOf, type SiteConfig } from '../../config/open.ts';
import { connectSsh } from '../../../lib/ssh/connection.ts';
import { parseSshUrl } from '../../../lib/ssh/url.ts';
import type { SshOptions } from '../../../lib/ssh/options.ts';
import { knownHostName } from '../../../lib/ssh/known-hosts.ts';
import { usage } from '../../../lib/errors.ts';
import { checkControl } from './check-control.ts';
import type { PushRights } from './check-push.ts';
import { checkExchange, type ExchangeFolders } from './check-exchange.ts';
import { ok, silent, type CheckResult, type SiteCheck } from './check-result.ts';

/** Logs in and out again: the host shows a pinned key and accepts ours. */
async function checkHost(url: string, ssh: SshOptions | undefined): Promise<CheckResult[]> {
  if (!ssh)
    throw usage('exchange-ssh-missing', 'there is no ssh section', {
      hint: 'set ssh.identity and ssh.knownHosts',
    });
  const target = parseSshUrl(url);
  const start = performance.now();
  const client = await connectSsh(target, ssh);
  const duration = Math.round(performance.now() - start);
  client.end();
  const host = knownHostName(target.host, target.port);
  return [ok(`${host} shows a pinned host key and lets ${target.user} log in (${duration} ms)`)];
}

interface RemoteSite extends Pick<SiteConfig, 'control' | 'ssh'> {
  readonly exchange?: SiteConfig['exchange'] | undefined;
}

/**
 * The checks of everything that a site reaches: the hosts, the control repository with what the site writes there, and
 * the exchange, if the site uses `folders` there.
 */
export function remoteChecks(config: RemoteSite, rights: PushRights, folders?: ExchangeFolders): SiteCheck[] {
  const { control, exchange } = config;
  const ssh = (): Promise<SshOptions | undefined> => sshOptionsOf(config, silent);
  const hostCheck = (name: string, { url }: { readonly url: string }): SiteCheck[] =>
    url.startsWith('file:') ? [] : [{ name, run: async () => checkHost(url, await ssh()) }];
  const controlCheck = {
    name: 'control repository',
    run: async () => checkControl(config, rights, await ssh()),
  };
  if (!exchange || !folders) return [...hostCheck('SSH to control', control), controlCheck];
  return [
    ...hostCheck('SSH to control', control),
    ...hostCheck('SSH to exchange', exchange),
    controlCheck,
    { name: 'exchange', run: async () => checkExchange({ exchange }, folders, await ssh()) },
  ];
}
