/** Keeps requests to one authority apart, by the monotonic clock: some public ones ask for 15 seconds. */
export class Pace {
  private next = 0;

  constructor(private readonly everyMs: number) {}

  /** How long no request may be sent yet, in ms. */
  wait(now: number): number {
    return Math.max(0, this.next - now);
  }

  /** Notes that a request is sent now. */
  begin(now: number): void {
    this.next = now + this.everyMs;
  }
}
