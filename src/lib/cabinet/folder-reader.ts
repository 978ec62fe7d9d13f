import type { Cabinet } from './cabinet.ts';
import { corruptCabinet } from './errors.ts';
import type { UnpackedBlock } from './data-blocks.ts';

/** Reads parts of an unpacked folder in ascending order. */
export class FolderReader {
  private readonly blocks: AsyncIterator<UnpackedBlock>;
  readonly name: string;
  private rest: Buffer = Buffer.alloc(0);
  /** The offset of the next byte in the unpacked folder. */
  position = 0;

  constructor(cabinet: Cabinet, blocks: AsyncIterable<UnpackedBlock>, position = 0) {
    this.name = cabinet.source.name;
    this.blocks = blocks[Symbol.asyncIterator]();
    this.position = position;
  }

  /** The next bytes up to `end`; throws `cab-corrupt` if the folder ends before. */
  async *readTo(end: number): AsyncGenerator<Buffer> {
    while (this.position < end) {
      if (this.rest.length === 0) {
        const next = await this.blocks.next();
        if (next.done)
          throw corruptCabinet(this.name, `a folder ends at ${this.position}, a member at ${end}`);
        this.rest = next.value.raw;
      }
      const chunk = this.rest.subarray(0, end - this.position);
      this.rest = this.rest.subarray(chunk.length);
      this.position += chunk.length;
      yield chunk;
    }
  }

  async skipTo(end: number): Promise<void> {
    for await (const _ of this.readTo(end));
  }

  /** All bytes that are left. */
  async *readAll(): AsyncGenerator<Buffer> {
    while (true) {
      if (this.rest.length > 0) yield* this.readTo(this.position + this.rest.length);
      const next = await this.blocks.next();
      if (next.done) return;
      this.rest = next.value.raw;
    }
  }

  /** Stops reading the cabinet. */
  async close(): Promise<void> {
    await this.blocks.return?.();
  }
}
