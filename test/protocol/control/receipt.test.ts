import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { verifyCommitSignature } from '../../../src/lib/git/commit-signature.ts';
import { objectId, serializeTree } from '../../../src/lib/git/objects.ts';
import {
  answeredRequests,
  findReceipt,
  receiptsSince,
} from '../../../src/protocol/control/receipt-history.ts';
import {
  appendReceipts,
  createReceiptCommit,
  createReceiptRoot,
  openReceipts,
  type ReceiptWriter,
} from '../../../src/protocol/control/write-receipt.ts';
import { readReceipt } from '../../../src/protocol/control/receipt.ts';
import { readReceiptsOwner } from '../../../src/protocol/control/receipts-owner.ts';
import { receiptJsonSchema, type Receipt } from '../../../src/protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { writeCommit } from '../../../src/protocol/control/write-commit.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { git, hash, out, TestControl, type TestKey } from './repositories.ts';

const at = new Date('2026-01-02T03:04:05Z');
const time = at.toISOString();
const unsigned = sha256Hex('unsigned program');
const p7 = Buffer.from('a detached signature');

let world: TestControl;
let repository: ControlRepository;
let key: TestKey;
let writer: ReceiptWriter;
let request: string;

before(async () => {
  world = await TestControl.create();
  repository = await world.repository();
  key = await world.key('signer');
  writer = { signer: key.signer, identity: { name: 'Signer One', email: 'signer' } };
  request = await world.commit('Sign\n', { zipname: 'a.zip\n' });
  await world.push();
  await repository.fetch();
});
after(() => world.close());

function signedReceipt(id = request, changes: Partial<Receipt> = {}): Receipt {
  return {
    version: 2,
    signpipe: '0.1.0',
    signer: { name: 'Signer One', key: 'SHA256:def' },
    request: {
      id,
      signer: 'alice',
      key: 'SHA256:abc',
      requestedAt: time,
      sourceRevision: 'v1',
      channel: 'default',
    },
    outcome: 'signed',
    test: false,
    certificate: {
      subject: 'CN=Example',
      issuer: 'CN=Example CA',
      serial: '01',
      sha256: hash('c'),
      notBefore: time,
      notAfter: time,
    },
    identity: { subject: 'CN=Example', issuer: 'CN=Example CA' },
    vouches: [],
    files: [
      {
        input: { name: 'a.zip', size: 1000, sha256: hash('1') },
        output: { name: 'a.zip', size: 1100, sha256: hash('2') },
        entries: 5012,
        signed: [
          {
            path: 'bin/a.exe',
            inside: [],
            format: 'pe',
            scheme: 'authenticode',
            digest: { algorithm: 'sha256', value: hash('4') },
            before: { size: 16, sha256: unsigned },
            after: { size: 36, sha256: hash('3') },
            authenticode: { algorithm: 'sha256', digest: hash('4') },
            timestamp: { time, authority: 'CN=TSA', url: 'http://tsa.example.org' },
            signature: `signatures/${unsigned}.p7`,
          },
        ],
        kept: [{ path: 'bin/vendor.dll', signer: 'CN=Vendor' }],
        attachments: [],
        seen: 'whole',
      },
    ],
    times: { requested: time, seen: time, fetched: time, signed: time, delivered: time, answered: time },
    ...changes,
  };
}

function rejectedReceipt(message: string, name = 'a.zip'): Receipt {
  const { certificate: _, ...rest } = signedReceipt();
  return {
    ...rest,
    outcome: 'rejected',
    reason: { code: 'pin-missing', message, hint: 'pin it with sha256sum' },
    files: [{ input: { name }, entries: 0, signed: [], kept: [] }],
  };
}

const signatures = new Map([[`${unsigned}.p7`, p7]]);
const write = (
  receipt: Receipt,
  parent: string,
  given = receipt.outcome === 'signed' ? signatures : new Map<string, Buffer>(),
): Promise<string> => createReceiptCommit(repository, writer, { parent, receipt, signatures: given, at });

