import ssh2, { type Client, type ConnectConfig } from 'ssh2';
import { messageOf, SignpipeError, unavailable, usage } from '../errors.ts';
import { HostKeyPin } from './host-key.ts';
import { authMethods } from './identity.ts';
import { KnownHosts, knownHostName } from './known-hosts.ts';
import { timesOf, type SshOptions } from './options.ts';
import type { SshTarget } from './url.ts';

async function configFor(target: SshTarget, options: SshOptions, pin: HostKeyPin): Promise<ConnectConfig> {
  const times = timesOf(options);
  return {
    host: target.host,
    port: target.port,
    username: target.user,
    authHandler: await authMethods(target.user, options),
    algorithms: { serverHostKey: pin.algorithms() },
    // Without this function ssh2 accepts every host key.
    hostVerifier: (key: Buffer): boolean => pin.accept(key),
    agentForward: false,
    readyTimeout: times.connectTimeoutMs,
    keepaliveInterval: times.keepAliveMs,
    keepaliveCountMax: times.keepAliveCount,
  };
}

const KEY_REFUSED = /authentication methods failed|too many authentication failures/i;
/** ssh2's error texts about the agent. They are whole phrases, since a host may be called `agent` too. */
const AGENT_FAILED =
  /(connect to|identities from|data with|unexpected multiple|malformed) agent|agent responded/i;
const NO_SHARED_KEY_TYPE = /no matching host key format/i;

/**
 * After a handshake that failed because no pinned key type was offered: connects again with all types, to
 * learn which key the host shows now. That key is always refused.
 */
async function probeHostKey(config: ConnectConfig, pin: HostKeyPin): Promise<SignpipeError | null> {
  const verify = (key: Buffer): boolean => {
    pin.accept(key);
    return false;
  };
  const probe = { ...config, hostVerifier: verify, algorithms: { serverHostKey: pin.everyAlgorithm() } };
  await connectClient(probe).then(
    (client) => client.destroy(),
    () => {},
  );
  return pin.refusal;
}

function explain(error: unknown, target: SshTarget, options: SshOptions): SignpipeError {
  if (error instanceof SignpipeError) return error;
  const where = knownHostName(target.host, target.port);
  const text = messageOf(error);
  if (KEY_REFUSED.test(text))
    return usage('key-refused', `${where} refused the SSH key for ${target.user}`, {
      cause: error,
      hint: `add the public key of ${options.identity ?? 'the agent'} to that account's authorized_keys, and see the server's log`,
    });
  if (options.agent !== undefined && AGENT_FAILED.test(text))
    return usage('agent-unavailable', `${options.agent}: the ssh-agent does not answer: ${text}`, {
      cause: error,
    });
  return unavailable('host-unreachable', `${where} cannot be reached over SSH: ${text}`, {
    cause: error,
    hint: 'check the network, the host name and port, and that sshd runs there',
  });
}

/**
 * Connects with `connect` and checks the host's key against known_hosts. Errors:
 * `host-key-unknown`, `host-key-certificate`, `key-refused`, `identity-*`, `known-hosts-*` (usage),
 * `host-key-changed`, `host-key-revoked` (alarm), `host-unreachable` (unavailable).
 */
export async function connectPinned<T>(
  target: SshTarget,
  options: SshOptions,
  connect: (config: ConnectConfig) => Promise<T>,
): Promise<T> {
  const pin = new HostKeyPin(target, await KnownHosts.load(options.knownHosts));
  const config = await configFor(target, options, pin);
  try {
    return await connect(config);
  } catch (error) {
    if (pin.refusal) throw pin.refusal;
    const refusal = NO_SHARED_KEY_TYPE.test(messageOf(error)) ? await probeHostKey(config, pin) : null;
    throw refusal ?? explain(error, target, options);
  }
}

function connectClient(config: ConnectConfig): Promise<Client> {
  const client = new ssh2.Client();
  return new Promise((resolve, reject) => {
    client.on('error', reject); // Never removed: an `error` without a listener would end the process.
    client.once('close', () => reject(new Error('the connection was closed during the handshake')));
    client.once('ready', () => {
      // Only for speed: with Nagle's algorithm small packets wait for each other, 2 MB/s instead of 200.
      client.setNoDelay(true);
      resolve(client);
    });
    client.connect(config);
  });
}

/** Connects and logs in, with the host key checked and keep-alive probes on. Throws what `connectPinned` throws. */
export const connectSsh = (target: SshTarget, options: SshOptions): Promise<Client> =>
  connectPinned(target, options, connectClient);
