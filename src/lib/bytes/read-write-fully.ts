import type { FileHandle } from 'node:fs/promises';

/** Writes all of the bytes at an offset: one write of the system may take fewer. */
export async function writeFully(file: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
}

/** Fills all of the memory from an offset; false when the file ends before. */
export async function readFully(file: FileHandle, target: Buffer, offset: number): Promise<boolean> {
  for (let done = 0; done < target.length;) {
    const { bytesRead } = await file.read(target, done, target.length - done, offset + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

/**
 * A copy in memory of its own. Small buffers are slices of a pool, 8 KiB each, which stays as long as any slice of
 * it: what is kept for each of thousands of programs would keep several times its size.
 */
export function unpooled(...parts: readonly Buffer[]): Buffer {
  const result = Buffer.allocUnsafeSlow(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) at += part.copy(result, at);
  return result;
}
