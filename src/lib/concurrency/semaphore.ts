/** Limits how many tasks work at the same time: first come, first served. */
export class Semaphore {
  private readonly waiting: (() => void)[] = [];
  private working = 0;

  constructor(private most: number) {}

  get limit(): number {
    return this.most;
  }

  /** Lowering the limit does not interrupt tasks that work already. */
  set limit(most: number) {
    this.most = most;
    this.admit();
  }

  /** Runs a task as soon as there is a place for it. */
  async run<T>(task: () => T | Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await task();
    } finally {
      this.release();
    }
  }

  /** For use within `run`: gives up the place during `wait`, and waits for a place again afterwards. */
  async releaseDuring<T>(wait: () => Promise<T>): Promise<T> {
    this.release();
    try {
      return await wait();
    } finally {
      await this.acquire();
    }
  }

  private async acquire(): Promise<void> {
    if (this.working < this.most) this.working += 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  private release(): void {
    this.working -= 1;
    this.admit();
  }

  private admit(): void {
    while (this.working < this.most) {
      const next = this.waiting.shift();
      if (!next) return;
      this.working += 1;
      next();
    }
  }
}
