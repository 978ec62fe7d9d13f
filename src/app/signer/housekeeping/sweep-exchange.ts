import { posix } from 'node:path';
import { withProgressBar } from '../../../lib/progress.ts';
import { isInvalid } from '../../../lib/errors.ts';
import { readReceipt } from '../../../protocol/control/receipt.ts';
import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import { readRequest } from '../../../protocol/control/request.ts';
import type { ListedEntry } from '../../../protocol/exchange/exchange.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { listBelow } from './exchange-files.ts';
import { filesOf, type ReceiptedFile } from './receipted-files.ts';

/** How many receipts are read, and how many files are removed, in one step and in one sweep. */
const LIMITS = { receiptsPerStep: 50, receipts: 200_000, removals: 1000 };

/** A file may seem to be younger than its receipt by this, in ms: two clocks differ. */
const CLOCK_TOLERANCE_MS = 600_000;
/** After this, in ms, the temporary files of transfers are left over. */
const LEFTOVER_AFTER = 86_400_000;
/** Temporary files of transfers, which end in random digits. */
const LEFTOVER = /(?:^|\/)\.[^/]+\.[0-9a-f]{12}\.(?:part|old)$/;
/** A folder that is named after a request. */
const REQUEST_FOLDER = /(?:^|\/)[0-9a-f]{40}$/;

type Context = Pick<SignerContext, 'config' | 'repository' | 'exchange' | 'log' | 'now' | 'progress'>;

/** The receipts, newest first; those that cannot be read are left out. */
async function* receipts({ repository }: Context): AsyncGenerator<Receipt> {
  const { receipts: tip } = await repository.heads();
  if (tip === null) return;
  const commits = await repository.firstParents(tip);
  for (const { id, parents } of commits.slice(0, LIMITS.receipts)) {
    if (parents.length !== 2) continue;
    try {
      yield (await readReceipt(repository, id)).receipt;
    } catch (error) {
      if (!isInvalid(error)) throw error;
    }
  }
}

/** One removal of what is too old on the exchange. */
class Sweep {
  private removed = 0;
  /** Paths that a newer receipt is about. */
  private readonly decided = new Set<string>();
  /** The time from which ages are counted; null before the newest signed receipt is known. */
  private reference: number | null = null;
  /** The paths that a request names, in the incoming folder, by its id. */
  private readonly named = new Map<string, readonly string[]>();
  /** Whether there are requests that the last poll did not see. */
  private isOutdated = false;
  /** What was written last on the exchange, by its own clock, or now if that is earlier. */
  private readonly newest: number;

  constructor(
    private readonly context: Context,
    private readonly listed: ReadonlyMap<string, ListedEntry>,
    private readonly unanswered: () => readonly string[],
  ) {
    this.newest = [...listed.values()].reduce(
      (newest, { modified }) => Math.max(newest, modified.getTime()),
      0,
    );
    this.newest = Math.min(this.newest, context.now().getTime());
  }

  /** A poll has seen all requests that there are. */
  polled(): void {
    this.isOutdated = false;
  }

  get isDone(): boolean {
    return this.removed >= LIMITS.removals || this.decided.size >= this.listed.size;
  }

  /** Removes the files of a receipt that are too old; receipts come newest first. Returns whether it removed one. */
  async consider(receipt: Receipt): Promise<boolean> {
    const before = this.removed;
    // A clock that is set far ahead must not make everything old: ages are counted up to the newest signed receipt.
    if (receipt.outcome === 'signed')
      this.reference ??= Math.min(this.context.now().getTime(), Date.parse(receipt.times.answered));
    const files = filesOf(receipt, this.context.config.exchange);
    for (const file of files) if (!this.decided.has(file.path)) await this.removeIfOld(file);
    for (const { path } of files) if (this.listed.has(path)) this.decided.add(path);
    return this.removed > before;
  }

  private isOld({ folder, answered, size, sha256 }: ReceiptedFile, entry: ListedEntry): boolean {
    const age = this.context.config.housekeeping[folder];
    if (age === null || this.reference === null) return false;
    // A request that was refused unseen says nothing of a file but its name, which any stranger can write.
    if (size === undefined && sha256 === undefined) return false;
    const latest = this.reference - age;
    const isOfReceipt =
      entry.modified.getTime() <= answered.getTime() + CLOCK_TOLERANCE_MS &&
      (size === undefined || size === entry.size);
    return isOfReceipt && answered.getTime() < latest && entry.modified.getTime() < latest;
  }

