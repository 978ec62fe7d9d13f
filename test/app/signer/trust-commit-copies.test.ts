import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { AnsweredRequests } from '../../../src/app/signer/request/answered-requests.ts';
import {
  startHostile,
  receiptCommits,
  receiptFor,
  receiptsFor,
  type CommitOptions,
} from '../../world/hostile.ts';
import { openContext } from './test-signer.ts';
import {
  broken,
  gitAccepts,
  headerMoved,
  negated,
  rawCommit,
  rewrapped,
  unsigned,
  withKey,
} from '../../world/commit-copies.ts';

const run = promisify(execFile);

const { world, host } = await startHostile();
let ecdsa: string;
let certificate: string;
before(async () => {
  ecdsa = world.at('keys', 'ecdsa');
  await run('ssh-keygen', ['-q', '-t', 'ecdsa', '-b', '256', '-N', '', '-f', ecdsa]);
  const ca = await host.key('authority');
  const certified = await host.key('certified');
  for (const name of ['certified', 'second']) {
    const words = ['-q', '-s', ca.path, '-I', name, '-n', 'cara@example.org', `${certified.path}.pub`];
    await run('ssh-keygen', words);
    await cp(`${certified.path}-cert.pub`, world.at('keys', `${name}.cert.pub`));
  }
  certificate = world.at('keys', 'certified.cert.pub');
  await cp(certified.path, world.at('keys', 'certified.cert'));
  await host.allow(
    await host.builderLine(),
    `ecdsa@example.org namespaces="git" ${(await readFile(`${ecdsa}.pub`, 'utf8')).trim()}`,
    `cara@example.org cert-authority,namespaces="git" ${ca.line}`,
    `plain@example.org namespaces="git" ${certified.line}`,
  );
});

const product = (): Promise<Buffer> => readFile(world.exchange('signed', 'product.zip'));
const incoming = (): string => world.exchange('incoming', 'product.zip');

/** Merges a commit into main, as the Git host can with any commit. */
async function merged(raw: string, ...more: string[]): Promise<string> {
  const id = await host.raw(Buffer.from(raw, 'latin1'), null);
  const main = (await host.tip()) ?? '';
  await host.commit({ parents: [main, id, ...more], key: null, message: 'Merge' });
  return id;
}

/** Requests and signs an old release, then a newer one with the same name, and puts the old bytes back on the exchange. */
async function served(options: CommitOptions = {}): Promise<{ old: string; newest: Buffer }> {
  const old = await host.request('product.zip', options);
  await host.signs(old);
  await cp(incoming(), world.at('old.zip'));
  await host.request('product.zip');
  await world.poll();
  await cp(world.at('old.zip'), incoming());
  return { old, newest: await product() };
}

async function repeats(copy: string, request: string): Promise<void> {
  const { outcome, reason, repeats: earlier } = await receiptFor(world, copy);
  assert.deepEqual([outcome, reason?.code], ['rejected', 'request-repeated']);
  const [receipt] = await receiptCommits(world, request);
  assert.deepEqual(earlier, { request, receipt });
}

describe('request-repeated: an old release is not signed again over a newer one', () => {
  const FORMS: {
    name: string;
    options?: () => CommitOptions;
    make: (raw: string) => string | Promise<string>;
  }[] = [
    { name: 'with the base64 of its signature wrapped differently', make: (raw) => rewrapped(raw) },
    {
      name: 'with its signature header moved',
      options: () => ({ settings: ['i18n.commitEncoding=iso-8859-1'] }),
      make: headerMoved,
    },
    { name: 'with the s of its ECDSA signature negated', options: () => ({ key: ecdsa }), make: negated },
    {
      name: 'with another certificate for its key',
      options: () => ({ key: certificate }),
      make: (raw) => withKey(raw, world.at('keys', 'second.cert.pub')),
    },
    {
      name: 'with the plain key in place of the certificate',
      options: () => ({ key: certificate }),
      make: (raw) => withKey(raw, world.at('keys', 'certified.pub')),
    },
  ];
  for (const { name, options, make } of FORMS)
    it(name, async () => {
      const { old, newest } = await served(options?.());
      const copy = await merged(await make(await rawCommit(world, old)));
      assert.notEqual(copy, old);
      assert.ok(await gitAccepts(world, copy), 'git does not accept this form: the test shows nothing');
      assert.deepEqual(await world.poll(), { answered: 1, waiting: 0 });
      await repeats(copy, old);
      assert.deepEqual(await product(), newest);
    });

  it('nor by a copy of a copy, which names the first', async () => {
    const { old, newest } = await served();
    const raw = await rawCommit(world, old);
    const copies = [await merged(rewrapped(raw, 64)), await merged(rewrapped(raw, 60))];
    await world.poll();
    for (const copy of copies) await repeats(copy, old);
    assert.deepEqual(await product(), newest);
  });

  it('nor by a signer that has lost its state folder', async () => {
    const { old, newest } = await served();
    await rm(world.at('signer-state'), { recursive: true });
    const copy = await merged(rewrapped(await rawCommit(world, old)));
    await world.poll();
    await repeats(copy, old);
    assert.deepEqual(await product(), newest);
  });

  for (const [what, damage] of [
    ['is damaged', (bytes: Buffer) => bytes.fill(0, bytes.indexOf('\n') + 1)],
    ['is cut short', (bytes: Buffer) => bytes.subarray(0, bytes.length - 56)],
    ['is empty', () => Buffer.alloc(0)],
  ] as const)
    it(`nor by one whose file of answered requests: ${what}`, async () => {
      const { old, newest } = await served();
      const path = world.at('signer-state', 'answered');
      await rm(path);
      await world.poll();
      await writeFile(path, damage(await readFile(path)));
      const copy = await merged(rewrapped(await rawCommit(world, old)));
      await world.poll();
      await repeats(copy, old);
      assert.deepEqual(await product(), newest);
    });
});

