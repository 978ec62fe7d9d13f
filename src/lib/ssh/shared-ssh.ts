import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { configPath, gitSshCommand } from './git-command.ts';
import type { SshOptions } from './options.ts';

/**
 * The longest path of a socket, in bytes. The kernel takes 107 (unix(7)), and ssh appends 17 to the name under
 * which it makes the socket at first.
 */
const PATH_LIMIT = 88;

/**
 * Git's ssh with one connection for all its runs (ControlMaster, ssh_config(5)): a handshake takes longer than most
 * fetches and pushes. The connection is held to the same host keys and made with the same identity as any; it is
 * this process's alone, by a socket of a name that nobody had before, through which only this account gets.
 * Where the socket's path would be too long, every run connects by itself.
 */
export class SharedSsh {
  /** For Git's `core.sshCommand`. */
  readonly command: string;
  private readonly socket: string | undefined;

  /** `folder` is where the socket goes while there is a connection. Throws what `gitSshCommand` throws. */
  constructor(options: SshOptions, folder: string) {
    const socket = join(folder, `ssh-${randomBytes(4).toString('hex')}`);
    this.socket = Buffer.byteLength(socket) <= PATH_LIMIT ? socket : undefined;
    this.command = gitSshCommand(options, this.socket);
  }

  /** Ends the connection, if there is one; a later run makes another. */
  close(): void {
    if (this.socket === undefined || !existsSync(this.socket)) return;
    const words = ['-F', '/dev/null', '-o', `ControlPath=${configPath(this.socket)}`];
    // Whether it could be told makes no difference: left alone, it ends by itself.
    spawn('ssh', [...words, '-q', '-O', 'exit', 'shared'], { stdio: 'ignore', detached: true })
      .on('error', () => {})
      .unref();
  }
}