  private async removeIfOld(file: ReceiptedFile): Promise<void> {
    const entry = this.listed.get(file.path);
    if (!entry || !this.isOld(file, entry) || this.removed >= LIMITS.removals) return;
    for (const id of this.unanswered()) if ((await this.namedBy(id)).includes(file.path)) return;
    if (!(await this.isUpToDate())) return;
    await this.remove(file.path, { ...entry, sha256: file.sha256 });
  }

  /** Whether the last poll saw all requests that the host has now; if not, nothing is removed until the next poll. */
  private async isUpToDate(): Promise<boolean> {
    if (this.isOutdated) return false;
    const { repository } = this.context;
    const { requests } = await repository.heads();
    this.isOutdated = (await repository.fetch()).requests !== requests;
    return !this.isOutdated;
  }

  private async namedBy(id: string): Promise<readonly string[]> {
    const { repository, config } = this.context;
    const known = this.named.get(id);
    if (known) return known;
    const { files } = await readRequest(repository, id);
    const paths = files.map(({ name }) => posix.join(config.exchange.incoming, name));
    this.named.set(id, paths);
    return paths;
  }

  /** Whether it is of a transfer that was never finished; a transfer under way is among the newest of the exchange. */
  isLeftOver({ modified }: ListedEntry): boolean {
    return modified.getTime() < this.newest - LEFTOVER_AFTER;
  }

  /** Removes a file of a transfer that was never finished. */
  async removeLeftover(path: string, entry: ListedEntry): Promise<void> {
    if (this.isLeftOver(entry) && this.removed < LIMITS.removals) await this.remove(path, entry);
  }

  private async remove(
    path: string,
    expected: ListedEntry & { readonly sha256?: string | undefined },
  ): Promise<void> {
    const { exchange, log, progress } = this.context;
    const { size, modified, sha256 } = expected;
    const isRemoved = await withProgressBar(
      progress,
      `look at ${posix.basename(path)}`,
      'bytes',
      (onProgress) => exchange.removeFile(path, { size, modified, sha256 }, onProgress),
    );
    if (!isRemoved) return;
    this.removed += 1;
    log.info({ file: path, bytes: size }, `removed ${path} from the exchange`);
  }
}

/**
 * Removes what is too old on the exchange: files that a receipt is about, if their age, size and digest are those of the
 * receipt and no request without an answer names them; and what transfers left over. Each step takes a short time: the caller
 * polls in between. `unanswered` returns the requests that have no answer then.
 */
export async function* sweepExchange(
  context: Context,
  unanswered: () => readonly string[],
): AsyncGenerator<void, void, void> {
  const { exchange, config, log } = context;
  const { incoming, outgoing } = config.exchange;
  const roots = [...new Set([incoming, outgoing])];
  const listed = new Map<string, ListedEntry>();
  const folders = new Map<string, ListedEntry>();
  for (const root of roots) {
    const found = await listBelow(exchange, root);
    if (found === null) {
      const hint = 'use sftp:// in exchange.url, or delete old files on the host';
      log.warn({ code: 'housekeeping-unsupported', hint }, 'scp:// lists no folders: nothing is removed');
      return;
    }
    for (const [path, entry] of found.files) listed.set(path, entry);
    for (const [path, entry] of found.folders) if (REQUEST_FOLDER.test(path)) folders.set(path, entry);
    yield;
  }
  const sweep = new Sweep(context, listed, unanswered);
  for (const [path, entry] of listed) if (LEFTOVER.test(path)) await sweep.removeLeftover(path, entry);
  let read = 0;
  for await (const receipt of receipts(context)) {
    if (sweep.isDone) break;
    read += 1;
    if ((await sweep.consider(receipt)) || read % LIMITS.receiptsPerStep === 0) {
      yield;
      sweep.polled();
    }
  }
  // Only empty folders can be removed; deeper ones first.
  for (const [path, entry] of [...folders].reverse())
    if (sweep.isLeftOver(entry) && (await exchange.removeFolder(path))) yield;
}
