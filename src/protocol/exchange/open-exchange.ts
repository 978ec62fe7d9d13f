import { usage } from '../../lib/errors.ts';
import { parseSshUrl } from '../../lib/ssh/url.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import type { Exchange, ExchangeOptions } from './exchange.ts';
import { FolderExchange } from './folder.ts';
import { ScpExchange } from './scp.ts';
import { SftpExchange } from './sftp.ts';

function requireSsh(ssh: SshOptions | undefined): SshOptions {
  if (ssh) return ssh;
  throw usage('exchange-ssh-missing', 'exchange.url needs SSH, and no ssh section is configured', {
    hint: 'set ssh.identity and ssh.knownHosts',
  });
}

/**
 * Opens the exchange at a url and connects to it: `sftp://` (which OpenSSH's scp has used since 9.0), `scp://` (the
 * legacy protocol, for hosts without SFTP) or `file://` (a shared folder).
 */
export async function openExchange(options: ExchangeOptions): Promise<Exchange> {
  const { url, stallTimeoutMs = 120_000, resumeAfter = 32 * 1024 * 1024 } = options;
  if (/^file:\/\//i.test(url)) return new FolderExchange(url).connect();
  const location = parseSshUrl(url);
  if (location.scheme === 'sftp')
    return new SftpExchange(location, requireSsh(options.ssh), { stallTimeoutMs, resumeAfter }).connect();
  if (location.scheme === 'scp')
    return new ScpExchange(location, requireSsh(options.ssh), stallTimeoutMs).connect();
  throw usage(
    'exchange-url-invalid',
    'exchange.url begins with ssh://, which does not say how files are transferred',
    { hint: 'write sftp:// (or scp:// for a host without SFTP, or file:// for a shared folder)' },
  );
}
