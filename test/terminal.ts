import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Runs a command on a pseudo-terminal, types the first argument at a passphrase prompt, and prints the output. */
const TERMINAL = `import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[2], sys.argv[2:])
shown = b''
while True:
  try: part = os.read(terminal, 4096)
  except OSError: break
  if not part: break
  if b'assphrase' in part and b'assphrase' not in shown: os.write(terminal, sys.argv[1].encode() + b'\\n')
  shown += part
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;

export interface Shown {
  readonly text: string;
  readonly status: number | null;
}

/** Runs a command on its own terminal, types the passphrase at a prompt, and returns the output. */
export async function onTerminal(
  command: readonly string[],
  options: { cwd: string; type?: string },
): Promise<Shown> {
  const args = ['-c', TERMINAL, options.type ?? '', ...command];
  const child = spawn('python3', args, {
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
  });
  const parts: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => parts.push(part));
  const [status] = (await once(child, 'close')) as [number | null];
  return { text: Buffer.concat(parts).toString('utf8'), status };
}