describe('request-repeated: a request that was refused stays refused', () => {
  it('rejected, because other bytes were on the exchange', async () => {
    const line = await host.release('refused.zip');
    const bytes = await readFile(world.exchange('incoming', 'refused.zip'));
    await writeFile(world.exchange('incoming', 'refused.zip'), 'other bytes');
    const request = await host.commit({ files: { zipname: line } });
    await world.poll();
    assert.equal((await receiptFor(world, request)).reason?.code, 'digest-differs');
    await writeFile(world.exchange('incoming', 'refused.zip'), bytes);
    const copy = await merged(rewrapped(await rawCommit(world, request)));
    await world.poll();
    await repeats(copy, request);
  });

  it('rejected, because its key was not allowed then', async () => {
    const late = await host.key('late');
    const request = await host.request('late.zip', { key: late.path });
    await world.poll();
    assert.equal((await receiptFor(world, request)).reason?.code, 'commit-signer-unknown');
    const before = await readFile(world.at('keys', 'allowed_signers'), 'utf8');
    await writeFile(world.at('keys', 'allowed_signers'), `${before}late@example.org ${late.line}\n`);
    const copy = await merged(rewrapped(await rawCommit(world, request)));
    await world.poll();
    await repeats(copy, request);
  });

  it('failed, because nothing could be delivered then', async () => {
    await rename(world.exchange('signed'), world.exchange('aside'));
    await writeFile(world.exchange('signed'), 'no folder');
    const request = await host.request('undelivered.zip');
    await world.poll();
    assert.equal((await receiptFor(world, request)).outcome, 'failed');
    await rm(world.exchange('signed'));
    await rename(world.exchange('aside'), world.exchange('signed'));
    const copy = await merged(rewrapped(await rawCommit(world, request)));
    await world.poll();
    await repeats(copy, request);
  });
});

describe('a commit without a valid signature consumes only its own id', () => {
  const COPIES: { name: string; code: string; make: (raw: string) => string | Promise<string> }[] = [
    { name: 'a copy without the signature', code: 'commit-unsigned', make: unsigned },
    { name: 'a copy with a wrong signature', code: 'commit-signature-wrong', make: broken },
    {
      name: 'a copy that names another key',
      code: 'commit-signature-wrong',
      make: (raw) => withKey(raw, `${world.at('keys', 'authority')}.pub`),
    },
  ];
  for (const { name, code, make } of COPIES)
    it(`${code}: ${name} comes first, and the honest request is still signed`, async () => {
      const main = (await host.tip()) ?? '';
      const request = await host.request('honest.zip');
      await host.set('main', main);
      const copy = await merged(await make(await rawCommit(world, request)));
      await world.poll();
      assert.equal((await receiptFor(world, copy)).reason?.code, code);
      await host.commit({ parents: [(await host.tip()) ?? '', request], key: null, message: 'Merge' });
      await host.signs(request);
      const later = await merged(rewrapped(await rawCommit(world, request)));
      await world.poll();
      await repeats(later, request);
    });
});

