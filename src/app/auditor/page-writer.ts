import { SignpipeError } from '../../lib/errors.ts';
import type { OpenRepository } from '../../protocol/control/with-repository.ts';
import { AuditMemory } from './audit-memory.ts';
import type { AuditSigners } from './audit-signers.ts';
import { readAudit } from './audit-repository.ts';
import type { Audit, PageState, PageTrouble, SignersHealth } from './model.ts';
import { readSignersHealth } from './signers-health.ts';

export interface PageWriterOptions {
  readonly open: OpenRepository;
  /** Requests in the history of this commit need no answer. */
  readonly after?: string;
  /** Reads the lists of keys: they may change while the writer runs. */
  readonly loadSigners: () => Promise<AuditSigners>;
  /** Writes the page. */
  readonly write: (audit: Audit, at: Date, page: PageState) => Promise<void>;
  /** Milliseconds between two rounds. */
  readonly every: number;
}

/**
 * A page is written again after this time even if nothing has changed, in ms, so that its readers see that its writer runs.
 */
const QUIET_MS = 5 * 60_000;

/** What a round did. */
export interface Round {
  readonly written: boolean;
  readonly audit: Audit;
  readonly trouble: PageTrouble | null;
}

/** What the last page was written from. */
interface Last {
  readonly audit: Audit;
  readonly auditedAt: number;
  /** The heads and lists that the audit was made from. */
  readonly source: string;
  readonly health: SignersHealth;
}

interface Written {
  readonly content: string;
  readonly at: number;
}

/** Some of what an audit shows depends on the time, such as requests that are dated ahead. */
const AUDIT_MS = 60 * 60_000;

/**
 * Keeps a page up to date. Each round fetches, audits what is new, and writes the page if something has changed. While the
 * Git host is down, or the repository cannot be audited, the page keeps what was seen last, and says so.
 */
export class PageWriter {
  private readonly memory = new AuditMemory();
  private last: Last | null = null;
  private written: Written | null = null;
  private trouble: PageTrouble | null = null;

  constructor(private readonly options: PageWriterOptions) {}

  /** Throws only if there is nothing yet that a page could show, or if the page cannot be written. */
  async round(signal: AbortSignal, now = new Date()): Promise<Round> {
    const error = await this.read(signal, now);
    const { last } = this;
    if (!last) throw error ?? new Error('nothing was audited');
    this.trouble = error === null ? null : this.troubleOf(error, now);
    const { trouble } = this;
    const content = JSON.stringify([last.source, last.auditedAt, last.health, trouble]);
    const isDue = this.written?.content !== content || now.getTime() - this.written.at >= QUIET_MS;
    if (isDue) await this.write(last, content, now);
    return { written: isDue, audit: last.audit, trouble };
  }

  /** Brings audit and heartbeats up to date; returns the error that prevented it. */
  private async read(signal: AbortSignal, now: Date): Promise<SignpipeError | null> {
    try {
      const failure = await this.fetch(signal);
      this.last = await this.audit(now);
      return failure;
    } catch (error) {
      if (error instanceof SignpipeError) return error;
      throw error;
    }
  }

  /** Fetches. A host that is down does not keep an earlier clone from being read. */
  private async fetch(signal: AbortSignal): Promise<SignpipeError | null> {
    const { open } = this.options;
    try {
      await open.refreshHeartbeats();
      await open.refresh(signal);
      return null;
    } catch (error) {
      if (!(error instanceof SignpipeError)) throw error;
      const { requests, receipts } = await open.repository.heads();
      if (requests === null && receipts === null) throw error;
      return error;
    }
  }

  private async audit(now: Date): Promise<Last> {
    const { open, loadSigners } = this.options;
    const { repository } = open;
    const signers = await loadSigners();
    const heads = await repository.heads();
    const source = JSON.stringify([
      { ...heads, vouches: [...heads.vouches] },
      signers.allowed.text,
      signers.receiptSigners?.text,
    ]);
    const { last } = this;
    const age = last ? now.getTime() - last.auditedAt : Infinity;
    const isKept = last?.source === source && age >= 0 && age < AUDIT_MS;
    const audit = isKept ? last.audit : await this.readAudit(signers, now);
    const health = await readSignersHealth(repository, signers, audit, now);
    return { audit, auditedAt: isKept ? last.auditedAt : now.getTime(), source, health };
  }

  private async readAudit(signers: AuditSigners, now: Date): Promise<Audit> {
    const { open, after } = this.options;
    const { repository } = open;
    const begin = after === undefined ? {} : { after: await repository.resolveCommit(after) };
    return readAudit(repository, { ...signers, ...begin, now, memory: this.memory });
  }

  /** An error that lasts keeps the time when it began. */
  private troubleOf({ code, message }: SignpipeError, now: Date): PageTrouble {
    const since = this.trouble?.code === code ? this.trouble.since : now.toISOString();
    return { since, code, message: this.trouble?.code === code ? this.trouble.message : message };
  }

  private async write({ audit, health }: Last, content: string, now: Date): Promise<void> {
    const { every, write } = this.options;
    const next = new Date(now.getTime() + Math.max(QUIET_MS, every) + every).toISOString();
    await write(audit, now, { next, every: every / 1000, trouble: this.trouble, health });
    this.written = { content, at: now.getTime() };
  }
}
