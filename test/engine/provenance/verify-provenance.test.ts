import assert from 'node:assert/strict';
import { copyFile, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { DEFAULT_LIMITS } from '../../../src/lib/zip/limits.ts';
import { createZip } from '../../../src/lib/zip/create-zip.ts';
import { sha256OfFile } from '../../../src/lib/bytes/hash.ts';
import { preAuthEncoding, signEnvelope } from '../../../src/lib/dsse/envelope.ts';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { loadSshSigner, type SshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { verifyFile, type FileReport } from '../../../src/engine/artifact/verify-file.ts';
import { provenanceJsonSchema } from '../../../src/engine/provenance/json-schema.ts';
import type { SigningStatement } from '../../../src/engine/provenance/signing-statement.ts';
import {
  verifyProvenance,
  type VerifiedProvenance,
} from '../../../src/engine/provenance/verify-provenance.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { buildPe, peLayout } from '../../fixtures/pe.ts';
import { makeSigningSetup } from '../artifact/signing-setup.ts';
import { SshWorld } from '../../lib/sshsig/ssh-world.ts';
import { attest, attestUnchanged, SIGNED_AT } from './attested-file.ts';

const TYPE = 'application/vnd.in-toto+json';
const world = new SshWorld();
const line = world.key('receipts', 'ed25519');
const otherLine = world.key('other', 'ed25519');
const allowed = AllowedSigners.parse(`signer namespaces="git" ${line}\n`, 'allowed');

let folder: string;
let signing: SignArtifactOptions;
let signer: SshSigner;
let other: SshSigner;
const at = (name: string): string => join(folder, name);

before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  signing = { ...setup.signing, isOurs: (path) => path.endsWith('.exe') };
  signer = await loadSshSigner(world.path('receipts'));
  other = await loadSshSigner(world.path('other'));
  const unsummed = buildPe({ overlay: Buffer.alloc(13, 7) });
  unsummed.writeUInt32LE(0, peLayout().checksum);
  await writeFile(at('tool.exe'), buildPe({}));
  await writeFile(at('odd.exe'), unsummed);
  const names = ['tool.exe', 'odd.exe'];
  await createZip(
    names.map((name) => ({ path: at(name), name: `bin/${name}` })),
    at('product.zip'),
  );
  for (const name of [...names, 'product.zip'])
    await writeFile(at(`${name}.jsonl`), await attest(at(name), at(`signed-${name}`), { signing, signer }));
});
after(async () => {
  world.close();
  await rm(folder, { recursive: true, force: true });
});

async function verified(
  file: string,
  provenance: string,
  list: AllowedSigners = allowed,
): Promise<VerifiedProvenance> {
  const options = { limits: DEFAULT_LIMITS, scratch: folder };
  const report = await verifyFile(at(file), options);
  return verifyProvenance(at(provenance), list, report, options);
}

interface EnvelopeJson {
  payloadType: string;
  payload: string;
  signatures: { keyid?: string; sig: string }[];
}

const linesOf = async (name: string): Promise<string[]> =>
  (await readFile(at(name), 'utf8')).trimEnd().split('\n');
const envelopesOf = async (name: string): Promise<EnvelopeJson[]> =>
  (await linesOf(name)).map((text) => JSON.parse(text) as EnvelopeJson);

const payloadOf = ({ payload }: EnvelopeJson): SigningStatement =>
  JSON.parse(Buffer.from(payload, 'base64').toString()) as SigningStatement;

/** Writes tool.exe's provenance with its first envelope changed, alone unless `all`. */
async function changed(change: (envelope: EnvelopeJson) => void): Promise<string> {
  const [first] = await envelopesOf('tool.exe.jsonl');
  assert.ok(first);
  change(first);
  await writeFile(at('changed.jsonl'), `${JSON.stringify(first)}\n`);
  return 'changed.jsonl';
}

/** Writes provenance of tool.exe whose statement was changed before the receipt key signed it. */
async function stated(
  change: (statement: SigningStatement) => unknown,
  by: SshSigner = signer,
): Promise<string> {
  const [first] = await envelopesOf('tool.exe.jsonl');
  assert.ok(first);
  const statement = payloadOf(first);
  const text = change(statement);
  const payload = Buffer.from(typeof text === 'string' ? text : JSON.stringify(statement));
  await writeFile(at('stated.jsonl'), `${await signEnvelope(TYPE, payload, by)}\n`);
  return 'stated.jsonl';
}

