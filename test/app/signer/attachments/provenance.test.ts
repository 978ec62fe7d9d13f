import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setEnvironment } from '../../../environment.ts';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { signedIdentity } from '../../../../src/lib/git/commit-signature.ts';
import { sha256Hex } from '../../../../src/lib/bytes/hash.ts';
import type { SigningStatement } from '../../../../src/engine/provenance/signing-statement.ts';
import { loadSignerConfig } from '../../../../src/app/config/signer.ts';
import { checkReceiptsKey } from '../../../../src/app/site/doctor/check-keys.ts';
import { attach } from '../../../../src/app/signer/attachments/attachments.ts';
import type { JournaledOutput } from '../../../../src/app/signer/state/journal.ts';
import { readRequest } from '../../../../src/protocol/control/request.ts';
import { openReceiptWriter } from '../../../../src/app/signer/context/signer-context.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { sshString, uint32 } from '../../../../src/lib/sshsig/ssh-wire.ts';
import { signpipe, World, type Ended } from '../../../world/site.ts';
import { SoftwareSecurityKey } from '../../../lib/sshsig/ssh-world.ts';
import { program, sha256, soundZip, TestSigner } from '../test-signer.ts';

const LINES = 'provenance: true\n';
const keysOf = (signer: TestSigner, name: string): string => signer.world.at('keys', name);

interface EnvelopeJson {
  payload: string;
}

const statementsIn = (bytes: Buffer): SigningStatement[] =>
  bytes
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .map((line) => Buffer.from((JSON.parse(line) as EnvelopeJson).payload, 'base64').toString())
    .map((text) => JSON.parse(text) as SigningStatement);

