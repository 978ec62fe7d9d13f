import { isKeyUri } from '../../../engine/keys/key-uri.ts';
import type { KeySettings } from '../../../engine/keys/open.ts';
import { isUsable } from '../../../engine/keys/signing-key.ts';
import { messageOf, SignpipeError, usage } from '../../../lib/errors.ts';
import type { CertificateFinding } from '../../../lib/x509/certificate-findings.ts';
import { successorFindings } from '../../../lib/x509/successor-findings.ts';
import type { SigningConfig } from '../../config/signer.ts';
import type { ChannelKey } from './channel-key.ts';

/** The pause between two attempts to open a successor whose time has come, in ms. */
const MINUTE = 60_000;
/** The pause before that: there is time. In ms. */
const HOUR = 3_600_000;

/** The key with which a channel signs at some time. */
interface KeyInUse extends ChannelKey {
  /** Why it must not sign: the time of its successor has come, which cannot be opened. */
  readonly keyProblem: SignpipeError | null;
}

interface RenewalOptions {
  /** The channel's name, for messages. */
  readonly channel: string;
  readonly signing: SigningConfig & { readonly successor: NonNullable<SigningConfig['successor']> };
  readonly open: (settings: KeySettings) => Promise<ChannelKey>;
  /** Reports a successor that cannot be opened yet, and once it can, what its operator should know about the change. */
  readonly report: (finding: CertificateFinding) => void;
  /** A monotonic clock, in ms, for the pauses between attempts. */
  readonly clock?: () => number;
}

/**
 * The key of a channel and its successor (`signing.successor`). The successor signs from its date on, or from when the
 * certificate in use is no longer valid, whichever comes first. Which of them signs depends on the time alone, so a clock
 * that was wrong for a while has no effect afterwards.
 *
 * A successor that cannot be opened is a warning until then, and is tried again: its token may not have come yet. A token
 * that refused a PIN is not tried again.
 */
export class Renewal {
  /** When an attempt to open the successor ended, on the monotonic clock, in ms. */
  private triedAt = 0;
  private problem: SignpipeError | null = null;
  private triedCurrent = false;

  private constructor(
    private readonly options: RenewalOptions,
    /** Null if the signer was started after the change: then it is not needed, unless the clock was wrong. */
    private current: ChannelKey | null,
    private next: ChannelKey | null = null,
  ) {}

  private clock(): number {
    return (this.options.clock ?? (() => performance.now()))();
  }

  /** Opens both keys; after the successor's date only that one. Throws usage errors if no key can sign now. */
  static async open(options: RenewalOptions, now: Date): Promise<Renewal> {
    const { signing, open } = options;
    if (now >= signing.successor.from) return new Renewal(options, null, await openNext(options));
    const renewal = new Renewal(options, await open(signing));
    await renewal.tryToOpen();
    return renewal;
  }

  /** From when on the successor signs: its date, or the end of the certificate in use. */
  get changesAt(): Date {
    const { from } = this.options.signing.successor;
    const end = this.current?.key.shortLived ? undefined : this.current?.key.certificates[0]?.notAfter;
    return end && end < from ? end : from;
  }

  /** The successor, if it is open. */
  get successor(): ChannelKey | null {
    return this.next;
  }

  /** The key with which to sign now. Opens the successor if it is time for another attempt. */
  async keyAt(now: Date): Promise<KeyInUse> {
    const current = await this.currentAt(now);
    const isDue = !current || now >= this.options.signing.successor.from || !isUsable(current.key, now);
    if (!this.next && this.clock() - this.triedAt >= (isDue ? MINUTE : HOUR)) await this.tryToOpen();
    const { next } = this;
    if (isDue && next) return { ...next, keyProblem: null };
    if (!current) throw new Error('a renewal without a key');
    return { ...current, keyProblem: isDue ? this.unusable() : null };
  }

  /** The key before the successor. Opened now, in one attempt, if the clock was ahead when the signer started. */
  private async currentAt(now: Date): Promise<ChannelKey | null> {
    const { signing, open, report } = this.options;
    if (this.current || this.triedCurrent || now >= signing.successor.from) return this.current;
    this.triedCurrent = true;
    this.current = await open(signing).catch((error: unknown) => {
      const message = `the key before signing.successor cannot be opened: ${messageOf(error)}`;
      report({
        code: 'successor-early',
        message,
        hint: 'the successor signs, though its time has not come',
      });
      return null;
    });
    return this.current;
  }

  private async tryToOpen(): Promise<void> {
    const { signing, open } = this.options;
    if (this.problem && !mayPass(this.problem, signing.successor)) return;
    try {
      this.next = await open(signing.successor);
      this.problem = null;
      this.compare(this.next);
    } catch (error) {
      const problem =
        error instanceof SignpipeError
          ? error
          : usage('successor-unusable', messageOf(error), { cause: error });
      this.reportProblem(problem);
      this.problem = problem;
    }
    this.triedAt = this.clock();
  }

  /** Reports each problem once. */
  private reportProblem({ code, message, hint }: SignpipeError): void {
    if (message === this.problem?.message) return;
    this.options.report({
      code,
      message: `signing.successor cannot be opened yet: ${message}`,
      hint: hint ?? 'until its time comes, the certificate in use signs; run signpipe doctor',
    });
  }

  private compare({ key }: ChannelKey): void {
    const [current, next] = [this.current?.key.certificates[0], key.certificates[0]];
    if (!current || !next) return;
    const { from } = this.options.signing.successor;
    for (const finding of successorFindings({ current, next, from })) this.options.report(finding);
  }

  /** Why the channel cannot sign: an error that makes requests wait. */
  private unusable(): SignpipeError {
    const { channel } = this.options;
    const why = this.problem ? `${this.problem.message} [${this.problem.code}]` : 'it is not open';
    return usage(
      'successor-unusable',
      `channel ${channel}: signing.successor takes over since ${this.changesAt.toISOString()}, but cannot be opened: ${why}`,
      { hint: this.hint, cause: this.problem },
    );
  }

  private get hint(): string {
    const { problem } = this;
    const todo = problem?.hint ?? 'run signpipe doctor';
    return problem && !mayPass(problem, this.options.signing.successor)
      ? `${todo}; then restart the signer`
      : todo;
  }

  async close(): Promise<void> {
    await this.current?.key.close();
    await this.next?.key.close();
  }
}

/** Opens the successor when its time has come; its errors are those of the channel. */
async function openNext({ signing, open }: RenewalOptions): Promise<ChannelKey> {
  try {
    return await open(signing.successor);
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    throw error.saying(`signing.successor: ${error.message}`, error.hint);
  }
}

/** Whether another attempt can help. A token that was refused a PIN must not be tried again without a person. */
const mayPass = (problem: SignpipeError, { key }: KeySettings): boolean =>
  problem.retryable || key === undefined || !isKeyUri(key);
