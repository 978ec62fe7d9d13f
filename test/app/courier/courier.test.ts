/** Timestamps by courier: a signer's queue, a real Git repository, the courier, and an authority. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { CourierConfig } from '../../../src/app/config/courier.ts';
import { checkCourier } from '../../../src/app/site/doctor/doctor-courier.ts';
import { withCourier } from '../../../src/app/courier/open-courier.ts';
import { TimestampRoutes } from '../../../src/app/timestamps/routes.ts';
import { TimestampClient } from '../../../src/engine/timestamp/client.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { generateSshKey } from '../../../src/lib/ssh/generate-key.ts';
import { loadSshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { serializeAnswers, serializeQueries } from '../../../src/protocol/courier/batch-content.ts';
import { type BatchKind, type BatchName } from '../../../src/protocol/courier/batch-name.ts';
import { signerName } from '../../../src/protocol/control/signer-name.ts';
import { Mailbox } from '../../../src/protocol/courier/mailbox.ts';
import { startTimestampAuthority, type RunningAuthority } from '../../../src/sandbox/timestamp-authority.ts';
import { gitEnvironment } from '../../world/site.ts';

const run = promisify(execFile);
const data = Buffer.from('the value of a signature');

let folder = '';
let authority: RunningAuthority;
let other: RunningAuthority;
let receiptKey = '';
let control = '';
let url = '';
let repositories = 0;
const at = (...names: string[]): string => join(folder, ...names);
const opened: { close(): Promise<void> | void }[] = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-courier-'));
  authority = await startTimestampAuthority();
  other = await startTimestampAuthority();
  receiptKey = await generateSshKey(at('receipts'), 'signer');
  await generateSshKey(at('stranger'), 'stranger');
  await writeFile(at('receipt_signers'), `signer namespaces="git" ${receiptKey}\n`);
});

beforeEach(async () => {
  repositories += 1;
  control = at(`control-${repositories}.git`);
  await run('git', ['init', '--quiet', '--bare', control], { env: gitEnvironment() });
  url = `file://${control}`;
});

after(async () => {
  for (const each of opened) await each.close();
  await Promise.all([authority.close(), other.close()]);
  await rm(folder, { recursive: true, force: true });
});

const refsOnHost = async (): Promise<string[]> => {
  const args = ['-C', control, 'for-each-ref', '--format=%(refname)'];
  const { stdout } = await run('git', args, { env: gitEnvironment() });
  return stdout.split('\n').filter((line) => line !== '');
};

function routes(): TimestampRoutes {
  const made = new TimestampRoutes(
    {
      control: { url },
      exchange: { url: `file://${folder}` },
      receipts: { key: at('receipts'), name: 'Signer' },
      state: at('signer-state'),
    },
    { warn: assert.fail },
  );
  opened.push(made);
  return made;
}

/** A client that asks each authority once. */
function client(by: TimestampRoutes, urls: readonly string[], timeout = 20_000) {
  const failures: SignpipeError[] = [];
  const endpoints = urls.map((each) => by.endpoint({ url: each, via: 'courier', timeout }));
  const asking = new TimestampClient(endpoints, {
    attempts: 1,
    roots: [authority.root],
    onFailure: (_, error) => failures.push(error),
  });
  return { asking, failures };
}

const config = (change: Partial<CourierConfig> = {}): CourierConfig => ({
  file: at('courier.yaml'),
  control: { url },
  trust: { allowedSigners: at('receipt_signers') },
  authorities: [authority.url],
  timeout: 5000,
  poll: 1000,
  name: 'Courier',
  state: at('courier-state'),
  ...change,
});

/** Runs a courier that looks every 100 ms while `work` lasts; its log. */
async function carrying<T>(
  work: () => Promise<T>,
  change: Partial<CourierConfig> = {},
): Promise<{ result: T; log: string[] }> {
  const log: string[] = [];
  const note = (details: unknown, message?: string): void =>
    void log.push(`${JSON.stringify(details)} ${message ?? ''}`);
  const stop = new AbortController();
  const logger = { info: note, warn: note, error: note } as unknown as Parameters<typeof withCourier>[1];
  const carried = withCourier(config({ poll: 100, ...change }), logger, (courier) =>
    courier.watch(stop.signal),
  );
  try {
    return { result: await work(), log };
  } finally {
    stop.abort();
    await carried;
  }
}

