import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { expiryOf, isCovered } from '../../../lib/x509/expiry.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { readStateFile } from '../state/state-file.ts';
import type { Channel } from './channel.ts';

const schema = z.strictObject({
  version: z.literal(1),
  /** The threshold, in days, of the last warning about a certificate, by its SHA-256. */
  warned: z.record(z.string(), z.number()),
});

/** A certificate whose end matters to a channel. */
interface Watched {
  readonly channel: string;
  readonly role: 'certificate in use' | 'certificate of signing.successor';
  readonly certificate: Certificate;
}

/** The certificate in use, unless the successor covers its end, and the successor's. */
function certificatesOf(channel: string, { key, renewal }: Channel): Watched[] {
  const inUse = key.shortLived ? undefined : key.certificates[0];
  const successor = renewal?.successor?.key;
  const next = successor === key ? undefined : successor?.certificates[0];
  const covered = inUse && next && renewal && isCovered({ current: inUse, next, from: renewal.changesAt });
  return [
    ...(inUse && !covered ? [{ channel, role: 'certificate in use', certificate: inUse } as const] : []),
    ...(next && !successor?.shortLived
      ? [{ channel, role: 'certificate of signing.successor', certificate: next } as const]
      : []),
  ];
}

/** Is informed of each warning. */
type OnWarning = (channel: string, code: string, message: string) => void;

/**
 * Warns in the log 60, 30, 14 and 7 days before a signing certificate expires, and when it has expired: once for each, on
 * disk, so that neither a restart nor `watch --once` each minute repeats it.
 */
export class ExpiryWarnings {
  private constructor(
    private readonly file: string,
    private readonly log: Logger,
    private warned: ReadonlyMap<string, number>,
    private readonly onWarning: OnWarning,
  ) {}

  /** Reads `expiry-warnings.json` in the state folder. A missing or damaged file counts as empty. */
  static async open(state: string, log: Logger, onWarning: OnWarning = () => {}): Promise<ExpiryWarnings> {
    const file = join(state, 'expiry-warnings.json');
    const { warned = {} } = (await readStateFile(file, schema)) ?? {};
    return new ExpiryWarnings(file, log, new Map(Object.entries(warned)), onWarning);
  }

  /** Warns about the certificates that have come closer to their end than at the last call. */
  async check(channels: ReadonlyMap<string, Channel>, now: Date): Promise<void> {
    const watched = [...channels].flatMap(([name, channel]) => certificatesOf(name, channel));
    const warned = new Map<string, number>();
    for (const each of watched) {
      const { sha256 } = each.certificate;
      const { threshold } = expiryOf(each.certificate, now);
      if (threshold === null) continue;
      if (threshold < (this.warned.get(sha256) ?? Infinity)) this.warn(each, now);
      // Also a higher one than before, after the clock was set back.
      warned.set(sha256, threshold);
    }
    await this.save(warned);
  }

  private warn({ channel, role, certificate }: Watched, now: Date): void {
    const { days, threshold, text } = expiryOf(certificate, now);
    const { sha256, notAfter } = certificate;
    const fields = { days, threshold, certificate: sha256, notAfter };
    const code = threshold === 0 ? 'certificate-expired' : 'certificate-expires-soon';
    const message = `channel ${channel}: the ${role} ${threshold === 0 ? '' : 'is '}${text}`;
    this.log[threshold === 0 ? 'error' : 'warn']({ channel, code, ...fields }, message);
    this.onWarning(channel, code, message);
  }

  private async save(warned: ReadonlyMap<string, number>): Promise<void> {
    const isSame =
      warned.size === this.warned.size && [...warned].every(([name, days]) => this.warned.get(name) === days);
    if (isSame) return;
    this.warned = warned;
    const state = { version: 1, warned: Object.fromEntries(warned) };
    await writeFileAtomically(this.file, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  }
}
