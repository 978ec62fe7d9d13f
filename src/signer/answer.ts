import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { verifyCommitSignature } from '../control/commit-signature.ts';
import { AllowedSigners } from '../control/allowed-signers.ts';
import { shortId } from '../control/objects.ts';
import { appendReceipt, openReceipts, readReceipt, receiptsSince, type Receipt } from '../control/receipt.ts';
import type { Heads } from '../control/repository.ts';
import type { Request } from '../control/request.ts';
import type { Vouch } from '../control/vouch.ts';
import { SignpipeError, unavailable } from '../errors.ts';
import { requireUsable } from '../keys/signing-key.ts';
import { VERSION } from '../version.ts';
import type { Channel } from './channel.ts';
import { gateFor } from './gate.ts';
import type { JournaledOutput, JournalRecord } from './journal.ts';
import { channelOf, judge, type Requester } from './policy.ts';
import { deliverFiles, fetchFiles, signatureFile, signFiles } from './sign-request.ts';
import type { Site } from './site.ts';

/** What became of a request at this poll. */
export type Answer =
  | { readonly state: 'answered'; readonly receipt: Receipt; readonly commit: string }
  | { readonly state: 'waiting'; readonly why: string };

const folderOf = (site: Site, request: string): string => join(site.work, request);

/** Faults of the request or of the world around it are answered; faults of this signer are not the request's. */
function isAnswerable(error: unknown): error is SignpipeError {
  return error instanceof SignpipeError && !['usage', 'alarm', 'timeout'].includes(error.kind);
}

interface Draft {
  readonly request: Request;
  readonly requester: Requester;
  readonly channel: Channel | null;
  readonly vouches: readonly Vouch[];
  readonly times: Receipt['times'];
}

function receiptOf(draft: Draft, outcome: Receipt['outcome'], more: Partial<Receipt>): Receipt {
  const { request, requester, channel, vouches, times } = draft;
  return {
    version: 1,
    signpipe: VERSION,
    request: {
      id: request.id,
      signer: requester.principal,
      key: requester.key,
      requestedAt: times.requested,
      ...(request.sourceRevision === undefined ? {} : { sourceRevision: request.sourceRevision }),
      channel: request.channel,
    },
    outcome,
    test: channel?.test ?? false,
    vouches: vouches.map(({ name, signer, fingerprint, commit }) => ({
      name,
      signer,
      key: fingerprint,
      commit,
    })),
    files: [],
    times,
    ...more,
  };
}

function refusalOf(draft: Draft, error: SignpipeError): Receipt {
  const outcome = error.kind === 'invalid' || error.kind === 'not-allowed' ? 'rejected' : 'failed';
  const reason = {
    code: error.code,
    message: error.message.slice(0, 4000),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  };
  const files = draft.request.files.map(({ name, sha256 }) => ({
    input: { name, ...(sha256 === undefined ? {} : { sha256 }) },
    entries: 0,
    signed: [],
    kept: [],
  }));
  return receiptOf(draft, outcome, { reason, files });
}

function certificateOf(channel: Channel): NonNullable<Receipt['certificate']> {
  const [leaf] = channel.key.certificates;
  if (!leaf)
    throw new SignpipeError('local', 'key-without-certificate', 'the signing key has no certificate');
  const { subject, issuer, serial, sha256, notBefore, notAfter } = leaf;
  return {
    subject,
    issuer,
    serial,
    sha256,
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
  };
}

/** Carries requests, one at a time, from the commit to the pushed receipt; takes up what a crash left. */
export class Answerer {
  constructor(private readonly site: Site) {}

  /** Answers one request, or says what it waits for. Throws only what is no fault of the request. */
  async answer(request: Request, heads: Heads, seen: Date): Promise<Answer> {
    const { site } = this;
    let draft: Draft = {
      request,
      requester: { principal: null, key: null },
      channel: null,
      vouches: [],
      times: {
        requested: request.committedAt.toISOString(),
        seen: seen.toISOString(),
        answered: seen.toISOString(),
      },
    };
    try {
      const channel = channelOf(request, site.channels);
      draft = { ...draft, channel };
      const requester = judge(request, channel, site.now());
      draft = { ...draft, requester };
      const gate = await gateFor(site, channel, request, requester, heads, seen);
      if (!gate.open) return { state: 'waiting', why: gate.why };
      draft = { ...draft, vouches: gate.vouches };
      return await this.sign(draft, channel);
    } catch (error) {
      if (!isAnswerable(error)) throw error;
      site.log.warn({ request: request.id, code: error.code, hint: error.hint }, `refused: ${error.message}`);
      return this.conclude(refusalOf(draft, error), []);
    }
  }

  /** Finishes what a crash left in hand; false when there was nothing, or it must begin again. */
  async resume(): Promise<boolean> {
    const record = await this.site.journal.read();
    if (!record) return false;
    this.site.log.info(
      { request: record.request, stage: record.stage },
      `taking up request ${shortId(record.request)}, left at "${record.stage}"`,
    );
    if (record.stage === 'begun' || !record.receipt) {
      await this.clear(record.request);
      return false;
    }
    if (record.stage === 'signed') await this.deliver(record.receipt, record.outputs);
    else await this.pushReceipt(record.receipt);
    return true;
  }