/** Waits until the host has as many refs. */
async function untilRefs(count: number): Promise<string[]> {
  for (;;) {
    const refs = await refsOnHost();
    if (refs.length === count) return refs;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

const commitOf = async (ref: string): Promise<string> =>
  (await run('git', ['-C', control, 'rev-parse', ref], { env: gitEnvironment() })).stdout.trim();

const silentLog = { info() {}, warn() {}, error() {} } as unknown as Parameters<typeof withCourier>[1];

async function mailbox(): Promise<Mailbox> {
  const box = await Mailbox.open({ url, path: at('by-hand.git'), ssh: undefined });
  opened.push(box);
  return box;
}

interface ByHand {
  readonly key?: string;
  readonly kind?: BatchKind;
  readonly change?: Partial<BatchName>;
  readonly signed?: boolean;
}

/** When batches by hand expire unless something else is said. */
const SOON = Math.ceil(Date.now() / 1000) + 600;

/** Publishes a batch by hand; its name. */
async function publish(
  content: Buffer,
  { key = 'receipts', kind = 'queries', change = {}, signed = true }: ByHand = {},
): Promise<BatchName> {
  const signer = await loadSshSigner(at(key), {});
  const name = {
    signer: signerName(signer.fingerprint),
    expires: SOON,
    id: createHash('sha256').update(content).digest('hex'),
    ...change,
  };
  const identity = { name: 'By hand', email: '' };
  const box = await mailbox();
  await box.publish({ kind, name, content, identity, at: new Date(), signer: signed ? signer : null });
  return name;
}

describe('a timestamp by courier', () => {
  it('is as good as one by a connection; nothing stays on the host', async () => {
    const by = routes();
    const { asking } = client(by, [authority.url]);
    const { result } = await carrying(() => asking.timestamp(data, 'sha256'));
    assert.equal(result.url, authority.url);
    await untilRefs(0);
  });

  it('comes in few pushes, however many there are', async () => {
    const by = routes();
    const { asking } = client(by, [authority.url]);
    const before = authority.requests.length;
    const seen = new Set<string>();
    const watching = setInterval(
      () => void refsOnHost().then((refs) => refs.forEach((ref) => seen.add(ref))),
      20,
    );
    await carrying(() =>
      Promise.all(Array.from({ length: 120 }, () => asking.timestamp(randomBytes(32), 'sha256'))),
    );
    clearInterval(watching);
    assert.equal(authority.requests.length - before, 120);
    assert.ok(seen.size <= 6, [...seen].join('\n'));
  });

  it('timestamp-http: the authority’s refusal and its Retry-After reach the signer', async () => {
    const { asking, failures } = client(routes(), [`${authority.url}http-429`]);
    await carrying(() => assert.rejects(asking.timestamp(data, 'sha256')), {
      authorities: [`${authority.url}http-429`],
    });
    assert.equal(failures[0]?.code, 'timestamp-http');
    assert.match(failures[0]?.message ?? '', /429, and asks to wait/);
  });

  it('timestamp-courier: an authority that is not on the courier’s list is never asked', async () => {
    const before = other.requests.length;
    const { asking, failures } = client(routes(), [other.url, authority.url]);
    await carrying(() => asking.timestamp(data, 'sha256'));
    assert.match(failures[0]?.message ?? '', /the courier reports courier-authority: not among/);
    assert.equal(other.requests.length, before);
  });

  it('timestamp-courier: a redirect to an address that is not on the courier’s list is not followed', async () => {
    const moved = createServer((_, response) => response.writeHead(307, { location: other.url }).end());
    await once(moved.listen(0, '127.0.0.1'), 'listening');
    const from = `http://127.0.0.1:${(moved.address() as AddressInfo).port}/`;
    const before = other.requests.length;
    const { asking, failures } = client(routes(), [from]);
    await carrying(() => assert.rejects(asking.timestamp(data, 'sha256')), { authorities: [from] });
    moved.close().closeAllConnections();
    assert.match(failures[0]?.message ?? '', /reports timestamp-redirect: an authority redirects to http/);
    assert.equal(other.requests.length, before);
  });

  it('timestamp-timeout: no courier runs; the query is removed again', async () => {
    const { asking, failures } = client(routes(), [authority.url], 1200);
    await assert.rejects(asking.timestamp(data, 'sha256'), /timestamp-timeout/);
    assert.match(failures[0]?.hint ?? '', /is `signpipe courier` running/);
    await untilRefs(0);
  });

  it('timestamp-courier: the Git host refuses the query', async () => {
    await writeFile(join(control, 'hooks/update'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const { asking, failures } = client(routes(), [authority.url]);
    await assert.rejects(asking.timestamp(data, 'sha256'));
    assert.equal(failures[0]?.code, 'timestamp-courier');
    assert.match(failures[0]?.message ?? '', /the query cannot be pushed: .*the host refuses the push/);
  });

  it('is refused at once after the end of the work', async () => {
    const by = routes();
    const endpoint = by.endpoint({ url: authority.url, via: 'courier', timeout: 20_000 });
    const first = assert.rejects(endpoint.post(randomBytes(40), 20_000), /the queue was closed/);
    // The queue opens its repository first.
    await untilRefs(1);
    await by.close();
    await first;
    await assert.rejects(endpoint.post(randomBytes(40), 20_000), /the queue was closed/);
    assert.deepEqual(await refsOnHost(), []);
  });

  it('lists only the batches of its own signer', async () => {
    const content = serializeQueries([{ url: authority.url, query: randomBytes(40) }], SOON);
    const { signer } = await publish(content);
    await publish(content, { key: 'stranger' });
    const box = await mailbox();
    assert.equal((await box.list()).queries.size, 2);
    const own = [...(await box.list(signer)).queries.values()];
    assert.deepEqual(
      own.map(({ name }) => name.signer),
      [signer],
    );
  });

  const lies: [what: string, answers: (token: Buffer) => Buffer, message: RegExp][] = [
    ['is no JSON', () => Buffer.from('hello'), /answers\.json/],
    ['has too few answers', () => Buffer.from('{"version":1,"answers":[]}'), /answers/],
    [
      'has an answer too many',
      (token) => serializeAnswers([{ response: token }, { response: token }]),
      /2 answers to 1/,
    ],
    ['is a token for another query', (token) => serializeAnswers([{ response: token }]), /another|nonce/],
    ['is larger than the signer reads', () => Buffer.alloc(9 * 2 ** 20, ' '), /more than the/],
  ];
  for (const [what, answers, message] of lies)
    it(`is refused if the answer ${what}`, async () => {
      // A response of the authority to an earlier query.
      let replayed = Buffer.alloc(0);
      await new TimestampClient([
        {
          url: authority.url,
          post: async (query) => {
            const response = await fetch(authority.url, {
              method: 'POST',
              body: query,
              headers: { 'content-type': 'application/timestamp-query' },
            });
            return (replayed = Buffer.from(await response.arrayBuffer()));
          },
        },
      ]).timestamp(data, 'sha256');
      const { asking, failures } = client(routes(), [authority.url]);
      const refused = assert.rejects(asking.timestamp(data, 'sha256'));
      const [ref = ''] = await untilRefs(1);
      const [, signer = '', expires = '', id = ''] = /queries\/(.*)\/(\d+)-(.*)$/.exec(ref) ?? [];
      await publish(answers(replayed), {
        kind: 'answers',
        signed: false,
        change: { signer, expires: Number(expires), id },
      });
      await refused;
      assert.match(failures[0]?.message ?? '', message);
    });
});

describe('doctor', () => {
  const brief = async (change: Partial<CourierConfig> = {}): Promise<string[]> =>
    (await checkCourier(config(change))).map(({ check, status, code }) =>
      `${status} ${check} ${code ?? ''}`.trim(),
    );

  it('finds a courier in order', async () => {
    const findings = await brief();
    assert.deepEqual(
      findings.filter((finding) => !finding.startsWith('ok')),
      [],
    );
    for (const check of ['control repository', 'receipt signers', 'authority 1'])
      assert.ok(findings.includes(`ok ${check}`), check);
  });

  it('git-no-repository, allowed-signers-unreadable, timestamp-unavailable: what is wrong', async () => {
    const findings = await brief({
      control: { url: `file://${at('none.git')}` },
      trust: { allowedSigners: at('none') },
      authorities: ['http://127.0.0.1:1/'],
    });
    assert.deepEqual(
      findings.filter((finding) => !finding.startsWith('ok')),
      [
        'bad control repository git-no-repository',
        'bad receipt signers allowed-signers-unreadable',
        'bad authority 1 timestamp-unavailable',
      ],
    );
  });
});

describe('the courier', () => {
  const good = (expires = SOON): Buffer =>
    serializeQueries([{ url: authority.url, query: randomBytes(40) }], expires);

  /** One round; the log. */
  async function round(): Promise<string[]> {
    const log: string[] = [];
    const note = (details: { code?: string }, message: string): void =>
      void log.push(`${details.code ?? 'ok'} ${message}`);
    const logger = { info: note, warn: note, error: note } as unknown as Parameters<typeof withCourier>[1];
    await withCourier(config(), logger, (courier) => courier.round());
    return log;
  }

  const refusals: [code: string, what: string, make: () => Promise<unknown>][] = [
    ['commit-signer-unknown', 'queries of a stranger', () => publish(good(), { key: 'stranger' })],
    ['commit-unsigned', 'queries that are not signed', () => publish(good(), { signed: false })],
    [
      'courier-batch-malformed',
      'queries under the name of others',
      () => publish(good(), { change: { id: 'a'.repeat(64) } }),
    ],
    [
      'courier-batch-malformed',
      'old queries that the host offers as new',
      () => publish(good(), { change: { expires: SOON + 60 } }),
    ],
    [
      'courier-batch-malformed',
      'queries that the host offers as those of another signer',
      () => publish(good(), { change: { signer: '0'.repeat(16) } }),
    ],
    [
      'courier-batch-malformed',
      'what is no list of queries',
      () => publish(Buffer.from(`{"version":1,"expires":${SOON},"queries":[{}]}`)),
    ],
    [
      'courier-batch-malformed',
      'a query that is too long',
      () => publish(serializeQueries([{ url: authority.url, query: Buffer.alloc(2000) }], SOON)),
    ],
    [
      'courier-batch-malformed',
      'too many queries',
      () =>
        publish(
          serializeQueries(
            Array.from({ length: 257 }, () => ({ url: authority.url, query: Buffer.alloc(1) })),
            SOON,
          ),
        ),
    ],
  ];
  for (const [code, what, make] of refusals)
    it(`${code}: ${what}; other queries are answered`, async () => {
      await make();
      const before = authority.requests.length;
      await publish(good());
      const log = await round();
      assert.deepEqual(new Set(log.map((line) => line.split(' ')[0])), new Set([code, 'ok']), log.join('\n'));
      assert.equal(log.length, 2);
      assert.equal(authority.requests.length - before, 1);
      assert.equal((await refsOnHost()).filter((ref) => ref.includes('/answers/')).length, 1);
    });

  it('leaves expired queries alone, and refs that are not of this protocol', async () => {
    await publish(good(), { change: { expires: Math.floor(Date.now() / 1000) - 3600 } });
    const { stdout } = await run('git', ['-C', control, 'for-each-ref', '--format=%(objectname)']);
    await run('git', ['-C', control, 'update-ref', 'refs/signpipe/timestamps/queries/x', stdout.trim()]);
    assert.deepEqual(await round(), []);
  });

  /** Makes refs on the host by hand. */
  const updateRefs = async (lines: readonly string[]): Promise<void> => {
    const child = run('git', ['-C', control, 'update-ref', '--stdin'], { env: gitEnvironment() });
    child.child.stdin?.end(lines.map((line) => `${line}\n`).join(''));
    await child;
  };

  it('takes a second name of a batch, with leading zeros, for no batch', async () => {
    await publish(good());
    const [ref = ''] = await refsOnHost();
    await updateRefs([`create ${ref.replace(/(\d+)(-[0-9a-f]+)$/, '0$1$2')} ${await commitOf(ref)}`]);
    const log = await round();
    assert.equal(log.length, 1, log.join('\n'));
    assert.match(log[0] ?? '', /^ok answered 1 query/);
  });

  it('answers the others if the host does not hand out a batch', async () => {
    await publish(good());
    const [ref = ''] = await refsOnHost();
    const { stdout } = await run('git', ['-C', control, 'rev-parse', `${ref}:queries.json`]);
    await rm(join(control, 'objects', stdout.slice(0, 2), stdout.trim().slice(2)));
    await publish(good());
    const log = await round();
    assert.equal(log.length, 2, log.join('\n'));
    assert.match(log[0] ?? '', /^git-/);
    assert.match(log[1] ?? '', /^ok answered 1 query/);
  });

  it('answers an allowed signer first, however many batches strangers make', async () => {
    await publish(good(), { key: 'stranger' });
    const [ref = ''] = await refsOnHost();
    const commit = await commitOf(ref);
    const names = Array.from({ length: 150 }, (_, at) => String(at).padStart(64, '0'));
    await updateRefs(
      names.map((id) => `create refs/signpipe/timestamps/queries/${'0'.repeat(16)}/${SOON}-${id} ${commit}`),
    );
    await publish(good());
    const log = await round();
    assert.equal(log.length, 64);
    assert.equal(log.filter((line) => line.startsWith('ok answered 1 query')).length, 1);
  });

  it('pushes again what the host refused, and does not ask the authority again', async () => {
    await publish(good());
    const hook = join(control, 'hooks/update');
    await writeFile(hook, '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const before = authority.requests.length;
    const outcomes: unknown[] = [];
    await withCourier(config(), silentLog, async (courier) => {
      outcomes.push(await courier.round(), await courier.round());
      await rm(hook);
      for (let tries = 0; tries < 100 && (await refsOnHost()).length < 2; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        await courier.round();
      }
    });
    assert.deepEqual(outcomes, [
      { answered: 0, failed: 1 },
      { answered: 0, failed: 0 },
    ]);
    assert.equal((await refsOnHost()).length, 2);
    assert.equal(authority.requests.length - before, 1);
  });

  it('state-in-use: two couriers need a state folder each', async () => {
    await withCourier(config(), silentLog, () =>
      assert.rejects(
        withCourier(config(), silentLog, () => Promise.resolve()),
        /another courier \(process \d+\) is using this state folder/,
      ),
    );
    await withCourier(config(), silentLog, () => Promise.resolve());
  });

  it('answers each batch once, and removes answers that no signer waits for', async () => {
    const name = await publish(good());
    await round();
    const before = authority.requests.length;
    assert.deepEqual(await round(), []);
    assert.equal(authority.requests.length, before);
    await (await mailbox()).remove([{ kind: 'queries', name }]);
    await round();
    assert.deepEqual(await refsOnHost(), []);
  });

  it('works in a repository that does not grow', async () => {
    const box = await mailbox();
    const identity = { name: 'By hand', email: '' };
    const push = async (count: number): Promise<void> => {
      const name = { signer: '0'.repeat(16), expires: count, id: '0'.repeat(64) };
      const content = Buffer.from(String(count));
      await box.publish({ kind: 'queries', name, content, identity, at: new Date(), signer: null });
    };
    await push(1);
    const packs = (): Promise<string[]> => readdir(at('by-hand.git', 'objects', 'pack'));
    await box.renew();
    assert.notDeepEqual(await packs(), []);
    Object.assign(box, { transfers: 200 });
    await box.renew();
    assert.deepEqual(await packs().catch(() => []), []);
    await push(2);
    const { queries } = await box.list();
    assert.equal(queries.size, 2);
    await box.fetch('queries', [...queries.values()]);
    for (const batch of queries.values())
      assert.match((await box.read('queries', batch)).content.toString(), /^[12]$/);
  });

  it('a signer removes what an earlier run left behind, and what a signer that is gone did', async () => {
    await publish(good(), { change: { expires: Math.floor(Date.now() / 1000) - 3600 } });
    await publish(good(), {
      key: 'stranger',
      change: { expires: Math.floor(Date.now() / 1000) - 2 * 86_400 },
    });
    const { asking } = client(routes(), [authority.url]);
    await carrying(() => asking.timestamp(data, 'sha256'));
    await untilRefs(0);
  });
});