describe('the provenance of a file', () => {
  for (const name of ['tool.exe', 'odd.exe', 'product.zip'])
    it(`is that of the very file, and links it to the unsigned one: ${name}`, async () => {
      const {
        signing: trusted,
        summary,
        restored,
        ignored,
      } = await verified(`signed-${name}`, `${name}.jsonl`);
      const { statement } = trusted;
      assert.equal(trusted.principal, 'signer');
      assert.equal(trusted.key, signer.fingerprint);
      assert.deepEqual(statement.subject, [
        { name, digest: { sha256: await sha256OfFile(at(`signed-${name}`)) } },
      ]);
      assert.deepEqual(statement.predicate.input.digest, { sha256: await sha256OfFile(at(name)) });
      assert.deepEqual(restored.toSorted(), name === 'product.zip' ? ['bin/odd.exe', 'bin/tool.exe'] : ['']);
      assert.deepEqual(summary?.statement.subject, statement.subject);
      assert.deepEqual(ignored, []);
    });

  it('says who asked for what, and under which policy', async () => {
    const { signing: trusted, summary } = await verified('signed-tool.exe', 'tool.exe.jsonl');
    const { request, vouches, policy, certificate } = trusted.statement.predicate;
    assert.equal(request.requester?.principal, 'bob@example.org');
    assert.equal(request.sourceRevision, 'v1.0');
    assert.deepEqual(
      vouches.map(({ principal }) => principal),
      ['carol@example.org'],
    );
    assert.equal(policy.channel['vouches'], 1);
    assert.equal(certificate?.sha256, signing.key.certificates[0]?.sha256);
    assert.deepEqual(summary?.statement.predicate.verifiedLevels, [
      'SLSA_BUILD_LEVEL_0',
      'SIGNPIPE_REQUEST_SIGNED',
      'SIGNPIPE_BYTES_PINNED',
      'SIGNPIPE_VOUCHED_1',
    ]);
    assert.deepEqual(
      summary.statement.predicate.inputAttestations?.map(({ digest }) => digest.gitCommit),
      [request.id, ...vouches.map(({ commit }) => commit)],
    );
  });

  it('may be in any order, and among lines that are not for this verifier', async () => {
    const lines = (await linesOf('tool.exe.jsonl')).toReversed();
    const foreign = await signEnvelope(TYPE, Buffer.from('{"foreign":true}'), other);
    await writeFile(at('mixed.jsonl'), ['no envelope', foreign, ...lines].join('\n'));
    const { ignored, summary } = await verified('signed-tool.exe', 'mixed.jsonl');
    assert.ok(summary);
    assert.deepEqual(
      ignored.map(({ line: number, error }) => [number, error.code]),
      [
        [1, 'dsse-malformed'],
        [2, 'provenance-signer-unknown'],
      ],
    );
  });

  it('may have a signature of another key beside that of the signer', async () => {
    const name = await changed((envelope) => {
      envelope.signatures.unshift({ keyid: other.fingerprint, sig: 'YWFh' }, { sig: 'YWFh' });
    });
    assert.equal((await verified('signed-tool.exe', name)).signing.key, signer.fingerprint);
  });

  it('counts if one of two listed keys that signed it may sign receipts at its time', async () => {
    const list = `old valid-before="20260101Z" ${otherLine}\nsigner ${line}\n`;
    const [twice] = await envelopesOf(await stated(() => undefined));
    const [theirs] = await envelopesOf(await stated(() => undefined, other));
    assert.ok(twice && theirs);
    const both = { ...twice, signatures: [...theirs.signatures, ...twice.signatures] };
    await writeFile(at('both.jsonl'), JSON.stringify(both));
    const { signing: trusted } = await verified(
      'signed-tool.exe',
      'both.jsonl',
      AllowedSigners.parse(list, 'allowed'),
    );
    assert.equal(trusted.principal, 'signer');
  });

  it('may be in URL-safe base64', async () => {
    const name = await changed((envelope) => {
      const urlSafe = (text: string): string => text.replaceAll('+', '-').replaceAll('/', '_');
      envelope.payload = urlSafe(envelope.payload);
      for (const signature of envelope.signatures) signature.sig = urlSafe(signature.sig);
    });
    await verified('signed-tool.exe', name);
  });

  it('may have keys of a later version', async () => {
    const name = await stated(
      (statement) => Object.assign(statement.predicate, { mood: 'good' }) && undefined,
    );
    await verified('signed-tool.exe', name);
  });

  it('does not claim more than the file shows: a program that was signed before', async () => {
    await copyFile(at('signed-tool.exe'), at('twice.exe'));
    const options = { ...signing, alreadySigned: 'append' } as const;
    await writeFile(
      at('twice.jsonl'),
      await attest(at('twice.exe'), at('signed-twice.exe'), { signing: options, signer }),
    );
    assert.deepEqual((await verified('signed-twice.exe', 'twice.jsonl')).restored, []);
  });
});

