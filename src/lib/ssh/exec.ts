import type { Client, ClientChannel } from 'ssh2';
import { unavailable } from '../errors.ts';
import { withDeadline } from '../concurrency/deadline.ts';

/** The result of a command on the host. */
export interface RemoteResult {
  /** Exit status; null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The most that is kept of each output, in bytes; the rest is read and dropped. */
const OUTPUT_LIMIT = 64 * 1024;

/**
 * Starts a command on the host and passes its channel (standard input and output) to `use`, synchronously: a
 * short command's output, status and end can come in one packet, and events without a listener are lost.
 */
export function openExec<T>(client: Client, command: string, use: (channel: ClientChannel) => T): Promise<T> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error) reject(error);
      else resolve(use(channel));
    });
  });
}

/** Reads a stream to its end and keeps the beginning of its text, which the returned function gives. */
export function captureText(stream: NodeJS.ReadableStream, limit = OUTPUT_LIMIT): () => string {
  const parts: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    if (size < limit) parts.push(chunk.subarray(0, limit - size));
    size += chunk.length;
  });
  return () => Buffer.concat(parts).toString('utf8');
}

/** Waits for a command to end; rejects if the connection ends first. */
function resultOf(client: Client, channel: ClientChannel): Promise<RemoteResult> {
  const stdout = captureText(channel);
  const stderr = captureText(channel.stderr);
  return new Promise((resolve, reject) => {
    let code: number | null | undefined;
    const end = (): void => {
      client.removeListener('close', end); // ssh2 does not close the channels of a connection that broke.
      if (code !== undefined) resolve({ code, stdout: stdout(), stderr: stderr() });
      else reject(unavailable('connection-lost', 'the connection was lost while a command ran'));
    };
    client.once('close', end);
    channel.on('error', reject);
    channel.on('exit', (status: number | null) => (code = status));
    channel.on('close', end);
    channel.end();
  });
}

/**
 * Runs a command on the host with an empty standard input, and waits for its end. Throws `command-timeout`,
 * `connection-lost` (unavailable).
 */
export async function runRemotely(client: Client, command: string, timeoutMs: number): Promise<RemoteResult> {
  let channel: ClientChannel | undefined;
  const run = openExec(client, command, (opened) => {
    channel = opened;
    return { result: resultOf(client, opened) };
  });
  try {
    return await withDeadline(
      run.then(({ result }) => result),
      timeoutMs,
      () => {
        throw unavailable('command-timeout', `a command on the host took more than ${timeoutMs} ms`);
      },
    );
  } finally {
    channel?.destroy();
  }
}