  private async sign(draft: Draft, channel: Channel): Promise<Answer> {
    const { site } = this;
    const { request } = draft;
    requireUsable(channel.key, site.now());
    const folder = folderOf(site, request.id);
    await site.journal.write({ version: 1, request: request.id, stage: 'begun', outputs: [] });
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const fetched = await fetchFiles(site, request.files, folder);
    const fetchedAt = site.now().toISOString();
    const { files, outputs } = await signFiles(site, channel, fetched, folder);
    const times = { ...draft.times, fetched: fetchedAt, signed: site.now().toISOString() };
    const receipt = receiptOf({ ...draft, times }, 'signed', {
      certificate: certificateOf(channel),
      files,
      zlib: process.versions.zlib,
    });
    await site.journal.write({ version: 1, request: request.id, stage: 'signed', receipt, outputs });
    return this.deliver(receipt, outputs);
  }

  /** Delivers what lies signed in the work folder. That it cannot be delivered is an answer too. */
  private async deliver(receipt: Receipt, outputs: readonly JournaledOutput[]): Promise<Answer> {
    const { site } = this;
    try {
      await deliverFiles(site, outputs, folderOf(site, receipt.request.id));
    } catch (error) {
      if (!isAnswerable(error)) throw error;
      const { certificate: _certificate, zlib: _zlib, ...rest } = receipt;
      const files = receipt.files.map(({ input }) => ({ input, entries: 0, signed: [], kept: [] }));
      return this.conclude(
        {
          ...rest,
          outcome: 'failed',
          reason: { code: error.code, message: error.message.slice(0, 4000) },
          files,
        },
        [],
      );
    }
    return this.conclude(
      { ...receipt, times: { ...receipt.times, delivered: site.now().toISOString() } },
      outputs,
    );
  }

  /** Settles the receipt on disk, so that a crash from here on can only push this one, and pushes it. */
  private async conclude(draft: Receipt, outputs: readonly JournaledOutput[]): Promise<Answer> {
    const receipt = { ...draft, times: { ...draft.times, answered: this.site.now().toISOString() } };
    const record: JournalRecord = {
      version: 1,
      request: receipt.request.id,
      stage: 'answered',
      receipt,
      outputs: [...outputs],
    };
    await this.site.journal.write(record);
    return this.pushReceipt(receipt);
  }

  private async pushReceipt(receipt: Receipt): Promise<Answer> {
    const { site } = this;
    const signatures = await this.signaturesOf(receipt);
    const at = new Date(receipt.times.answered);
    for (let tries = 0; tries < 10; tries += 1) {
      const tip = await this.receiptsTip();
      const there = await this.findAnswer(tip, receipt.request.id);
      if (there !== undefined) return this.finish((await readReceipt(site.repository, there)).receipt, there);
      const { result, id } = await appendReceipt(site.repository, site.writer, {
        parent: tip,
        receipt,
        signatures,
        at,
      });
      if (result === 'pushed') return this.finish(receipt, id);
      site.log.info(`the receipt branch has moved on: appending to its new tip`);
    }
    throw unavailable('receipt-race', 'the receipt branch moves faster than receipts can be appended', {
      hint: 'is another signer writing to it?',
    });
  }

  /** A receipt for this request among those that came after the last witnessed one: a push that a crash hid from us. */
  private async findAnswer(tip: string, request: string): Promise<string | undefined> {
    const steps = await receiptsSince(this.site.repository, tip, this.site.witness.heads?.receipts ?? null);
    return steps.find((step) => step.request === request)?.id;
  }

  /** The receipt branch as it stands now, begun if need be; every commit on it that is new must be our own. */
  private async receiptsTip(): Promise<string> {
    const { repository, writer, now, witness, config } = this.site;
    const heads = await repository.fetch();
    await witness.judge(repository, heads, {
      checkReceipt: (id) => this.checkReceipt(id),
      config: config.file,
    });
    if (heads.receipts !== null) return heads.receipts;
    const { result, id } = await openReceipts(repository, writer, now());
    return result === 'pushed' ? id : this.receiptsTip();
  }

  /** Whether a commit on the receipt branch is signed by this signer's own key; throws when it is not. */
  async checkReceipt(id: string): Promise<void> {
    const { repository, writer } = this.site;
    const type = writer.signer.publicKey
      .subarray(4, 4 + writer.signer.publicKey.readUInt32BE(0))
      .toString('latin1');
    const own = AllowedSigners.parse(
      `signer ${type} ${writer.signer.publicKey.toString('base64')}\n`,
      'receipts.key',
    );
    verifyCommitSignature((await repository.readCommit(id)).raw, own);
  }

  private async signaturesOf(receipt: Receipt): Promise<Map<string, Buffer>> {
    const folder = folderOf(this.site, receipt.request.id);
    const signatures = new Map<string, Buffer>();
    for (const { before } of receipt.files.flatMap((file) => file.signed))
      signatures.set(before.sha256, await readFile(signatureFile(folder, before.sha256)));
    return signatures;
  }

  private async finish(receipt: Receipt, commit: string): Promise<Answer> {
    const { repository, witness, log, now } = this.site;
    const heads = await repository.heads();
    await witness.accept(
      { requests: witness.heads?.requests ?? heads.requests, receipts: heads.receipts },
      { at: now() },
    );
    await this.clear(receipt.request.id);
    log.info(
      { request: receipt.request.id, outcome: receipt.outcome, receipt: commit },
      `answered ${shortId(receipt.request.id)}: ${receipt.outcome}`,
    );
    return { state: 'answered', receipt, commit };
  }

  private async clear(request: string): Promise<void> {
    await rm(folderOf(this.site, request), { recursive: true, force: true });
    await this.site.journal.clear();
  }
}
