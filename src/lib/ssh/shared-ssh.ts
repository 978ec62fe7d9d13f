import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { inheritedEnvironment } from '../child-environment.ts';
import { configPath, gitSshCommand } from './git-ssh-command.ts';
import type { SshOptions } from './options.ts';

/**
 * The longest path of a socket, in bytes. The kernel takes 107 (unix(7)), and ssh first creates the socket under a
 * name that is 17 longer.
 */
const PATH_LIMIT = 88;

/**
 * Only for speed: Git's ssh with one connection for all its runs (ControlMaster, ssh_config(5)), since a handshake
 * takes longer than most fetches and pushes; if the socket's path would be too long, every run connects by itself.
 * Host keys and identity are those of any connection. The socket has a random name that only this process uses, and
 * only this account can open it.
 */
export class SharedSsh {
  /** For Git's `core.sshCommand`. */
  readonly command: string;
  private readonly socket: string | undefined;

  /** The socket lies in `folder` while there is a connection. Throws what `gitSshCommand` throws. */
  constructor(options: SshOptions, folder: string) {
    const socket = join(folder, `ssh-${randomBytes(4).toString('hex')}`);
    this.socket = Buffer.byteLength(socket) <= PATH_LIMIT ? socket : undefined;
    this.command = gitSshCommand(options, this.socket);
  }

  /** Ends the connection, if there is one; a later run opens another. */
  close(): void {
    if (this.socket === undefined || !existsSync(this.socket)) return;
    const args = ['-F', '/dev/null', '-o', `ControlPath=${configPath(this.socket)}`];
    // Errors are ignored: an idle connection ends by itself.
    spawn('ssh', [...args, '-q', '-O', 'exit', 'shared'], {
      stdio: 'ignore',
      detached: true,
      env: inheritedEnvironment(),
    })
      .on('error', () => {})
      .unref();
  }
}
