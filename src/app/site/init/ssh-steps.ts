import { parseSshUrl, type SshTarget } from '../../../lib/ssh/url.ts';
import { exchangeKeyLine, gitKeyLine } from './key-lines.ts';
import { setupStep, type SetupStep } from './site-setup.ts';

/** The URLs that a site uses; a voucher uses no exchange. */
export interface SiteUrls {
  readonly control: string;
  readonly exchange?: string | undefined;
}

/** The account behind a URL; none for a folder of this machine. */
const accountsOf = (url: string | undefined): SshTarget[] =>
  url === undefined || url.startsWith('file:') ? [] : [parseSshUrl(url)];

const keyscan = ({ host, port }: SshTarget, file: string): string =>
  `ssh-keyscan -t ed25519 ${port === 22 ? '' : `-p ${port} `}${host} >> ${file}`;

function hostKeyStep(accounts: readonly SshTarget[], knownHosts: string): SetupStep {
  const hosts = new Map(accounts.map((account) => [`${account.host}:${account.port}`, account]));
  return setupStep(
    'Add the host keys to known_hosts. Compare their fingerprints with what the last command prints on each host itself, over another channel than this network',
    ...[...hosts.values()].map((host) => keyscan(host, knownHosts)),
    `ssh-keygen -lf ${knownHosts}`,
    'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub     # on the host',
  );
}

interface SshAccess {
  readonly user: string;
  readonly role: 'builder' | 'signer' | 'voucher' | 'courier' | 'auditor';
  /** The public line of the key that logs in. */
  readonly key: string;
  readonly knownHosts: string;
}

const authorizedKeysStep = ({ user, host }: SshTarget, what: string, line: string): SetupStep =>
  setupStep(
    `Have the operator of the host add this line to authorized_keys of ${user} on ${host} (${what}). There it is /etc/ssh/signpipe/${user}, if the host was set up as pipeline/host says`,
    line,
  );

/** The steps that let a key in on the hosts and add the hosts' keys; none if all URLs are folders of this machine. */
export function sshSteps(urls: SiteUrls, { user, role, key, knownHosts }: SshAccess): SetupStep[] {
  const [control, exchange] = [accountsOf(urls.control), accountsOf(urls.exchange)];
  if (control.length + exchange.length === 0) return [];
  return [
    ...control.map((account) =>
      authorizedKeysStep(
        account,
        'control repository',
        gitKeyLine(user, role === 'auditor' ? '' : role, key),
      ),
    ),
    ...exchange.map((account) => authorizedKeysStep(account, 'exchange', exchangeKeyLine(key))),
    hostKeyStep([...control, ...exchange], knownHosts),
  ];
}