describe('copies that arrive together', () => {
  it('one is answered, and wait downloads the file by either id', async () => {
    const request = await host.request('together.zip');
    const copy = await merged(rewrapped(await rawCommit(world, request)));
    assert.deepEqual(await world.poll(), { answered: 2, waiting: 0 });
    const outcomes = await Promise.all([request, copy].map((id) => receiptFor(world, id)));
    assert.deepEqual(outcomes.map(({ outcome }) => outcome).sort(), ['rejected', 'signed']);
    for (const id of [request, copy]) {
      await rm(world.at('out'), { recursive: true, force: true });
      const ended = await world.wait(id);
      assert.equal(ended.status, 0, ended.stderr);
      assert.deepEqual(
        await readFile(world.at('out', 'together.zip')),
        await readFile(world.exchange('signed', 'together.zip')),
      );
    }
  });

  it('also if they wait for the end of a HOLD and come from a side branch', async () => {
    const base = (await host.tip()) ?? '';
    await host.commit({ files: { HOLD: 'wait' } });
    const request = await host.request('held.zip', { parents: [base], branch: null });
    const raw = rewrapped(await rawCommit(world, request));
    const copy = await host.raw(Buffer.from(raw, 'latin1'), null);
    await host.commit({ parents: [(await host.tip()) ?? '', request, copy], key: null });
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 2 });
    await host.commit({ files: { HOLD: null } });
    assert.deepEqual(await world.poll(), { answered: 2, waiting: 0 });
    const codes = await Promise.all(
      [request, copy].map(async (id) => (await receiptFor(world, id)).reason?.code ?? 'none'),
    );
    assert.deepEqual(codes.sort(), ['none', 'request-repeated']);
  });
});

describe('a request counts as answered without a receipt on the branch', () => {
  it('request-repeated: if an operator accepted the loss of its receipt, by the same id and by another', async () => {
    const { old, newest } = await served();
    await host.set('signed', await world.git('rev-parse', 'signed~2'));
    await assert.rejects(world.poll(), { code: 'receipts-rewound' });
    const { signer, close } = await world.openSigner();
    await signer.acceptHistory(await world.git('rev-parse', 'signed'));
    await close();
    const copy = await merged(rewrapped(await rawCommit(world, old)));
    await world.poll();
    for (const id of [old, copy]) {
      const [{ reason, repeats: earlier } = {}] = await receiptsFor(world, id);
      assert.equal(reason?.code, 'request-repeated');
      assert.equal(earlier?.request, old);
    }
    assert.deepEqual(await product(), newest);
  });

  it('request-repeated: if it is from before control.since', async () => {
    const line = await host.release('early.zip');
    const early = await host.commit({ files: { zipname: line } });
    await world.reconfigure((text) => text.replace(/^control:\n/m, `control:\n  since: ${early}\n`));
    await rm(world.at('signer-state'), { recursive: true });
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 0 });
    const copy = await merged(rewrapped(await rawCommit(world, early)));
    await world.poll();
    const { reason, repeats: earlier } = await receiptFor(world, copy);
    assert.equal(reason?.code, 'request-repeated');
    assert.deepEqual(earlier, { request: early });
    assert.match(reason?.message ?? '', /control\.since/);
  });

  it('history-lacks-since: but nothing is answered on a branch that lacks control.since', async () => {
    const past = await host.request('past.zip');
    const since = await host.commit({ files: { note: 'all up to here was answered elsewhere' } });
    await world.reconfigure((text) => text.replace(/^ {2}since: .*$/m, `  since: ${since}`));
    await rm(world.at('signer-state'), { recursive: true });
    const asked = async (): Promise<void> => {
      await assert.rejects(world.poll(), { kind: 'alarm', code: 'history-lacks-since' });
      assert.deepEqual(await receiptsFor(world, past), []);
    };
    await host.set('main', past);
    await asked();
    // The commit itself is in the clone by now, but not in the history of the branch.
    await host.set('elsewhere', since);
    await host.commit({ parents: [past], files: { note: 'other' }, key: null });
    await asked();
    await host.set('main', since);
    assert.deepEqual(await world.poll(), { answered: 0, waiting: 0 });
  });

  it('request-repeated: even if reading the history failed at first', async () => {
    const early = await host.request('failing.zip');
    const context = await openContext(world);
    const { repository } = context;
    try {
      const { receipts } = await repository.fetch();
      const settled = { since: early, lost: [] };
      const answered = new AnsweredRequests(world.at('not-there'), repository, () => settled);
      const copy = Buffer.from(rewrapped(await rawCommit(world, early)), 'latin1');
      const walk = repository.commitsBetween.bind(repository);
      repository.commitsBetween = () => Promise.reject(new Error('git could not be started'));
      await assert.rejects(answered.find(copy, receipts), /could not be started/);
      repository.commitsBetween = walk;
      assert.equal((await answered.find(copy, receipts))?.request, early);
    } finally {
      await context.close();
    }
  });
});