describe('a channel with provenance', () => {
  let signer: TestSigner;
  before(async () => {
    signer = await TestSigner.open({ ssh: false, lines: LINES });
  });
  after(() => signer.close());

  const signed = (...names: string[]): string => signer.world.exchange('signed', ...names);
  const verify = (name: string, ...more: string[]): Promise<Ended> => {
    const args = ['verify', signed(name), '--provenance', signed(`${name}.intoto.jsonl`)];
    return signpipe([...args, '--receipt-signers', keysOf(signer, 'receipt_signers'), ...more]);
  };

  it('delivers NAME.intoto.jsonl beside the file, which verify accepts', async () => {
    const zip = soundZip(1);
    const request = await signer.send('one.zip', zip, { message: 'Sign\n\nSource-Revision: v1.2.3\n' });
    await signer.signs(request);
    const ended = await verify('one.zip', '--json');
    assert.equal(ended.status, 0, ended.stdout + ended.stderr);
    const { receipt, commit } = await signer.receiptFor(request);
    const [statement] = statementsIn(await readFile(signed('one.zip.intoto.jsonl')));
    assert.ok(statement);
    assert.deepEqual(statement.subject, [
      { name: 'one.zip', digest: { sha256: receipt.files[0]?.output?.sha256 } },
    ]);
    const { predicate } = statement;
    assert.deepEqual(predicate.input, { name: 'one.zip', size: zip.length, digest: { sha256: sha256(zip) } });
    const [app] = predicate.programs;
    assert.equal(app?.path, 'product/app.exe');
    assert.deepEqual(app.before.digest, { sha256: sha256(program(1)) });
    assert.equal(app.timestamp?.time, receipt.files[0]?.signed[0]?.timestamp?.time);
    assert.equal(predicate.request.id, request);
    assert.equal(predicate.request.sourceRevision, 'v1.2.3');
    assert.deepEqual(predicate.request.requester, {
      principal: receipt.request.signer,
      key: receipt.request.key,
    });
    const raw = await signer.context.repository.readCommit(request);
    assert.equal(predicate.request.identity, signedIdentity(raw.raw));
    assert.deepEqual(predicate.request.roots, [
      (await signer.world.git('rev-list', '--max-parents=0', 'main')).trim(),
    ]);
    const policy = await signer.world.git('show', `${commit}:policy.json`);
    assert.equal(predicate.policy.digest.sha256, sha256Hex(`${policy.trimEnd()}\n`));
    assert.deepEqual(predicate.certificate, receipt.certificate);
    assert.deepEqual(predicate.signer.key, receipt.signer?.key);
  });

  it('lists it in the receipt, which holds its bytes', async () => {
    const request = await signer.send('listed.zip', soundZip(2));
    await signer.signs(request);
    const { receipt, commit } = await signer.receiptFor(request);
    const [attachment] = receipt.files[0]?.attachments ?? [];
    const delivered = await readFile(signed('listed.zip.intoto.jsonl'));
    assert.deepEqual(attachment, {
      name: 'listed.zip.intoto.jsonl',
      kind: 'provenance',
      size: delivered.length,
      sha256: sha256(delivered),
    });
    const stored = await signer.world.git('show', `${commit}:attachments/${sha256(delivered)}`);
    assert.equal(stored.trimEnd(), delivered.toString().trimEnd());
  });

  it('is as docs/provenance.schema.json describes it, according to ajv', async () => {
    const path = new URL('../../../../docs/provenance.schema.json', import.meta.url);
    const validate = new Ajv2020({ validateFormats: false }).compile(
      JSON.parse(await readFile(path, 'utf8')) as object,
    );
    const statements = statementsIn(await readFile(signed('one.zip.intoto.jsonl')));
    assert.equal(statements.length, 2);
    for (const statement of statements)
      assert.equal(validate(statement), true, JSON.stringify(validate.errors));
  });

  it('makes one for each file of a request', async () => {
    await signer.put('a/three.zip', soundZip(3));
    await signer.put('four.exe', program(4));
    const request = await signer.ask(
      `${sha256(soundZip(3))}  a/three.zip\n${sha256(program(4))}  four.exe\n`,
    );
    await signer.signs(request);
    for (const name of ['a/three.zip', 'four.exe']) {
      const ended = await verify(name);
      assert.equal(ended.status, 0, ended.stdout + ended.stderr);
      assert.match(ended.stdout, /1 of 1 program: with the signature removed, the digest is that stated/);
    }
    const args = ['verify', signed('four.exe'), '--provenance', signed('a/three.zip.intoto.jsonl')];
    const swapped = await signpipe([...args, '--receipt-signers', keysOf(signer, 'receipt_signers')]);
    assert.equal(swapped.status, 3);
    assert.match(swapped.stdout, /\[provenance-other-file\]/);
  });

  it('fetches a zip whole that pins single programs, and says in policy.json that it does', async () => {
    const zip = soundZip(5);
    await signer.put('sparse.zip', zip);
    const request = await signer.ask(`${sha256(program(5))}  sparse.zip!/product/app.exe\n`);
    await signer.signs(request);
    const { receipt, commit } = await signer.receiptFor(request);
    assert.equal(receipt.files[0]?.seen, 'whole');
    const policy = JSON.parse(await signer.world.git('show', `${commit}:policy.json`)) as {
      channels: Record<string, { provenance?: boolean; sparse?: boolean }>;
    };
    assert.equal(policy.channels['default']?.provenance, true);
    assert.equal(policy.channels['default'].sparse, false);
    const [, summary] = statementsIn(await readFile(signed('sparse.zip.intoto.jsonl')));
    assert.ok(summary);
    const { verifiedLevels } = summary.predicate as unknown as { verifiedLevels: string[] };
    assert.deepEqual(verifiedLevels, ['SLSA_BUILD_LEVEL_0', 'SIGNPIPE_REQUEST_SIGNED']);
  });

  it('delivers the same bytes after a crash before it is delivered', async () => {
    const request = await signer.send('crash.zip', soundZip(6));
    const { exchange } = signer.context;
    const deliver = exchange.deliver.bind(exchange);
    let planned = '';
    exchange.deliver = (content, path, options) => {
      if (!path.endsWith('.intoto.jsonl')) return deliver(content, path, options);
      planned = options.sha256;
      // An alarm stops the signer, as a crash does.
      throw new SignpipeError('alarm', 'crash', 'stopped here');
    };
    await assert.rejects(signer.poll(), { code: 'crash' });
    await signer.restart();
    await signer.signs(request);
    assert.equal(sha256(await readFile(signed('crash.zip.intoto.jsonl'))), planned);
    assert.equal((await verify('crash.zip')).status, 0);
    await signer.assertIdle();
  });

  it('attachment-too-large: for more programs than readers accept', async () => {
    const request = await signer.send('many.zip', soundZip(8));
    await signer.signs(request);
    const { receipt } = await signer.receiptFor(request);
    const [file] = receipt.files;
    const [entry] = file?.signed ?? [];
    const channel = signer.context.channels.get('default');
    assert.ok(file && entry && channel);
    const signedEntries = Array.from({ length: 25_000 }, () => entry);
    const work = {
      channel,
      receipt: { ...receipt, files: [{ ...file, signed: signedEntries }] },
      request: await readRequest(signer.context.repository, request),
    };
    const [output] = [{ name: file.input.name }] as unknown as JournaledOutput[];
    assert.ok(output);
    await assert.rejects(attach(signer.context, work, [output]), {
      code: 'attachment-too-large',
      kind: 'not-allowed',
    });
  });

  it('is found by doctor to be possible', async () => {
    const config = await loadSignerConfig(signer.world.site.signerConfig);
    assert.match(JSON.stringify(await checkReceiptsKey(config)), /signs receipts and provenance/);
  });

  it('is downloaded by wait, and audit finds nothing wrong', async () => {
    const request = await signer.send('waited.zip', soundZip(7));
    await signer.signs(request);
    const ended = await signer.world.wait(request);
    assert.equal(ended.status, 0, ended.stderr);
    const out = signer.world.at('out');
    const args = ['verify', join(out, 'waited.zip'), '--provenance', join(out, 'waited.zip.intoto.jsonl')];
    const verified = await signpipe([...args, '--receipt-signers', keysOf(signer, 'receipt_signers')]);
    assert.equal(verified.status, 0, verified.stdout);
    const allowed = ['--allowed-signers', keysOf(signer, 'audit_signers')];
    const audit = await signpipe(['audit', '--repo', signer.world.control, ...allowed]);
    assert.equal(audit.status, 0, audit.stdout + audit.stderr);
  });
});

