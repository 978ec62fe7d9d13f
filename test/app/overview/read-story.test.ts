import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { explainCode } from '../../../src/app/overview/story/error-code.ts';
import { readStory } from '../../../src/app/overview/story/read-story.ts';
import type { RequestStory } from '../../../src/app/overview/story/request-story.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { storyText } from '../../../src/cli/output/story-text.ts';
import { AuditWorld } from '../auditor/sample-history.ts';

let keys: AuditWorld;
before(async () => (keys = await AuditWorld.create()));
after(() => keys.close());

async function story(world: AuditWorld, id: string): Promise<RequestStory> {
  await world.write();
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    return await readStory(repository, id, {
      requestSigners: world.allowed('builder', 'second'),
      receiptSigners: world.allowed('receipts'),
    });
  } finally {
    repository.close();
  }
}

const refusedAs =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof SignpipeError && error.code === code;
const happened = ({ events }: RequestStory): string[] => events.map(({ what }) => what);

describe('the story of a request', () => {
  it('has who asked, vouches, HOLDs, stages and the answer, in the order of their times', async () => {
    const world = await keys.another();
    const request = await world.request({ name: 'product.zip' });
    const vouch = await world.vouch(request);
    const zipname = { mode: '100644', name: 'zipname', id: world.blob('x') };
    const hold = { mode: '100644', name: 'HOLD', id: world.blob('stop') };
    world.main.push(
      await world.commit({ tree: world.tree([hold, zipname]), parents: [request] }, world.keys.second),
    );
    const receipt = await world.receipt(request, { edit: (stated) => ({ ...stated, vouches: [vouch] }) });
    const told = await story(world, request.slice(0, 8));
    assert.deepEqual(happened(told), ['requested', 'seen', 'vouch', 'hold', 'answered']);
    assert.equal(told.askedBy?.principal, 'builder@example.org');
    assert.equal(told.answer?.id, receipt);
    assert.equal(told.answer.proven, true);
    assert.match(storyText(told), /^answer {4}rejected, receipt [0-9a-f]{40}/m);
    assert.equal((await story(world, receipt)).request, request, 'a receipt tells of its request');
  });

  it('says what a request without an answer waits for, and what cancels or retries it', async () => {
    const world = await keys.another();
    const request = await world.request();
    const { tree } = await keysTree(world, request);
    world.main.push(
      await world.commit(
        { tree, parents: [request], message: `Cancel\n\nCancel: ${request}\n` },
        world.keys.builder,
      ),
    );
    const retry = await world.request({ message: `Again\n\nRetry-Of: ${request}\n` });
    const told = await story(world, request);
    assert.deepEqual(happened(told), ['requested', 'cancel', 'retry']);
    assert.deepEqual(told.retries, [retry]);
    assert.equal(told.waitsFor?.code, 'cancelled');
    assert.equal((await story(world, retry)).retryOf, request);
  });

  it('says who did not prove to have asked, and lets no name from outside control the terminal', async () => {
    const world = await keys.another();
    const request = await world.request({ by: world.keys.stranger, author: 'Ann\u001b[2J\u202eX' });
    const told = await story(world, request);
    assert.equal(told.unproved?.code, 'commit-signer-unknown');
    assert.doesNotMatch(storyText(told), /[^\P{C}\n]/u);
    assert.match(storyText(told), /requested by an author who claims to be .* \(not proved\)/);
  });

  it('marks an answer by a key that is not trusted for receipts', async () => {
    const world = await keys.another();
    const request = await world.request();
    await world.receipt(request, { by: world.keys.builder });
    assert.equal((await story(world, request)).answer?.proven, false);
  });

  it('request-unknown, request-not-one: an id that is none', async () => {
    const world = await keys.another();
    const tree = world.tree([]);
    world.main.push(await world.commit({ tree }, world.keys.builder));
    await assert.rejects(story(world, '9'.repeat(40)), refusedAs('request-unknown'));
    await assert.rejects(story(world, world.main[0] ?? ''), refusedAs('request-not-one'));
  });
});

/** The tree of a commit that is not written yet. */
const keysTree = (world: AuditWorld, commit: string): Promise<{ tree: string }> =>
  Promise.resolve({ tree: /^tree ([0-9a-f]{40})/.exec(world.pending(commit).toString())?.[1] ?? '' });

describe('the meaning of an error code', () => {
  it('is what docs/errors.md says, in or without brackets', async () => {
    const { code, kinds, meaning, topic } = await explainCode('[digest-differs]');
    assert.equal(code, 'digest-differs');
    assert.deepEqual(kinds, ['invalid']);
    assert.match(meaning, /not the one that zipname pins/);
    assert.equal(topic, 'Requests and policy');
  });

  it('code-unknown: names the codes that may be meant', async () => {
    await assert.rejects(explainCode('witnes-damaged'), (error: unknown) => {
      assert(error instanceof SignpipeError && error.code === 'code-unknown');
      return /did you mean witness-damaged\?/.test(error.hint ?? '');
    });
    await assert.rejects(explainCode('x'.repeat(100_000)), refusedAs('code-unknown'));
  });
});
