import { readCertificates } from '../../../engine/keys/certificate-file.ts';
import type { KeySettings } from '../../../engine/keys/open.ts';
import {
  isUsable,
  KeyUnavailable,
  requireUsable,
  type SigningKey,
} from '../../../engine/keys/signing-key.ts';
import { SignpipeError, usage } from '../../../lib/errors.ts';
import type { CertificateFinding } from '../../../lib/x509/certificate-findings.ts';
import { successorFindings } from '../../../lib/x509/successor-findings.ts';
import type { SigningConfig } from '../../config/channel-sections.ts';
import type { ChannelKey } from './channel-key.ts';
import { KeyOpener } from './key-opener.ts';

/** The pause between two attempts to open a key whose time has come, in ms. */
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
  /** Not open if the signer was started after the change: then it is not needed, unless the clock was wrong. */
  private readonly current: KeyOpener;
  private readonly next: KeyOpener;

  private constructor(
    private readonly options: RenewalOptions,
    opened: { readonly current?: ChannelKey; readonly next?: ChannelKey },
    /** The end of the certificate in use, if its key could not be opened. */
    private readonly pastEnd: Date | null = null,
  ) {
    const { signing, open, clock = () => performance.now() } = options;
    this.current = new KeyOpener(
      { open, clock, settings: signing, onProblem: (problem) => this.reportEarly(problem) },
      opened.current,
    );
    this.next = new KeyOpener(
      {
        open,
        clock,
        settings: signing.successor,
        onOpened: (key) => this.compare(key),
        onProblem: (problem) => this.reportNotYet(problem),
      },
      opened.next,
    );
  }

  /** Opens both keys; after the successor's date only that one. Throws the errors of the key that is to sign now. */
  static async open(options: RenewalOptions, now: Date): Promise<Renewal> {
    const { signing, open } = options;
    if (now >= signing.successor.from) return new Renewal(options, { next: await openNext(options) });
    let current: ChannelKey;
    try {
      current = await open(signing);
    } catch (error) {
      // A token may be put away once its certificate has expired.
      const end = await endOf(signing);
      if (!end || now <= end) throw error;
      return new Renewal(options, { next: await openNext(options) }, end);
    }
    const renewal = new Renewal(options, { current });
    await renewal.next.tryNow();
    return renewal;
  }

  /** From when on the successor signs: its date, or the end of the certificate in use. */
  get changesAt(): Date {
    const { from } = this.options.signing.successor;
    const { key } = this.current.key ?? {};
    const end = key?.shortLived ? null : (key?.certificates[0]?.notAfter ?? this.pastEnd);
    return end && end < from ? end : from;
  }

  /** The successor, if it is open. */
  get successor(): ChannelKey | null {
    return this.next.key;
  }

  /** The key with which to sign now. Opens a key if it is time for another attempt. */
  async keyAt(now: Date): Promise<KeyInUse> {
    const isEarly = now < this.options.signing.successor.from;
    // Only if the clock was ahead when the signer started.
    if (!this.current.key && now < this.changesAt) await this.current.tryEvery(MINUTE);
    const current = this.current.key;
    const isDue = !isEarly || !current || !isUsable(current.key, now);
    if (!this.next.key) await this.next.tryEvery(isDue ? MINUTE : HOUR);
    const next = this.next.key;
    if (isDue && next) return { ...next, keyProblem: null };
    if (!current) throw new Error('a renewal without a key');
    return { ...current, keyProblem: isDue ? this.unusable() : null };
  }

  private reportEarly({ message }: SignpipeError): void {
    this.options.report({
      code: 'successor-early',
      message: `the key before signing.successor cannot be opened: ${message}`,
      hint: 'the successor signs, though its time has not come',
    });
  }

  private reportNotYet({ code, message, hint }: SignpipeError): void {
    const isExplained = hint !== undefined || this.next.needsPerson;
    this.options.report({
      code,
      message: `signing.successor cannot be opened yet: ${message}`,
      hint: isExplained
        ? this.next.hint
        : 'until its time comes, the certificate in use signs; run signpipe doctor',
    });
  }

  private compare({ key }: ChannelKey): void {
    const [current, next] = [this.current.key?.key.certificates[0], key.certificates[0]];
    if (!current || !next) return;
    const unusable = problemAt(key, this.changesAt);
    if (unusable) this.options.report(unusable);
    const { from } = this.options.signing.successor;
    for (const finding of successorFindings({ current, next, from })) this.options.report(finding);
  }

  /** Why the channel cannot sign: an error that makes requests wait. */
  private unusable(): SignpipeError {
    const { channel } = this.options;
    const { problem, hint } = this.next;
    const why = problem ? `${problem.message} [${problem.code}]` : 'it is not open';
    return usage(
      'successor-unusable',
      `channel ${channel}: signing.successor should have taken over at ${this.changesAt.toISOString()}, but cannot be opened: ${why}`,
      { hint, cause: problem },
    );
  }

  async close(): Promise<void> {
    await this.current.close();
    await this.next.close();
  }
}

/** Why a key could sign nothing when it takes over; a certificate that is not valid yet is a gap, which has its own warning. */
function problemAt(key: SigningKey, at: Date): CertificateFinding | null {
  try {
    requireUsable(key, at);
    return null;
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    const { code, message, hint = 'run signpipe doctor' } = error;
    if (code === 'certificate-not-yet-valid') return null;
    return {
      code,
      message: `signing.successor: ${message}; it can sign nothing from ${at.toISOString()} on`,
      hint,
    };
  }
}

/** When the last certificate in the file of a key ends, apart from those of authorities; null if that is not known. */
async function endOf({ certificate }: KeySettings): Promise<Date | null> {
  const all = certificate === undefined ? [] : await readCertificates(certificate).catch(() => []);
  const ends = all.filter(({ isCa }) => !isCa).map(({ notAfter }) => notAfter.getTime());
  return ends.length === 0 ? null : new Date(Math.max(...ends));
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

/** A key problem as the error of a signer that starts, which waits for a successor that cannot be reached. */
export const whenStarting = (problem: SignpipeError): SignpipeError =>
  problem.cause instanceof KeyUnavailable ? problem.cause.saying(problem.message, problem.hint) : problem;