describe('the receipt branch', () => {
  it('begins with the owner’s commit, and grows by one receipt per request, one or several in a push', async () => {
    const opened = await openReceipts(repository, writer, at);
    assert.equal(opened.result, 'pushed');
    const first = await appendReceipts(repository, writer, opened.id, [
      { receipt: signedReceipt(), signatures, at },
    ]);
    assert.equal(first.result, 'pushed');
    const later = [
      await world.commit('Sign more\n', { zipname: 'b.zip\n' }),
      await world.commit('Sign still more\n', { zipname: 'c.zip\n' }),
    ];
    await world.push();
    await repository.fetch();
    const [one = ''] = first.ids;
    const both = await appendReceipts(
      repository,
      writer,
      one,
      later.map((id) => ({
        receipt: { ...rejectedReceipt('not pinned'), request: { ...signedReceipt().request, id } },
        signatures: new Map(),
        at,
      })),
    );
    assert.equal(both.result, 'pushed');
    const [two = '', three = ''] = both.ids;
    const [second = '', third = ''] = later;
    assert.equal(
      await out(world.remote, 'log', '--first-parent', '--format=%s', 'signed'),
      'rejected a.zip: not pinned\nrejected a.zip: not pinned\nsigned a.zip: 1 of 5012 files\nreceipts of Signer One',
    );
    assert.equal(await out(world.remote, 'rev-parse', 'signed^2'), third);
    assert.equal(await out(world.remote, 'fsck', '--strict'), '');
    assert.equal(await out(repository.path, 'fsck', '--strict', '--no-dangling'), '');
    assert.deepEqual(await receiptsSince(repository, three, null), [
      { id: opened.id, request: null },
      { id: one, request },
      { id: two, request: second },
      { id: three, request: third },
    ]);
    assert.deepEqual(await receiptsSince(repository, three, two), [{ id: three, request: third }]);
    assert.deepEqual(
      await answeredRequests(repository, three),
      new Map([
        [request, one],
        [second, two],
        [third, three],
      ]),
    );
    assert.equal((await findReceipt(repository, three, request))?.id, one);
    assert.equal(await findReceipt(repository, three, '0'.repeat(40)), null);
    const { owner, commit } = await readReceiptsOwner(repository, three);
    assert.equal(commit.id, opened.id);
    assert.deepEqual(owner, {
      version: 1,
      name: 'Signer One',
      publicKey: key.allowed.split(' ').slice(1, 3).join(' '),
      fingerprint: key.signer.fingerprint,
      created: time,
    });
  });

  it('reports a lost race, and stays as it is', async () => {
    const tip = (await repository.fetch()).receipts ?? '';
    assert.equal((await openReceipts(repository, writer, new Date(0))).result, 'lost-race');
    const before = (await receiptsSince(repository, tip, null)).at(-2)?.id ?? '';
    const late = [{ receipt: signedReceipt(), signatures, at }];
    assert.equal((await appendReceipts(repository, writer, before, late)).result, 'lost-race');
    assert.equal(await out(world.remote, 'rev-parse', 'signed'), tip);
  });
});

