import { dirname } from 'node:path';
import { RemoteHeads } from '../../lib/git/remote-heads.ts';
import { ControlRepository, type RepositoryOptions } from '../../protocol/control/repository.ts';
import { openExchange } from '../../protocol/exchange/open-exchange.ts';
import type { Exchange } from '../../protocol/exchange/exchange.ts';
import { findPassphrase } from '../../engine/keys/passphrase.ts';
import type { GitIdentity } from '../../lib/git/objects.ts';
import type { BuilderConfig } from './builder.ts';
import { loadSshSigner, type SshSigner } from '../../lib/sshsig/ssh-signer.ts';
import { SharedSsh } from '../../lib/ssh/shared-ssh.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';

/** The sections of signer.yaml and builder.yaml that name hosts. */
export interface SiteConfig {
  readonly control: { readonly url: string; readonly requests: string; readonly receipts: string };
  readonly exchange: { readonly url: string };
  readonly ssh?: BuilderConfig['ssh'];
}

/** The section `ssh` as options for connections; undefined if there is none. */
export async function sshOptionsOf(
  config: Pick<SiteConfig, 'ssh'>,
  warn: (message: string) => void,
): Promise<SshOptions | undefined> {
  const { ssh } = config;
  if (!ssh) return undefined;
  const agent = ssh.agent ?? (ssh.identity === undefined ? process.env['SSH_AUTH_SOCK'] : undefined);
  const passphrase = await findPassphrase({ file: ssh.passphraseFile, warn, environment: {} });
  return {
    knownHosts: ssh.knownHosts,
    ...(ssh.identity === undefined ? {} : { identity: ssh.identity }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(agent === undefined ? {} : { agent }),
  };
}

/**
 * Opens the bare clone in `path`; fetches nothing. Only for speed, it also begins to connect: the SSH handshake takes
 * as long as the rest. If that fails, the first use connects again and reports the error.
 */
export async function openControl(
  config: Pick<SiteConfig, 'control'>,
  ssh: SshOptions | undefined,
  path: string,
  options: Pick<RepositoryOptions, 'onOutput'> = {},
): Promise<ControlRepository> {
  const { url, requests, receipts } = config.control;
  const common = { ...options, url, path, branches: { requests, receipts } };
  if (!ssh || !url.startsWith('ssh:')) return ControlRepository.open(common);
  const remoteHeads = new RemoteHeads(url, ssh);
  remoteHeads.connect();
  try {
    return await ControlRepository.open({ ...common, ssh: new SharedSsh(ssh, dirname(path)), remoteHeads });
  } catch (error) {
    remoteHeads.close();
    throw error;
  }
}

/** Opens the exchange, which connects at its first use. */
export function openConfiguredExchange(
  config: Pick<SiteConfig, 'exchange'>,
  ssh: SshOptions | undefined,
): Promise<Exchange> {
  return openExchange({ url: config.exchange.url, ...(ssh ? { ssh } : {}) });
}

/** The key and the author's name for the commits of a builder or a voucher. */
export async function committerOf({
  config,
  say,
}: {
  readonly config: Pick<BuilderConfig, 'requests'>;
  readonly say: (line: string) => void;
}): Promise<{ signer: SshSigner; identity: GitIdentity }> {
  const { name, email } = config.requests;
  return { signer: await openCommitKey(config.requests, say), identity: { name, email } };
}

/** Opens a key that signs commits: a file, or with the agent at SSH_AUTH_SOCK the file of its public key. */
export async function openCommitKey(
  { key, passphraseFile }: Pick<BuilderConfig['requests'], 'key' | 'passphraseFile'>,
  warn: (message: string) => void,
): Promise<SshSigner> {
  const passphrase = await findPassphrase({ file: passphraseFile, warn, environment: {} });
  const agent = process.env['SSH_AUTH_SOCK'];
  return loadSshSigner(key, {
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(agent === undefined ? {} : { agent }),
  });
}
