import { loadSshSigner } from '../../lib/sshsig/ssh-signer.ts';
import type { ChecksumKey } from './checksum-key.ts';

/** The namespace that `ssh-keygen -Y verify -n file` expects. */
const NAMESPACE = 'file';

interface SshChecksumKeySource {
  /** An OpenSSH private key, or the `.pub` file of a key in an ssh-agent. */
  readonly path: string;
  readonly passphrase?: string | undefined;
  /** The socket of an ssh-agent. */
  readonly agent?: string | undefined;
}

/** Opens an OpenSSH key for checksum files; throws the usage errors of `loadSshSigner`. */
export async function openSshChecksumKey({
  path,
  passphrase,
  agent,
}: SshChecksumKeySource): Promise<ChecksumKey> {
  const signer = await loadSshSigner(path, {
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(agent === undefined ? {} : { agent }),
  });
  return {
    kind: 'ssh',
    id: signer.fingerprint,
    expires: null,
    sign: async (content) => Buffer.from(await signer.sign(NAMESPACE, content)),
    available: signer.available,
  };
}