describe('a receipt commit', () => {
  let root: string;
  before(async () => {
    root = await createReceiptRoot(repository, writer, at);
  });

  it('is the same for the same input', async () => {
    assert.equal(await write(signedReceipt(), root), await write(signedReceipt(), root));
  });

  it('holds receipt.json, SHA256SUMS and the signatures', async () => {
    const id = await write(signedReceipt(), root);
    assert.deepEqual(
      (await out(repository.path, 'ls-tree', '-r', '--format=%(objectmode) %(path)', id)).split('\n'),
      ['100644 SHA256SUMS', '100644 receipt.json', `100644 signatures/${unsigned}.p7`],
    );
    assert.equal(await out(repository.path, 'show', `${id}:SHA256SUMS`), `${hash('2')}  a.zip`);
    assert.deepEqual(await out(repository.path, 'log', '--format=%P', '-1', id), `${root} ${request}`);
    const found = await readReceipt(repository, id);
    assert.deepEqual(found.receipt, signedReceipt());
    assert.deepEqual(await found.signature({ signature: `signatures/${unsigned}.p7` }), p7);
    const missing = { signature: `signatures/${hash('9')}.p7` };
    await assert.rejects(found.signature(missing), { code: 'receipt-no-signature' });
  });

  it('has its trailers where git interpret-trailers finds them', async () => {
    const id = await write(signedReceipt(), root);
    const message = join(world.folder, 'message');
    await writeFile(message, (await git(repository.path, ['log', '-1', '--format=%B', id])).stdout);
    assert.deepEqual((await out(world.folder, 'interpret-trailers', '--parse', message)).split('\n'), [
      `Request: ${request}`,
      'Outcome: signed',
      `Input-SHA256: ${hash('1')}  a.zip`,
      `Output-SHA256: ${hash('2')}  a.zip`,
      `Certificate-SHA256: ${hash('c')}`,
      `Timestamp: ${time} http://tsa.example.org`,
    ]);
  });

  it('is verified by git verify-commit and by us', async () => {
    const id = await write(signedReceipt(), root);
    const allowed = join(world.folder, 'allowed_signers');
    await writeFile(allowed, `${key.allowed}\n`);
    const config = ['-c', 'gpg.format=ssh', '-c', `gpg.ssh.allowedSignersFile=${allowed}`];
    const { stderr } = await git(repository.path, [...config, 'verify-commit', '-v', id]);
    assert.match(stderr, /Good "git" signature for signer with ED25519 key/);
    const { commit } = await readReceipt(repository, id);
    assert.equal(verifyCommitSignature(commit.raw, TestControl.allowed(key)).principal, 'signer');
  });

  it('says TEST for a test certificate, and counts several files together', async () => {
    const [file] = signedReceipt().files;
    assert(file);
    const unchanged = { output: { name: 'a.zip', size: 1000, sha256: hash('1') }, signed: [], entries: 3 };
    const files = [file, { ...file, ...unchanged }];
    const id = await write(signedReceipt(request, { test: true, files }), root);
    assert.equal(
      await out(repository.path, 'log', '-1', '--format=%s', id),
      'TEST signed a.zip and 1 more: 1 of 5015 files',
    );
  });

  it('says checksummed if nothing was signed, and names no certificate', async () => {
    const [file] = signedReceipt().files;
    assert(file);
    const { certificate: _, identity: __, ...rest } = signedReceipt();
    const output = { name: 'a.tar.xz', size: 1000, sha256: hash('1') };
    const files = [{ ...file, input: output, output, signed: [], entries: 1 }];
    const id = await write({ ...rest, files }, root, new Map());
    assert.equal(await out(repository.path, 'log', '-1', '--format=%s', id), 'checksummed a.tar.xz');
  });

  it('receipt-unsound: nothing was signed in a file that was changed', async () => {
    const [file] = signedReceipt().files;
    assert(file);
    const files = [file, { ...file, signed: [] }];
    await assert.rejects(write(signedReceipt(request, { files }), root), { code: 'receipt-unsound' });
  });

  it('escapes hostile text, which cannot add trailers', async () => {
    const evil = 'no \u001b[2J\u202e\n\nOutcome: signed\nRequest: 0';
    const id = await write(rejectedReceipt(evil, 'b.zip'), root);
    const { stdout } = await git(repository.path, ['log', '-1', '--format=%B', id]);
    for (const hidden of ['\u001b', '\u202e']) assert.equal(stdout.includes(hidden), false);
    assert.match(stdout, /^rejected b.zip: no \\u\{1b\}\[2J\\u\{202e\}\\n\\nOutcome: signed\\nRequest: 0\n/);
    const trailers = await out(
      repository.path,
      'log',
      '-1',
      '--format=%(trailers:key=Outcome,valueonly)',
      id,
    );
    assert.equal(trailers, 'rejected');
    assert.equal((await readReceipt(repository, id)).receipt.reason?.message, evil);
  });

  it('also answers a request whose zipname cannot be read', async () => {
    const id = await write({ ...rejectedReceipt('zipname is not UTF-8'), files: [] }, root);
    assert.match(
      await out(repository.path, 'log', '-1', '--format=%s', id),
      /^rejected request [0-9a-f]{12}: zipname/,
    );
  });

  it('receipt-unsound: one that contradicts itself is not written', async () => {
    const [file] = signedReceipt().files;
    const [entry] = file?.signed ?? [];
    assert(file && entry);
    const { output: _, ...noOutput } = file;
    const { certificate: __, ...noCertificate } = signedReceipt();
    const wrong: Receipt[] = [
      noCertificate,
      signedReceipt(request, { files: [] }),
      signedReceipt(request, { files: [noOutput] }),
      signedReceipt(request, { files: [{ ...file, signed: [{ ...entry, timestamp: null }] }] }),
      signedReceipt(request, {
        files: [{ ...file, signed: [{ ...entry, signature: `signatures/${hash('f')}.p7` }] }],
      }),
      signedReceipt(request, {
        files: [{ ...file, signed: [{ ...entry, digest: { algorithm: 'sha384', value: hash('4') } }] }],
      }),
      signedReceipt(request, { outcome: 'failed' }),
    ];
    for (const receipt of wrong)
      await assert.rejects(write(receipt, root, signatures), { code: 'receipt-unsound', kind: 'local' });
    await assert.rejects(write(signedReceipt(), root, new Map()), { code: 'receipt-unsound' });
  });
});

/** A commit with the given files, by an attacker who can write the branch. */
async function forged(files: Record<string, string>, parents: string[]): Promise<string> {
  const blobs = Object.entries(files).map(([name, text]) => ({ name, content: Buffer.from(text) }));
  const tree = serializeTree(
    blobs.map(({ name, content }) => ({ mode: '100644', name, id: objectId('blob', content) })),
  );
  return writeCommit(
    repository,
    [...blobs.map(({ content }) => ({ type: 'blob' as const, content })), { type: 'tree', content: tree }],
    { tree: objectId('tree', tree), parents, identity: writer.identity, at, message: 'forged' },
    null,
  );
}

/** A commit with this `receipt.json` is read as a receipt. */
async function isRead(written: unknown, expected: Receipt): Promise<void> {
  const root = await createReceiptRoot(repository, writer, at);
  const id = await forged({ 'receipt.json': JSON.stringify(written) }, [root, request]);
  assert.deepEqual((await readReceipt(repository, id)).receipt, expected);
}

describe('a receipt from outside is refused', () => {
  it('receipt-malformed: no receipt.json, no JSON, not a receipt, no second parent', async () => {
    const root = await createReceiptRoot(repository, writer, at);
    const whole = JSON.stringify(signedReceipt());
    for (const [files, parents] of [
      [{ other: 'x' }, [root, request]],
      [{ 'receipt.json': '{' }, [root, request]],
      [{ 'receipt.json': '{"version":1}' }, [root, request]],
      [{ 'receipt.json': whole.replace('"version":2', '"version":3') }, [root, request]],
      [{ 'receipt.json': whole.replace('"size":1000', '"size":-1') }, [root, request]],
      [{ 'receipt.json': whole.replace('signatures/', 'signatures/../') }, [root, request]],
      [{ 'receipt.json': whole }, [root]],
    ] as [Record<string, string>, string[]][])
      await assert.rejects(readReceipt(repository, await forged(files, parents)), {
        code: 'receipt-malformed',
        kind: 'invalid',
      });
  });

  it('receipt-mismatch: it is about another request than its second parent', async () => {
    const root = await createReceiptRoot(repository, writer, at);
    const id = await forged({ 'receipt.json': JSON.stringify(signedReceipt('1'.repeat(40))) }, [
      root,
      request,
    ]);
    await assert.rejects(readReceipt(repository, id), { code: 'receipt-mismatch' });
  });

  it('receipts-root: a branch that does not name its owner', async () => {
    await assert.rejects(readReceiptsOwner(repository, request), { code: 'receipts-root' });
  });

  it('but one of version 1, as earlier signers wrote it, is read unchanged', async () => {
    const earlier: Receipt = { ...signedReceipt(), version: 1 };
    await isRead(earlier, earlier);
  });

  it('but one of version 2 without formats, as earlier signers wrote it, is read unchanged', async () => {
    const text = await readFile(
      new URL('../../fixtures/receipt-without-formats.json', import.meta.url),
      'utf8',
    );
    const earlier = JSON.parse(text) as Receipt;
    earlier.request.id = request;
    await isRead(earlier, earlier);
  });

  it('but one with formats, schemes and attachments of a later version is read', async () => {
    const later = signedReceipt();
    for (const file of later.files) {
      file.attachments = [{ name: 'a.zip.sbom', kind: 'sbom', size: 1, sha256: hash('5') }];
      for (const entry of file.signed)
        Object.assign(entry, { format: 'dmg', scheme: 'apple', inside: ['b.msi', 'c.cab'] });
    }
    await isRead(later, later);
  });

  it('but one with keys of a later version is read without them', async () => {
    await isRead({ ...signedReceipt(), mood: 'good' }, signedReceipt());
  });
});

describe('docs/receipt.schema.json', () => {
  const path = new URL('../../../docs/receipt.schema.json', import.meta.url);

  it('is the schema in the code', async () => {
    assert.equal(await readFile(path, 'utf8'), receiptJsonSchema());
  });

  it('accepts real receipts and refuses broken ones, according to ajv', async () => {
    const validate = new Ajv2020({ validateFormats: false }).compile(
      JSON.parse(await readFile(path, 'utf8')),
    );
    const root = await createReceiptRoot(repository, writer, at);
    for (const receipt of [signedReceipt(), rejectedReceipt('no'), signedReceipt(request, { version: 1 })]) {
      const text = await out(repository.path, 'show', `${await write(receipt, root)}:receipt.json`);
      assert.equal(validate(JSON.parse(text)), true, JSON.stringify(validate.errors));
    }
    for (const broken of [{}, { ...signedReceipt(), version: 3 }, { ...signedReceipt(), outcome: 'maybe' }])
      assert.equal(validate(broken), false);
  });
});