describe('provenance of two requests for the same bytes', () => {
  /** What the signer states of a file that cannot be signed, after each of two requests. */
  async function twice(): Promise<{ file: string; lines: string[][] }> {
    await writeFile(at('data.tar.xz'), 'data');
    const first = await attestUnchanged(at('data.tar.xz'), signer);
    const second = await attestUnchanged(at('data.tar.xz'), signer);
    return {
      file: 'data.tar.xz',
      lines: [first, second].map((each) => each.toString().trimEnd().split('\n')),
    };
  }
  const unsigned = (path: string): FileReport => ({
    ...{ path, kind: 'other', status: 'unsigned' },
    ...{ programs: [], unread: [], unsignedInside: [] },
  });
  async function verifiedLines(
    file: string,
    lines: readonly (string | undefined)[],
  ): Promise<VerifiedProvenance> {
    await writeFile(at('two.jsonl'), lines.join('\n'));
    const options = { limits: DEFAULT_LIMITS, scratch: folder };
    return verifyProvenance(at('two.jsonl'), allowed, unsigned(at(file)), options);
  }

  it('comes with the summary of the same request, in every order', async () => {
    const { file, lines } = await twice();
    const all = lines.flat();
    const seen = new Set<string>();
    for (const order of [all, all.toReversed(), [all[0], all[3], all[2], all[1]]]) {
      const { signing: trusted, summary } = await verifiedLines(file, order);
      const { id } = trusted.statement.predicate.request;
      seen.add(id);
      assert.equal(summary?.statement.predicate.inputAttestations?.[0]?.digest.gitCommit, id);
    }
    assert.equal(seen.size, 1, 'the order of lines, which anyone can change, decides nothing');
  });

  it('comes with no summary if that of its request is missing', async () => {
    const { file, lines } = await twice();
    assert.equal((await verifiedLines(file, [lines[0]?.[0], lines[1]?.[1]])).summary, null);
  });
});

