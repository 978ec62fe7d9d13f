import type { Client, ClientChannel } from 'ssh2';
import { unavailable } from '../errors.ts';

/** What a command on the host answered. */
export interface RemoteResult {
  /** Exit status; null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The most that is kept of each output, in bytes; more is read and dropped. */
const OUTPUT_LIMIT = 64 * 1024;

/** Starts a command on the host; the channel is its standard input and output. */
export function openExec(client: Client, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error) reject(error);
      else resolve(channel);
    });
  });
}

/** Keeps the beginning of a stream's text. */
export function collect(stream: NodeJS.ReadableStream, limit = OUTPUT_LIMIT): () => string {
  const parts: Buffer[] = [];
  let kept = 0;
  stream.on('data', (chunk: Buffer) => {
    if (kept < limit) parts.push(chunk.subarray(0, limit - kept));
    kept += chunk.length;
  });
  return () => Buffer.concat(parts).toString('utf8');
}

/** Text from a host, safe to print: one line, no control characters, at most 300 characters. */
export const printable = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, 300);

/** Runs a command on the host to its end, with nothing on its standard input; throws `host-unreachable`. */
export async function runRemotely(client: Client, command: string, timeoutMs: number): Promise<RemoteResult> {
  const channel = await openExec(client, command);
  const stdout = collect(channel);
  const stderr = collect(channel.stderr);
  channel.end();
  let code: number | null | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(
        () => reject(unavailable('host-unreachable', `a command on the host took more than ${timeoutMs} ms`)),
        timeoutMs,
      );
      channel.on('error', reject);
      channel.on('exit', (status: number | null) => (code = status));
      channel.on('close', () => resolve());
    });
  } finally {
    clearTimeout(timer);
    channel.destroy();
  }
  if (code === undefined)
    throw unavailable('host-unreachable', 'the connection was lost while a command ran');
  return { code, stdout: stdout(), stderr: stderr() };
}
