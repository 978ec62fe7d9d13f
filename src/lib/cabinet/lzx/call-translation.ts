/** The last bytes of a block, in which no call is translated. */
const UNTOUCHED = 10;

/** The number of blocks after which calls are translated no more. */
const MOST_BLOCKS = 32_768;

/**
 * Undoes what the compressor does to x86 programs: it replaces the relative target of each call (E8) by an absolute one, so that
 * calls of one function look alike.
 */
export class CallTranslation {
  /** The byte that a call begins with. */
  static readonly CALL = 0xe8;
  private position = 0;
  private blocks = 0;
  private begun = false;

  /** `size` is that of the program as the stream states it; 0 if nothing is translated. */
  constructor(private readonly size: number) {}

  /** From here on blocks may contain calls. */
  begin(): void {
    this.begun = true;
  }

  /** Translates the next block, in place. */
  translate(block: Buffer): Buffer {
    const start = this.position;
    this.position += block.length;
    this.blocks += 1;
    if (this.size === 0 || !this.begun || this.blocks > MOST_BLOCKS) return block;
    for (let at = 0; at < block.length - UNTOUCHED; at += 1) {
      if (block[at] !== CallTranslation.CALL) continue;
      const absolute = block.readInt32LE(at + 1);
      const position = start + at;
      if (absolute >= -position && absolute < this.size)
        block.writeInt32LE((absolute >= 0 ? absolute - position : absolute + this.size) | 0, at + 1);
      at += 4;
    }
    return block;
  }
}
