/** What all of a process's borrowers have together, in bytes; only what was ever written to is real memory. */
const SIZE = 96 * 1024 * 1024;

let arena: SharedArrayBuffer | undefined;
let used = 0;
let borrowers = 0;

/**
 * Memory that every thread can read. It is the same again and again, and never given back: what threads
 * share is garbage only once each of them has collected its own, and those that rest do not.
 */
export class SharedMemory {
  private borrowing = false;

  /** So many bytes with anything in them, until `release`; null where there is no room. */
  take(size: number): Buffer | null {
    if (used + size > SIZE) return null;
    if (!this.borrowing) borrowers += 1;
    this.borrowing = true;
    arena ??= new SharedArrayBuffer(SIZE);
    const taken = Buffer.from(arena, used, size);
    used += size;
    return taken;
  }

  /** Gives all of it back; nobody may read or write it any more. */
  release(): void {
    if (!this.borrowing) return;
    this.borrowing = false;
    borrowers -= 1;
    if (borrowers === 0) used = 0;
  }
}
