import { isInvalid } from '../../lib/errors.ts';
import { inOrder } from '../../lib/concurrency/in-order.ts';
import type { CommitSigners } from '../../lib/git/commit-signature.ts';
import { channelIn, type PublishedPolicy } from '../../protocol/control/published-policy.ts';
import type { ControlRepository } from '../../protocol/control/repository.ts';
import { readRequest, type Request } from '../../protocol/control/request.ts';
import type { Cancellations } from './cancellations.ts';
import type { Notice, QueuedRequest, SignerReport } from './model.ts';
import { signatureOf, type VouchCounter } from './vouch-counter.ts';
import { waitingReason, type WaitingFacts } from './waiting-reason.ts';

/** Requests that are read at the same time. */
const WIDTH = 16;

export interface QueueContext {
  readonly repository: ControlRepository;
  readonly requestSigners: CommitSigners;
  readonly hold: Notice | null;
  readonly cancellations: Cancellations;
  readonly policy: PublishedPolicy | null;
  readonly vouches: VouchCounter;
  readonly signers: readonly SignerReport[];
  readonly now: Date;
}

/** Describes requests without an answer. */
export async function describeQueue(ids: readonly string[], context: QueueContext): Promise<QueuedRequest[]> {
  const queue: QueuedRequest[] = [];
  await context.cancellations.beginAt(ids[0]);
  const tasks = ids.map((id) => () => describe(id, context));
  for await (const request of inOrder(tasks, WIDTH)) queue.push(request);
  return queue;
}

async function describe(id: string, context: QueueContext): Promise<QueuedRequest> {
  const request = await readRequest(context.repository, id);
  const by = signatureOf(request.raw, context.requestSigners);
  const inHand = context.signers.find(
    ({ state, content }) => state === 'alive' && content.current?.request === id,
  );
  return {
    request: id,
    files: request.files.map(({ name }) => name),
    channel: request.channel,
    subject: request.subject,
    askedBy: by && { principal: by.principal, key: by.fingerprint },
    author: request.author,
    askedAt: request.raw.length === 0 ? null : request.committedAt,
    waitsFor: await reasonOf(request, context),
    ...(inHand?.content.current && { inHand: inHand.content.current }),
  };
}

/** What the repository shows comes first: a heartbeat may be some minutes old. */
async function reasonOf(request: Request, context: QueueContext): Promise<Notice> {
  const { hold, cancellations, policy, vouches, now, signers } = context;
  const facts: WaitingFacts = {
    hold,
    cancelled: (acceptUnsigned) => cancellations.reasonFor(request, acceptUnsigned),
    policy: channelIn(policy, request.channel),
    vouches: () => vouches.agreeing(request),
    now,
  };
  return (await reasonInRepository(request, facts)) ?? reasonOfSigners(request.id, signers);
}

async function reasonInRepository(request: Request, facts: WaitingFacts): Promise<Notice | null> {
  try {
    return await waitingReason(request, facts);
  } catch (error) {
    // What cannot be read explains nothing; only the receipt decides.
    if (isInvalid(error)) return null;
    throw error;
  }
}

/** What the heartbeats say about a request that nothing in the repository delays. */
function reasonOfSigners(id: string, signers: readonly SignerReport[]): Notice {
  const alive = signers.filter(({ state }) => state === 'alive');
  for (const { content } of alive)
    if (content.alarm)
      return {
        code: content.alarm.code,
        text: `the signer signs nothing since ${content.alarm.since}, because of an alarm [${content.alarm.code}]`,
      };
  for (const { content } of alive) {
    const waiting = content.waiting.find(({ request }) => request === id);
    if (waiting)
      return {
        code: waiting.code,
        text: `the signer has let it wait since ${waiting.since} [${waiting.code}]`,
      };
    if (content.problem)
      return {
        code: content.problem.code,
        text: `the signer has had a problem since ${content.problem.since} [${content.problem.code}]`,
      };
  }
  if (signers.length > 0 && alive.length === 0) return notRunning(signers);
  return { code: 'signer', text: 'waiting for the signer to answer' };
}

function notRunning(signers: readonly SignerReport[]): Notice {
  const silent = signers.find(({ state }) => state !== 'stopped');
  return silent
    ? { code: 'signer-silent', text: `nothing was heard from the signer since ${silent.content.written}` }
    : {
        code: 'signer-stopped',
        text: `the signer was stopped at ${signers[0]?.content.written ?? 'an unknown time'}`,
      };
}
