import assert from 'node:assert/strict';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { createTestCertificate, toPem } from '../../../src/sandbox/certificates.ts';
import { Hostile, receiptFor } from '../../world/hostile.ts';
import { signpipe, World, type Ended, assertRefused } from '../../world/site.ts';

let world: World;
let host: Hostile;
before(async () => {
  world = await World.start();
  host = new Hostile(world);
});
after(() => world.stop());

/** An answered request. */
async function answered(name: string): Promise<string> {
  const request = await host.request(name);
  await host.signs(request);
  return request;
}

const downloaded = async (): Promise<string[]> =>
  existsSync(world.at('out')) ? readdir(world.at('out')) : [];

describe('wait', () => {
  it('downloads the signed file if receipt, signature and bytes agree', async () => {
    const request = await answered('good.zip');
    const ended = await world.wait(request);
    assert.equal(ended.status, 0, ended.stderr);
    const receipt = await receiptFor(world, request);
    assert.equal(await sha256OfFile(world.at('out', 'good.zip')), receipt.files[0]?.output?.sha256);
  });

  it('recognises the id of a receipt, and uses the request that it answers', async () => {
    const request = await answered('by-receipt.zip');
    const ended = await world.wait(await world.git('rev-parse', '--short=12', 'signed'));
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stderr, new RegExp(`is a receipt; it answers request ${request.slice(0, 12)}`));
    assert.ok((await downloaded()).includes('by-receipt.zip'));
  });

  it('not-a-request: refuses to wait for a commit that no receipt will answer', async () => {
    const [root = ''] = (await world.git('rev-list', '--first-parent', '--reverse', 'signed')).split('\n');
    assertRefused(await world.wait(root), 2, 'not-a-request', /-- zipname lists the requests/);
  });

  it('test-certificate: refuses files signed with a test certificate unless a flag allows them', async () => {
    const request = await answered('test.zip');
    assert.match(await world.git('log', '-1', '--format=%s', 'signed'), /^TEST signed test\.zip/);
    const where = ['-c', world.site.builderConfig, '--output', world.at('out')];
    const args = ['wait', request, ...where, '--timeout', '20s'];
    assertRefused(await signpipe(args), 3, 'test-certificate', /--allow-test-certificate/);
    assert.ok(!(await downloaded()).includes('test.zip'));
    const taken = await signpipe([...args, '--allow-test-certificate']);
    assert.equal(taken.status, 0);
    assert.match(taken.stdout, /^signed with a TEST certificate/);
  });

  it('signed-file-differs: keeps nothing of a zip that was replaced after delivery', async () => {
    const request = await answered('swapped.zip');
    await writeFile(world.exchange('signed', 'swapped.zip'), await host.zip(4242));
    assertRefused(await world.wait(request), 3, 'signed-file-differs', /do not use it/);
    assert.deepEqual(
      (await downloaded()).filter((name) => name.includes('swapped')),
      [],
    );
  });

  it('is not misled by a zip replaced after the signer fetched it: the pinned bytes were signed', async () => {
    const request = await answered('after.zip');
    await writeFile(world.exchange('incoming', 'after.zip'), await host.zip(4343));
    assert.equal((await world.wait(request)).status, 0);
  });

  it('signed-program-untrusted: refuses programs that are not signed under trust.roots, and accepts those that are', async () => {
    const request = await answered('rooted.zip');
    const plain = await readFile(world.site.builderConfig, 'utf8');
    const stranger = await createTestCertificate({ commonName: 'Stranger', purpose: 'authority' });
    await writeFile(world.at('stranger.pem'), toPem([stranger.certificate]));
    const trusting = (roots: string): Promise<void> =>
      writeFile(
        world.site.builderConfig,
        `${plain}  roots: ${roots}\n  timestampRoots: tsa.pem\n`.replace(
          /^(state: .*\n)((?:  .*\n)+)/m,
          '$2$1',
        ),
      );
    await trusting('stranger.pem');
    assertRefused(await world.wait(request), 3, 'signed-program-untrusted', /do not use the file/);
    assert.ok(!(await downloaded()).some((name) => name.includes('rooted')));
    await trusting('ca.pem');
    const taken = await world.wait(request);
    await writeFile(world.site.builderConfig, plain);
    assert.equal(taken.status, 0, taken.stderr);
  });

  it('digest-differs: reports the refusal of a zip that was replaced between pin and fetch', async () => {
    const request = await host.request('before.zip');
    await writeFile(world.exchange('incoming', 'before.zip'), await host.zip(4444));
    await world.poll();
    assertRefused(await world.wait(request), 3, 'digest-differs', /upload the very bytes/);
    assert.match(await world.git('log', '-1', '--format=%s', 'signed'), /^rejected before\.zip: /);
    assert.ok(!existsSync(world.exchange('signed', 'before.zip')));
  });
});