describe('provenance is refused', () => {
  const refused = async (
    code: string,
    name: string | Promise<string>,
    { file = 'signed-tool.exe', list = allowed }: { file?: string; list?: AllowedSigners } = {},
  ): Promise<void> => {
    await assert.rejects(verified(file, await name, list), { code });
  };

  it('provenance-other-file: of another file', () => refused('provenance-other-file', 'odd.exe.jsonl'));

  it('provenance-other-file: of the unsigned file', () =>
    refused('provenance-other-file', 'tool.exe.jsonl', { file: 'tool.exe' }));

  it('provenance-other-file: a file with one more byte', async () => {
    await writeFile(at('longer.exe'), Buffer.concat([await readFile(at('signed-tool.exe')), Buffer.of(0)]));
    await refused('provenance-other-file', 'tool.exe.jsonl', { file: 'longer.exe' });
  });

  it('provenance-signature-wrong: a changed payload', () =>
    refused(
      'provenance-signature-wrong',
      changed((envelope) => {
        const statement = payloadOf(envelope);
        statement.predicate.request.channel = 'release';
        envelope.payload = Buffer.from(JSON.stringify(statement)).toString('base64');
      }),
    ));

  it('provenance-signature-wrong: the signature of the other envelope', async () => {
    const [first, second] = await envelopesOf('tool.exe.jsonl');
    assert.ok(first && second);
    const swapped = [
      { ...first, signatures: second.signatures },
      { ...second, signatures: first.signatures },
    ];
    await writeFile(at('swapped.jsonl'), swapped.map((each) => `${JSON.stringify(each)}\n`).join(''));
    await refused('provenance-signature-wrong', 'swapped.jsonl');
  });

  it('provenance-signature-wrong: a signature that SSH made over the same bytes', async () => {
    const [first] = await envelopesOf('tool.exe.jsonl');
    assert.ok(first);
    const pae = preAuthEncoding(TYPE, Buffer.from(first.payload, 'base64'));
    const sig = Buffer.from(await signer.sign('file', pae)).toString('base64');
    await refused(
      'provenance-signature-wrong',
      changed((envelope) => (envelope.signatures = [{ keyid: signer.fingerprint, sig }])),
    );
  });

  it('provenance-payload-type: another type, which the signature does not cover', () =>
    refused(
      'provenance-payload-type',
      changed((envelope) => (envelope.payloadType = 'text/plain')),
    ));

  it('provenance-signer-unknown: another key', () =>
    refused(
      'provenance-signer-unknown',
      stated(() => undefined, other),
    ));

  it('provenance-signature-wrong: another key under the id of the signer', async () => {
    const [envelope] = await envelopesOf(await stated(() => undefined, other));
    const [signature] = envelope?.signatures ?? [];
    assert.ok(signature);
    await refused(
      'provenance-signature-wrong',
      changed((each) => (each.signatures = [{ ...signature, keyid: signer.fingerprint }])),
    );
  });

  it('provenance-signer-unknown: a signature without the id of its key', () =>
    refused(
      'provenance-signer-unknown',
      changed(({ signatures: [first] }) => delete first?.keyid),
    ));

  it('provenance-unsigned: no signature', () =>
    refused(
      'provenance-unsigned',
      changed((envelope) => (envelope.signatures = [])),
    ));

  for (const [why, options] of [
    ['for other purposes only', 'namespaces="file" '],
    ['whose time was over', 'valid-before="20260101Z" '],
    ['whose time had not come', 'valid-after="20270101Z" '],
  ] as const)
    it(`provenance-signer-refused: a key listed ${why}`, () =>
      refused('provenance-signer-refused', 'tool.exe.jsonl', {
        list: AllowedSigners.parse(`signer ${options}${line}\n`, 'allowed'),
      }));

  it('provenance-signer-unknown: a key that is listed as an authority only', () =>
    refused('provenance-signer-unknown', 'tool.exe.jsonl', {
      list: AllowedSigners.parse(`signer cert-authority ${line}\nother ${otherLine}\n`, 'allowed'),
    }));

  it('provenance-missing: nothing in it, or only the summary', async () => {
    await writeFile(at('empty.jsonl'), '');
    await refused('provenance-missing', 'empty.jsonl');
    const [, summary] = await linesOf('tool.exe.jsonl');
    await writeFile(at('summary.jsonl'), `${summary}\n`);
    await refused('provenance-missing', 'summary.jsonl');
  });

  it('dsse-malformed: no envelope', async () => {
    await writeFile(at('text.jsonl'), 'hello\n');
    await refused('dsse-malformed', 'text.jsonl');
  });

  it('provenance-malformed: bytes that are not UTF-8', async () => {
    await writeFile(at('latin.jsonl'), Buffer.of(0xff, 0x0a));
    await refused('provenance-malformed', 'latin.jsonl');
  });

  for (const [why, change] of [
    ['no statement', () => '[]'],
    ['not JSON', () => '{'],
    ['a key twice', (statement) => JSON.stringify(statement).replace('{', '{"predicateType":"a",')],
    ['no subject', (statement) => void (statement.subject = [])],
    ['another version', (statement) => JSON.stringify(statement).replace('Statement/v1', 'Statement/v2')],
    ['a digest that is none', (statement) => void (statement.predicate.input.digest.sha256 = 'a')],
    [
      'deep nesting',
      (statement) =>
        JSON.stringify(statement).replace(
          '"timestamped"',
          `"deep":${'['.repeat(1e5)}${']'.repeat(1e5)},"timestamped"`,
        ),
    ],
    ['no policy', (statement) => JSON.stringify(statement).replace('"policy"', '"polic"')],
    ['a number for text', (statement) => JSON.stringify(statement).replace('"default"', '1')],
  ] as [string, (statement: SigningStatement) => string | undefined][])
    it(`provenance-malformed: the signer signed ${why}`, () =>
      refused('provenance-malformed', stated(change)));

  it('provenance-too-large: more than 64 MiB, which are not read', async () => {
    await writeFile(at('huge.jsonl'), '');
    await truncate(at('huge.jsonl'), 65 * 1024 * 1024);
    await refused('provenance-too-large', 'huge.jsonl');
  });

  it('provenance-too-large: more than 1000 lines', async () => {
    await writeFile(at('long.jsonl'), '\n'.repeat(1001));
    await refused('provenance-too-large', 'long.jsonl');
  });

  for (const [why, change] of [
    ['another size', ({ output }) => (output.size += 1)],
    [
      'another Authenticode digest',
      ({ programs: [first] }) => first && (first.signed.digest = 'ab'.repeat(32)),
    ],
    ['another algorithm', ({ programs: [first] }) => first && (first.signed.algorithm = 'sha512')],
    ['a program that is not there', ({ programs: [first] }) => first && (first.path = 'bin/tool.exe')],
    [
      'another certificate',
      ({ certificate }) => Object.assign(certificate ?? {}, { sha256: '0'.repeat(64), subject: 'CN=B' }),
    ],
    ['no certificate', (predicate) => delete predicate.certificate],
    ['another serial number', ({ certificate }) => certificate && (certificate.serial = '0a')],
    ['another identity', (predicate) => (predicate.identity = { subject: 'CN=B', issuer: 'CN=C' })],
    [
      'an identity that the certificate does not have',
      (predicate) => (predicate.identity = { eku: '1.3.6.1.4.1.311.97.1.2.3' }),
    ],
    [
      'a certificate and an identity of others under its name',
      (predicate) => {
        Object.assign(predicate.certificate ?? {}, { sha256: '0'.repeat(64), issuer: 'CN=C' });
        predicate.identity = { eku: '1.3.6.1.4.1.311.97.1.2.3' };
      },
    ],
    ['no programs, though the file changed', (predicate) => (predicate.programs = [])],
    [
      'that the file did not change',
      ({ input, output, programs: [first] }) => {
        input.size = output.size;
        input.digest.sha256 = first?.after.digest.sha256 ?? '';
      },
    ],
    ['another size after signing', ({ programs: [first] }) => first && (first.after.size += 1)],
    [
      'another digest after signing',
      ({ programs: [first] }) => first && (first.after.digest.sha256 = '0'.repeat(64)),
    ],
    [
      'a timestamp that is not there',
      ({ programs: [first] }) =>
        first && (first.timestamp = { time: SIGNED_AT, authority: 'CN=T', url: 'http://t/' }),
    ],
  ] as [string, (predicate: SigningStatement['predicate']) => unknown][])
    it(`provenance-differs: the signer states ${why}`, () =>
      refused(
        'provenance-differs',
        stated(({ predicate }) => void change(predicate)),
      ));
});

describe('a certificate that was renewed', () => {
  it('has the identity that provenance names', async () => {
    const name = await stated(
      ({ predicate }) => void Object.assign(predicate.certificate ?? {}, { sha256: '0'.repeat(64) }),
    );
    assert.equal(
      (await verified('signed-tool.exe', name)).signing.statement.predicate.times.signed,
      SIGNED_AT,
    );
  });
});

describe('docs/provenance.schema.json', () => {
  const path = new URL('../../../docs/provenance.schema.json', import.meta.url);

  it('is the schema in the code', async () => {
    assert.equal(await readFile(path, 'utf8'), provenanceJsonSchema());
  });

  it('accepts real statements and refuses broken ones, according to ajv', async () => {
    const validate = new Ajv2020({ validateFormats: false }).compile(
      JSON.parse(await readFile(path, 'utf8')) as object,
    );
    const payloads = (await envelopesOf('product.zip.jsonl')).map(payloadOf);
    assert.equal(payloads.length, 2);
    for (const payload of payloads) {
      assert.equal(validate(payload), true, JSON.stringify(validate.errors));
      assert.equal(validate({ ...payload, subject: [] }), false);
      assert.equal(validate({ ...payload, predicate: {} }), false);
    }
  });
});
