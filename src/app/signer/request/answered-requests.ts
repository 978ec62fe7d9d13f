import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { jsonOrNull } from '../../../lib/json.ts';
import { commitId } from '../../../protocol/control/commit-id.ts';
import { claimedIdentity, signedIdentity } from '../../../lib/git/commit-signature.ts';
import { COMMIT_LIMIT } from '../../../lib/git/commit-graph.ts';
import { receiptsSince } from '../../../protocol/control/receipt-history.ts';
import type { ControlRepository } from '../../../protocol/control/repository.ts';
import { isInvalid } from '../../../lib/errors.ts';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { sha256Hex } from '../../../lib/bytes/hash.ts';
import { AnsweredIndex, type EarlierAnswer } from '../state/answered-index.ts';

/** Commits that are read at the same time. */
const BATCH = 200;
/** The file is written again after this many new answers, or a hundredth of all if that is more. */
const EVERY = 50;

const headSchema = z.strictObject({
  version: z.literal(1),
  /** The values for which the records were collected. */
  since: commitId.nullable(),
  lost: z.array(commitId),
  receipts: commitId,
  /** SHA-256 of the records that follow. */
  sha256: z.string(),
});

/** Where answers are found besides the receipt branch. */
interface OtherAnswers {
  /** `control.since`: its whole history counts as answered. */
  readonly since: string | undefined;
  /** Tips of the receipt branch whose loss an operator accepted: what was answered there stays answered. */
  readonly lost: readonly string[];
}

/**
 * Which requests were answered, by the identity of what was signed rather than by commit id: see `signedIdentity`. All
 * of it comes from Git: the receipt branch, the history up to `control.since`, and lost receipts that the clone still
 * has. The file in the state folder is only for speed (100,000 receipts: 4 s to read); it is used if it is undamaged
 * and the receipt branch continues where it stopped.
 *
 * Identities are entered as commits claim them, which is fast; an earlier commit's signature is checked when a later
 * commit claims the same identity.
 */
export class AnsweredRequests {
  private index = AnsweredIndex.empty();
  /** The tip of the receipt branch up to which `index` is complete; undefined until it is read. */
  private upTo: string | null | undefined;
  /** Answers that the file lacks; infinite if there is no usable file. */
  private unsaved = Infinity;

  constructor(
    private readonly path: string,
    private readonly repository: ControlRepository,
    private readonly otherAnswers: () => OtherAnswers,
  ) {}

  /**
   * The earlier answer to the signed payload of a request's commit, or null. `receipts` is the head of the receipt
   * branch. An unsigned or wrongly signed commit has no identity, and repeats nothing.
   */
  async find(rawCommit: Buffer, receipts: string | null): Promise<EarlierAnswer | null> {
    const identity = signedIdentity(rawCommit);
    if (identity === null) return null;
    await this.update(receipts);
    const candidate = this.index.get(identity);
    return candidate && (await this.isSigned(candidate.request, identity)) ? candidate : null;
  }

  /** Adds the new receipts of the branch. */
  async update(receipts: string | null): Promise<void> {
    if (this.upTo === undefined) await this.begin(receipts);
    if (receipts !== null && receipts !== this.upTo) await this.addReceipts(receipts, this.upTo ?? null);
    this.upTo = receipts;
  }

  /** Writes the file, if enough answers have come. */
  async save(): Promise<void> {
    if (!this.upTo || this.unsaved < Math.max(EVERY, this.index.size / 100)) return;
    const { since = null, lost } = this.otherAnswers();
    const body = this.index.toBuffer();
    const head = { version: 1, since, lost, receipts: this.upTo, sha256: sha256Hex(body) };
    await writeFileAtomically(this.path, Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]), {
      mode: 0o600,
    });
    this.unsaved = 0;
  }

  private async begin(receipts: string | null): Promise<void> {
    const loaded = receipts === null ? null : await this.load(receipts);
    if (loaded !== null) {
      this.upTo = loaded;
      return;
    }
    const { since, lost } = this.otherAnswers();
    if (receipts !== null) await this.addReceipts(receipts, null);
    for (const tip of lost) if (await this.repository.hasCommit(tip)) await this.addReceipts(tip, receipts);
    if (since !== undefined && (await this.repository.hasCommit(since)))
      await this.add(
        (await this.repository.commitsBetween(since)).map((request) => ({ request, receipt: null })),
      );
    // Set last: if anything above fails, the next call begins again.
    this.upTo = receipts;
  }

  /** Loads the file; returns the tip up to which it is complete, or null if it cannot be used. */
  private async load(receipts: string): Promise<string | null> {
    const bytes = await readFile(this.path).catch(() => Buffer.alloc(0));
    const end = bytes.indexOf('\n') + 1;
    const { data: head } = headSchema.safeParse(jsonOrNull(bytes.toString('utf8', 0, end)));
    const { since = null, lost } = this.otherAnswers();
    if (!head || head.since !== since || head.lost.join() !== lost.join()) return null;
    const body = bytes.subarray(end);
    const index = sha256Hex(body) === head.sha256 ? AnsweredIndex.from(body) : null;
    if (!index || !(await this.repository.isAncestor(head.receipts, receipts))) return null;
    this.index = index;
    this.unsaved = 0;
    return head.receipts;
  }

  private async addReceipts(tip: string, exclude: string | null): Promise<void> {
    const steps = await receiptsSince(this.repository, tip, exclude);
    await this.add(
      steps.flatMap(({ id: receipt, request }) => (request === null ? [] : [{ request, receipt }])),
    );
  }

  private async add(answers: readonly EarlierAnswer[]): Promise<void> {
    for (let at = 0; at < answers.length; at += BATCH) {
      const batch = answers.slice(at, at + BATCH);
      const commits = await Promise.all(batch.map(({ request }) => this.read(request)));
      for (const [i, answer] of batch.entries()) await this.enter(commits[i] ?? null, answer);
    }
    this.unsaved += answers.length;
  }

  /** Enters an answer unless the identity has one whose signature is valid. */
  private async enter(commit: Buffer | null, answer: EarlierAnswer): Promise<void> {
    const identity = commit && claimedIdentity(commit);
    if (identity === null) return;
    const before = this.index.get(identity);
    if (before && (before.request === answer.request || (await this.isSigned(before.request, identity))))
      return;
    this.index.set(identity, answer);
  }

  private async isSigned(request: string, identity: string): Promise<boolean> {
    const commit = await this.read(request);
    return commit !== null && signedIdentity(commit) === identity;
  }

  /** A commit that cannot be read has no identity. */
  private async read(commit: string): Promise<Buffer | null> {
    try {
      return await this.repository.readObject(commit, 'commit', COMMIT_LIMIT);
    } catch (error) {
      if (isInvalid(error)) return null;
      throw error;
    }
  }
}