describe('wait refuses a receipt', () => {
  let request: string;
  let genuine: string;
  let sealed: { main: string; signed: string };
  /** A request that the signer has not seen: the host invents any answer to it. */
  before(async () => {
    genuine = await answered('genuine.zip');
    sealed = { main: await world.git('rev-parse', 'main'), signed: await world.git('rev-parse', 'signed') };
    request = await host.request('forged.zip');
  });

  /** Puts a receipt on the branch in place of what was there, and waits. */
  async function waitFor(make: () => Promise<string>): Promise<Ended> {
    await host.set('signed', sealed.signed);
    await make();
    const ended = await world.wait(request);
    await host.set('signed', sealed.signed);
    return ended;
  }

  const forged = async (key: string | null): Promise<string> => {
    const text = (await world.git('show', 'signed:receipt.json')).replaceAll(genuine, request);
    return host.commit({
      branch: 'signed',
      parents: [sealed.signed, request],
      files: { 'receipt.json': text },
      key,
      message: `signed forged.zip\n\nRequest: ${request}\nOutcome: signed\n`,
    });
  };

  it('commit-unsigned: without a signature', async () =>
    assertRefused(await waitFor(() => forged(null)), 3, 'commit-unsigned'));

  it('commit-signer-unknown: signed by another builder, who may only request', async () => {
    const ended = await waitFor(() => forged(world.at('keys', 'builder_ed25519')));
    assertRefused(ended, 3, 'commit-signer-unknown');
    assert.match(ended.stderr, /the receipt: commit \S+ is signed by .*\n {2}.*confirms a new receipt key/);
    assert.doesNotMatch(ended.stderr, /may request signatures/);
  });

  it('commit-signature-wrong: of another request, with another parent under the old signature', async () =>
    assertRefused(
      await waitFor(async () => {
        const raw = await host.show(sealed.signed);
        const text = (await world.git('show', 'signed:receipt.json')).replaceAll(genuine, request);
        const other = await host.commit({
          branch: null,
          parents: [sealed.signed],
          files: { 'receipt.json': text },
        });
        const [, tree = ''] = /^tree (\S+)/.exec(await host.show(other)) ?? [];
        return host.raw(
          raw.replace(/^tree \S+/, `tree ${tree}`).replace(`parent ${genuine}`, `parent ${request}`),
          'signed',
        );
      }),
      3,
      'commit-signature-wrong',
      /altered after it was signed/,
    ));

  it('receipt-mismatch: whose parent is the request but whose content names another', async () =>
    assertRefused(
      await waitFor(async () => {
        const raw = await host.show(sealed.signed);
        return host.raw(raw.replace(`parent ${genuine}`, `parent ${request}`), 'signed');
      }),
      3,
      'receipt-mismatch',
    ));

  it('receipt-other-file: signed by the right key, for a file that the request does not name', async () =>
    assertRefused(await waitFor(() => receiptBySigner((text) => text)), 3, 'receipt-other-file'));

  it('receipt-other-bytes: signed by the right key, for the right name and other bytes', async () =>
    assertRefused(
      await waitFor(() => receiptBySigner((text) => text.replaceAll('genuine.zip', 'forged.zip'))),
      3,
      'receipt-other-bytes',
      /do not use the signed file/,
    ));

  it('receipt-repeats-other: signed by the right key, and claims to repeat another request', async () =>
    assertRefused(
      await waitFor(() =>
        receiptBySigner((text) => {
          const { certificate: _certificate, ...receipt } = JSON.parse(text) as Record<string, unknown>;
          return JSON.stringify({
            ...receipt,
            outcome: 'rejected',
            reason: { code: 'request-repeated', message: 'it was answered before' },
            repeats: { request: genuine, receipt: sealed.signed },
            files: [],
          });
        }),
      ),
      3,
      'receipt-repeats-other',
    ));

  /** What a thief of the receipt key could claim. */
  async function receiptBySigner(change: (text: string) => string): Promise<string> {
    const text = change((await world.git('show', 'signed:receipt.json')).replaceAll(genuine, request));
    return host.commit({
      branch: 'signed',
      parents: [sealed.signed, request],
      files: { 'receipt.json': text },
      key: world.at('keys', 'receipts_ed25519'),
    });
  }

  it('and accepts the right one when the signer answers', async () => {
    await host.set('signed', sealed.signed);
    await world.poll();
    assert.equal((await world.wait(request)).status, 0);
  });
});

