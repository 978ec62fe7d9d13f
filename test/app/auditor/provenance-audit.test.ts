import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { signEnvelope } from '../../../src/lib/dsse/envelope.ts';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { loadSshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { readAudit } from '../../../src/app/auditor/audit-repository.ts';
import { provenanceOf } from '../../../src/app/signer/attachments/provenance.ts';
import { ControlRepository } from '../../../src/protocol/control/repository.ts';
import type { Receipt, ReceiptFile } from '../../../src/protocol/control/receipt-schema.ts';
import { AuditWorld, hashOf, type Made } from './sample-history.ts';

let world: AuditWorld;
let programs: Made[];
/** The problems that an audit finds, by commit. */
const problems = new Map<string, string[]>();
/** The receipt of each case. */
const receipts = new Map<string, string>();

const sourceOf = (receipt: Receipt) => ({
  receipt,
  requestIdentity: null,
  roots: [],
  policy: { version: 1, channels: {} } as const,
  pinned: new Set<string>(),
});

interface ProvenanceCase {
  /** Changes what the provenance states; the receipt stays. */
  readonly change?: (receipt: Receipt, file: ReceiptFile) => void;
  readonly by?: 'receipts' | 'stranger';
  /** Changes the bytes. */
  readonly edit?: (text: string) => string;
  /** Changes the statement on a line, counted from 0, before the receipt key signs it. */
  readonly again?: (statement: AnyStatement) => void;
  readonly line?: number;
}

interface AnyStatement {
  subject: object[];
  readonly predicate: Record<string, unknown>;
}

/** Signs the statement on a line again, after it was changed. */
async function signedAgain(
  text: string,
  line: number,
  change: (statement: AnyStatement) => void,
): Promise<string> {
  const lines = text.trimEnd().split('\n');
  const { payloadType, payload } = JSON.parse(lines[line] ?? '') as Record<'payloadType' | 'payload', string>;
  const statement = JSON.parse(Buffer.from(payload, 'base64').toString()) as AnyStatement;
  change(statement);
  const { signer } = world.keys.receipts;
  lines[line] = await signEnvelope(payloadType, Buffer.from(JSON.stringify(statement)), signer);
  return `${lines.join('\n')}\n`;
}

/** Writes a receipt whose only file has such provenance. */
async function receiptWith(
  world: AuditWorld,
  { change = () => {}, by = 'receipts', edit, again, line = 0 }: ProvenanceCase,
): Promise<string> {
  const request = await world.request();
  const at = world.tick();
  const signer = { name: 'Example signer', key: world.keys.receipts.signer.fingerprint };
  const receipt: Receipt = { ...world.receiptOf(request, programs, at), signer };
  const stated = structuredClone(receipt);
  const [file] = stated.files;
  assert.ok(file);
  change(stated, file);
  const made = (await provenanceOf(sourceOf(stated), file, world.keys[by].signer)).toString();
  const content = edit?.(made) ?? (again ? await signedAgain(made, line, again) : made);
  const [size, sha256] = [Buffer.byteLength(content), hashOf(content)];
  const attachment = { name: `${file.input.name}.intoto.jsonl`, kind: 'provenance', size, sha256 };
  return world.receipt(request, {
    programs,
    at,
    attachments: new Map([[sha256, Buffer.from(content)]]),
    edit: () => ({
      ...receipt,
      files: receipt.files.map((each) => ({ ...each, attachments: [attachment] })),
    }),
  });
}

const other = hashOf('other');
const cases: Record<string, ProvenanceCase> = {
  'of another file': {
    change: (_receipt, file) => void Object.assign(file.output ?? {}, { sha256: other }),
  },
  'from another file': { change: (_receipt, file) => void (file.input.sha256 = other) },
  'for another request': { change: ({ request }) => void (request.id = 'a'.repeat(40)) },
  'for another channel': { change: ({ request }) => void (request.channel = 'release') },
  'on behalf of another person': { change: ({ request }) => void (request.signer = 'mallory@example.org') },
  'of fewer programs': { change: (_receipt, file) => void file.signed.pop() },
  'with another certificate': {
    change: ({ certificate }) => void Object.assign(certificate ?? {}, { sha256: other }),
  },
  'with a vouch that was not counted': {
    change: ({ vouches }) =>
      void vouches.push({
        name: 'carol',
        signer: 'carol@example.org',
        key: 'SHA256:x',
        commit: 'b'.repeat(40),
      }),
  },
  'with another size before signing': {
    change: (_receipt, file) => void Object.assign(file.signed[0]?.before ?? {}, { size: 1 }),
  },
  'with another timestamp': {
    change: (_receipt, file) =>
      void Object.assign(file.signed[0]?.timestamp ?? {}, { time: '2020-01-01T00:00:00.000Z' }),
  },
  'under another name': {
    change: (_receipt, file) => void Object.assign(file.output ?? {}, { name: 'other.zip' }),
  },
  'as a test, which it was not': { change: (receipt) => void (receipt.test = !receipt.test) },
  'with another identity': {
    change: (receipt) => void (receipt.identity = { eku: '1.3.6.1.4.1.311.97.1.2.3' }),
  },
  'signed at another time': {
    change: (receipt) => void (receipt.times = { ...receipt.times, signed: '2020-01-01T00:00:00.000Z' }),
  },
  'of a second file too': {
    again: (statement) => void statement.subject.push({ name: 'x', digest: { sha256: other } }),
  },
  'with a summary of another file': {
    again: (statement) => void (statement.subject = [{ name: 'x', digest: { sha256: other } }]),
    line: 1,
  },
  'with a summary that failed': {
    again: ({ predicate }) => void (predicate['verificationResult'] = 'FAILED'),
    line: 1,
  },
  'with a summary that counts a vouch': {
    again: ({ predicate }) => void (predicate['verifiedLevels'] as string[]).push('SIGNPIPE_VOUCHED_2'),
    line: 1,
  },
  'signed by another key': { by: 'stranger' },
  'with a changed envelope': { edit: (text) => text.replace('"payload":"ey', '"payload":"eX') },
  'with one more line': { edit: (text) => `${text}{}\n` },
  'with the statement twice': { edit: (text) => `${text.split('\n')[0] ?? ''}\n${text}` },
  'with the summary only': { edit: (text) => text.slice(text.indexOf('\n') + 1) },
  'that is empty': { edit: () => '' },
};

const SOUND = 'what the receipt says';

before(async () => {
  world = await AuditWorld.create();
  programs = [await world.program('bin/tool.exe', new Date('2026-01-05T08:00:00Z'))];
  for (const [what, each] of Object.entries({ [SOUND]: {}, ...cases }))
    receipts.set(what, await receiptWith(world, each));
  await world.write();
  const repository = await ControlRepository.openExisting(world.gitDir);
  const audit = await readAudit(repository, { allowed: world.allowed() });
  repository.close();
  for (const { commit, code } of audit.problems)
    problems.set(commit, [...(problems.get(commit) ?? []), code]);
});
after(() => world.close());

describe('the provenance in a receipt', () => {
  const problemsOf = (what: string): string[] => problems.get(receipts.get(what) ?? '') ?? [];

  it('is found sound if it says what the receipt says', () => {
    assert.deepEqual(problemsOf(SOUND), []);
    assert.equal(problems.size, Object.keys(cases).length);
  });

  for (const what of Object.keys(cases))
    it(`receipt-provenance-differs: ${what}`, () => {
      assert.deepEqual(problemsOf(what), ['receipt-provenance-differs']);
    });

  it('is found sound if the key of the receipt has a certificate, and only its authority is listed', async () => {
    const at = (name: string): string => join(world.folder, name);
    const run = (...args: string[]): Buffer => execFileSync('ssh-keygen', ['-q', ...args]);
    const { principal } = world.keys.receipts;
    run('-t', 'ed25519', '-N', '', '-f', at('ca'));
    run('-s', at('ca'), '-I', 'id', '-n', principal, at(`${principal}.pub`));
    const signer = await loadSshSigner(at(`${principal}-cert.pub`));
    const keys = { ...world.keys, receipts: { ...world.keys.receipts, signer } };
    const certified: AuditWorld = Object.assign(await world.another(), { keys });
    await receiptWith(certified, {});
    await certified.write();
    const authority = await readFile(at('ca.pub'), 'utf8');
    const list = `${world.allowedText('builder')}${principal} cert-authority ${authority}`;
    const repository = await ControlRepository.openExisting(certified.gitDir);
    const { problems: found } = await readAudit(repository, { allowed: AllowedSigners.parse(list, 'list') });
    repository.close();
    assert.deepEqual(found, []);
  });
});