/** An agent that lists this key, and fails the test if it has to sign. */
function agentWith({ blob }: SoftwareSecurityKey): Server {
  return createServer((socket) => {
    socket.once('data', (request: Buffer) => {
      assert.equal(request[4], 11);
      const keys = Buffer.concat([uint32(1), sshString(blob), sshString('comment')]);
      socket.write(sshString(Buffer.concat([Buffer.of(12), keys])));
    });
  });
}

describe('a receipt key that cannot sign provenance', () => {
  let world: World;
  let server: Server;
  let resetEnvironment: () => void;
  before(async () => {
    world = await World.start({ ssh: false });
    const key = new SoftwareSecurityKey('ed25519');
    server = agentWith(key).listen(world.at('agent'));
    await writeFile(world.at('sk.pub'), key.line);
    resetEnvironment = setEnvironment({ SSH_AUTH_SOCK: world.at('agent') });
    await world.reconfigure((text) => text.replace('keys/receipts_ed25519', world.at('sk.pub')));
  });
  after(async () => {
    server.close();
    resetEnvironment();
    await world.stop();
  });
  const open = async (): Promise<object> =>
    openReceiptWriter(await loadSignerConfig(world.site.signerConfig), assert.fail);

  it('is no fault without provenance', async () => {
    await open();
  });

  it('ssh-key-type: a security key, before anything is signed, and in doctor', async () => {
    await world.reconfigure((text) => `${text}${LINES}`);
    await assert.rejects(open(), { code: 'ssh-key-type', kind: 'usage' });
    const config = await loadSignerConfig(world.site.signerConfig);
    await assert.rejects(checkReceiptsKey(config), { code: 'ssh-key-type' });
  });

  it('is no fault if every channel does without', async () => {
    await world.reconfigure((text) => `${text}channels: { default: { provenance: false } }\n`);
    await open();
  });
});

describe('a channel that delivers what cannot be signed', () => {
  let signer: TestSigner;
  before(async () => {
    const change = (text: string): string => text.replace(/^signing:\n/m, 'signing:\n  others: checksum\n');
    signer = await TestSigner.open({ ssh: false, change, lines: `checksums: {}\n${LINES}` });
  });
  after(() => signer.close());

  it('states of such a file that nothing in it was signed', async () => {
    const request = await signer.send('source.tar.xz', Buffer.from('fd377a585a0000', 'hex'));
    await signer.signs(request);
    const path = signer.world.exchange('signed', 'source.tar.xz');
    const args = ['verify', path, '--provenance', `${path}.intoto.jsonl`];
    const ended = await signpipe([...args, '--receipt-signers', keysOf(signer, 'receipt_signers')]);
    assert.equal(ended.status, 0, ended.stdout + ended.stderr);
    assert.match(ended.stdout, /good: as its provenance says/);
    const [statement] = statementsIn(await readFile(`${path}.intoto.jsonl`));
    assert.deepEqual(statement?.predicate.programs, []);
    assert.equal(statement.predicate.certificate, undefined);
    const allowed = ['--allowed-signers', keysOf(signer, 'audit_signers')];
    const audit = await signpipe(['audit', '--repo', signer.world.control, ...allowed]);
    assert.equal(audit.status, 0, audit.stdout + audit.stderr);
  });
});