describe('receipt.json', () => {
  it('matches docs/receipt.schema.json for every outcome, according to ajv', async () => {
    const refused = await host.request('refused.zip', { key: null });
    const missing = await host.commit({ files: { zipname: `${'a'.repeat(64)}  missing.zip\n` } });
    await world.poll();
    const schema = JSON.parse(
      await readFile(new URL('../../../docs/receipt.schema.json', import.meta.url), 'utf8'),
    ) as object;
    const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(schema);
    const outcomes = new Set<string>();
    const lines = (await world.git('rev-list', '--first-parent', '--parents', 'signed')).split('\n');
    for (const line of lines) {
      const [commit = '', , request] = line.split(' ');
      if (request === undefined) continue;
      const receipt = JSON.parse(await world.git('show', `${commit}:receipt.json`)) as { outcome: string };
      assert.ok(validate(receipt), JSON.stringify(validate.errors));
      outcomes.add(receipt.outcome);
    }
    assert.ok(outcomes.has('signed') && outcomes.has('rejected'));
    assert.equal((await receiptFor(world, refused)).outcome, 'rejected');
    assert.notEqual((await receiptFor(world, missing)).outcome, 'signed');
    assert.equal(validate({ ...(await receiptFor(world, refused)), outcome: 'eaten' }), false);
  });

  it('has a policy beside it in every commit of the signer', async () => {
    for (const commit of (await world.git('rev-list', '--first-parent', 'signed')).split('\n'))
      assert.match(await world.git('ls-tree', '--name-only', commit), /^policy\.json$/m);
  });
});

describe('hostile text in a receipt', () => {
  it('is made visible on the terminal of the waiting builder', async () => {
    const request = await host.request('shown.zip');
    await world.poll();
    const text = JSON.parse(await world.git('show', 'signed:receipt.json')) as Record<string, unknown>;
    const { certificate: _c, zlib: _z, ...rest } = text;
    const evil = '\u001b[2J\u009b31m\u202ereversed';
    await host.set('signed', await world.git('rev-parse', 'signed~1'));
    await host.commit({
      branch: 'signed',
      parents: [await world.git('rev-parse', 'signed'), request],
      files: {
        'receipt.json': JSON.stringify({
          ...rest,
          outcome: 'rejected',
          reason: { code: 'zip-bad', message: `entry ${evil}`, hint: `try ${evil}` },
          files: [],
        }),
      },
      key: world.at('keys', 'receipts_ed25519'),
    });
    const ended = await world.wait(request);
    assert.equal(ended.status, 3);
    assert.match(ended.stderr, /entry \\u\{1b\}\[2J\\u\{9b\}31m\\u\{202e\}reversed \[zip-bad\]/);
    const hidden = Array.from(ended.stderr).filter((each) => each !== '\n' && /[\p{Cc}\p{Cf}]/u.test(each));
    assert.deepEqual(hidden, []);
  });
});
