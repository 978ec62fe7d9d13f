import { parseSshUrl, type SshTarget } from '../../lib/ssh/url.ts';
import { exchangeKeyLine, gitKeyLine, setupStep, type SetupStep } from './key-lines.ts';

/** What a site reaches; a voucher reaches no exchange. */
export interface Places {
  readonly control: string;
  readonly exchange?: string | undefined;
}

const isRemote = (url: string): boolean => !url.startsWith('file:');

const remotePlaces = ({ control, exchange }: Places): string[] =>
  [control, ...(exchange === undefined ? [] : [exchange])].filter(isRemote);

const isAnyRemote = (places: Places): boolean => remotePlaces(places).length > 0;

function hostsOf(places: Places): SshTarget[] {
  const hosts = remotePlaces(places).map(parseSshUrl);
  return [...new Map(hosts.map((host) => [`${host.host}:${host.port}`, host])).values()];
}

const keyscan = ({ host, port }: SshTarget, file: string): string =>
  `ssh-keyscan -t ed25519 ${port === 22 ? '' : `-p ${port} `}${host} >> ${file}`;

/** How the host's keys come into known_hosts: nothing is taken on faith. */
function pinningStep(places: Places, knownHosts: string): SetupStep {
  return setupStep(
    'Pin the host keys: compare the fingerprint with the one that the host itself prints, by another channel than this network',
    ...hostsOf(places).map((host) => keyscan(host, knownHosts)),
    `ssh-keygen -lf ${knownHosts}`,
    'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub     # on the host',
  );
}

export interface SshAccess {
  readonly user: string;
  readonly role: 'builder' | 'signer' | 'voucher';
  /** Public line of the key that logs in. */
  readonly key: string;
  readonly knownHosts: string;
}

/** What gives a key access to the hosts; nothing where all is reached as folders. */
export function sshSteps(places: Places, { user, role, key, knownHosts }: SshAccess): SetupStep[] {
  if (!isAnyRemote(places)) return [];
  const steps: SetupStep[] = [];
  if (isRemote(places.control)) {
    const account = parseSshUrl(places.control);
    steps.push(
      setupStep(
        `For authorized_keys of ${account.user} on ${account.host} (control repository)`,
        gitKeyLine(user, role, key),
      ),
    );
  }
  if (places.exchange !== undefined && isRemote(places.exchange)) {
    const account = parseSshUrl(places.exchange);
    steps.push(
      setupStep(`For authorized_keys of ${account.user} on ${account.host} (exchange)`, exchangeKeyLine(key)),
    );
  }
  return [...steps, pinningStep(places, knownHosts)];
}
