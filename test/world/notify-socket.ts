import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Prints each datagram that arrives at a socket, as systemd's own receives them. */
const RECEIVER = `import socket, sys
address = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind('\\0' + address[1:] if address.startswith('@') else address)
print('bound', flush=True)
while True: print(receiver.recv(4096).decode().replace('\\n', ' '), flush=True)`;

/** A service manager as far as it listens at a socket (sd_notify(3)). */
export class NotifySocket {
  private text = '';

  private constructor(private readonly receiver: ChildProcess) {
    receiver.stdout?.on('data', (data: Buffer) => (this.text += data.toString()));
  }

  /** Listens at a path, or with `@` at a name in the abstract namespace. */
  static async listen(address: string): Promise<NotifySocket> {
    const receiver = spawn('python3', ['-c', RECEIVER, address], { stdio: ['ignore', 'pipe', 'inherit'] });
    const socket = new NotifySocket(receiver);
    await once(receiver.stdout as NodeJS.ReadableStream, 'data');
    return socket;
  }

  /** The messages so far; lines of one message are joined. Barriers, with which the sender waits, are left out. */
  get messages(): string[] {
    return this.text.split('\n').filter((each) => !/^(?:|bound|BARRIER=1)$/.test(each));
  }

  close(): void {
    this.receiver.kill();
  }
}
