import type { FileHandle } from 'node:fs/promises';

/** Writes all bytes at an offset: a single system call may write fewer. */
export async function writeFully(file: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
}

/** Fills the buffer with the bytes from an offset on; false if the file ends before. */
export async function readFully(file: FileHandle, target: Buffer, offset: number): Promise<boolean> {
  for (let done = 0; done < target.length;) {
    const { bytesRead } = await file.read(target, done, target.length - done, offset + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

/**
 * Only for memory: copies the parts into a buffer that is not part of Node's pool. Small buffers are slices of pools of
 * 8 KiB, which stay as long as any slice: keeping some bytes of thousands of programs would keep several times as many.
 */
export function unpooled(...parts: readonly Buffer[]): Buffer {
  const result = Buffer.allocUnsafeSlow(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) at += part.copy(result, at);
  return result;
}
