/**
 * Control repositories with any history that a test needs, valid or not: commits and trees are made with the functions
 * of signer and builder, collected in memory and written as packs, so that ten thousand receipts take seconds. Programs
 * have real signatures and timestamps by test certificates.
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { addNested } from '../../../src/engine/authenticode/signature.ts';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { openSignableFile } from '../../../src/engine/formats/recognize.ts';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { objectId, serializeTree, type NewCommit, type NewTreeEntry } from '../../../src/lib/git/objects.ts';
import { buildPack, type NewObject } from '../../../src/lib/git/packfile.ts';
import { createReceiptCommit, createReceiptRoot } from '../../../src/protocol/control/write-receipt.ts';
import type { PublishedPolicy } from '../../../src/protocol/control/published-policy.ts';
import {
  signatureName,
  type Receipt,
  type ReceiptEntry,
} from '../../../src/protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { loadSshSigner, type SshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';
import { buildCommit } from '../../../src/protocol/control/write-commit.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import {
  createTestCertificate,
  testSigningKey,
  type TestIdentity,
} from '../../../src/sandbox/certificates.ts';
import { makeToken, readRequest } from '../../../src/sandbox/timestamp-token.ts';
import { buildTimestampRequest } from '../../../src/engine/timestamp/token/tsp-messages.ts';
import { checkTokenBytes } from '../../engine/authenticode/tools.ts';
import type { Timestamper } from '../../../src/engine/timestamp/client.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';

const run = promisify(execFile);

export interface WorldKey {
  readonly principal: string;
  readonly signer: SshSigner;
  /** A line of an allowed signers file. */
  readonly allowed: string;
}

/** A program with a real signature. */
export interface Made {
  readonly entry: ReceiptEntry;
  /** Detached, DER. */
  readonly signature: Buffer;
  readonly by: TestIdentity;
}

export interface RequestOptions {
  readonly name?: string;
  /** The content of `zipname`, in place of the pin of `name`. */
  readonly zipname?: string;
  readonly message?: string;
  readonly by?: WorldKey | null;
  readonly author?: string;
  readonly at?: Date;
  readonly parents?: readonly string[];
}

export interface ReceiptOptions {
  readonly programs?: readonly Made[];
  /** Changes the receipt before it is written. */
  readonly edit?: (receipt: Receipt) => Receipt;
  readonly by?: WorldKey;
  readonly at?: Date;
  readonly policy?: PublishedPolicy;
  /** The content of `attachments/`, by SHA-256. */
  readonly attachments?: ReadonlyMap<string, Buffer>;
}

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

/** A hash derived from a text, for zips that are never opened. */
export const hashOf = (text: string): string => sha256(text);

const LONG_AGO = new Date('2024-01-01T00:00:00Z');
/** A time when the timestamp authority's certificate was valid and the signers' were not yet. */
const BEFORE_THAT = new Date('2020-01-01T00:00:00Z');
const LONG_AFTER = new Date('2034-01-01T00:00:00Z');

export class AuditWorld {
  readonly gitDir: string;
  readonly main: string[] = [];
  /** The receipt branch, its root first. */
  readonly signed: string[] = [];
  readonly vouches = new Map<string, string[]>();
  private objects: NewObject[] = [];
  private readonly requests = new Map<
    string,
    { name: string; sha256: string; by: WorldKey | null; at: Date }
  >();
  /** Advances by a minute with each commit. */
  clock = new Date('2026-01-05T09:00:00Z').getTime();

  private constructor(
    readonly folder: string,
    readonly keys: Readonly<Record<'builder' | 'second' | 'receipts' | 'stranger', WorldKey>>,
    readonly publisher: TestIdentity,
    readonly successor: TestIdentity,
    readonly stamper: TestIdentity,
  ) {
    this.gitDir = join(folder, 'control.git');
  }

  static async create(): Promise<AuditWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'signpipe-audit-'));
    const key = async (principal: string): Promise<WorldKey> => {
      const path = join(folder, principal);
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', principal, '-f', path]);
      const line = (await readFile(`${path}.pub`, 'utf8')).trim();
      return { principal, signer: await loadSshSigner(path), allowed: `${principal} ${line}` };
    };
    const validity = { key: 'p256', notBefore: LONG_AGO, notAfter: LONG_AFTER } as const;
    const root = await createTestCertificate({
      commonName: 'Root',
      purpose: 'authority',
      ...validity,
      notBefore: BEFORE_THAT,
    });
    const issue = (commonName: string, purpose: 'code-signing' | 'timestamping'): Promise<TestIdentity> =>
      createTestCertificate({
        commonName,
        purpose,
        issuer: root,
        ...validity,
        ...(purpose === 'timestamping' ? { notBefore: BEFORE_THAT } : {}),
      });
    const world = new AuditWorld(
      folder,
      {
        builder: await key('builder@example.org'),
        second: await key('second@example.org'),
        receipts: await key('signer@example.org'),
        stranger: await key('stranger@example.net'),
      },
      await issue('Publisher', 'code-signing'),
      await issue('Successor', 'code-signing'),
      await issue('Stamps', 'timestamping'),
    );
    return world.init();
  }

  private async init(): Promise<this> {
    await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', this.gitDir]);
    return this;
  }

  /** A new empty repository with the same keys and certificates; it is removed together with this one. */
  async another(): Promise<AuditWorld> {
    const folder = await mkdtemp(join(this.folder, 'another-'));
    return new AuditWorld(folder, this.keys, this.publisher, this.successor, this.stamper).init();
  }

  close(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }

  /** All signers except the stranger. */
  allowed(...principals: readonly ('builder' | 'second' | 'receipts' | 'stranger')[]): AllowedSigners {
    return AllowedSigners.parse(this.allowedText(...principals), 'allowed_signers');
  }

  allowedText(...principals: readonly ('builder' | 'second' | 'receipts' | 'stranger')[]): string {
    const names = principals.length > 0 ? principals : (['builder', 'second', 'receipts'] as const);
    return names.map((name) => `${this.keys[name].allowed}\n`).join('');
  }

  async allowedFile(
    ...principals: readonly ('builder' | 'second' | 'receipts' | 'stranger')[]
  ): Promise<string> {
    const path = join(this.folder, `allowed_signers_${randomBytes(4).toString('hex')}`);
    await writeFile(path, this.allowedText(...principals));
    return path;
  }

  /** The next minute. */
  tick(): Date {
    // Git stores whole seconds.
    this.clock = Math.floor(this.clock / 1000) * 1000 + 60_000;
    return new Date(this.clock);
  }

  /** A repository that only supports writing, for `src/protocol/control`. */
  private get sink(): ControlRepository {
    return {
      writeObjects: (objects: readonly NewObject[]) => Promise.resolve(void this.objects.push(...objects)),
    } as unknown as ControlRepository;
  }

  /** A timestamper that states this time. */
  private timestamperAt(time: Date): Timestamper {
    return {
      timestamp: (data, hash) => {
        const imprint = createHash(hash).update(data).digest();
        const request = readRequest(buildTimestampRequest({ imprint, hash, nonce: randomBytes(16) }));
        const token = makeToken({ request, time, identity: this.stamper });
        const info = checkTokenBytes(token, { imprint, hash });
        return Promise.resolve({ token, info, url: 'http://timestamp.example.org/' });
      },
    };
  }

  /** Signs a small program, different for each path; stamped unless `time` is null. */
  async program(path: string, time: Date | null, by = this.publisher): Promise<Made> {
    const seed = createHash('sha256').update(path).digest().readUInt32BE();
    const program = buildPe({ sections: [{ name: '.text', data: filler(600, seed) }], checksum: 'right' });
    const source = new BufferSource(program, path);
    const stamped = time && new Date(Math.floor(time.getTime() / 1000) * 1000);
    const signed = await signProgram(await openSignableFile(source), {
      key: testSigningKey(by),
      timestamper: stamped && this.timestamperAt(stamped),
    });
    const { hash, digest, signature, timestamp } = signed;
    const before = { size: program.length, sha256: sha256(program) };
    const entry: ReceiptEntry = {
      path,
      before,
      after: { size: program.length + 2000, sha256: sha256(`${path} signed`) },
      authenticode: { algorithm: hash, digest: digest.toString('hex') },
      timestamp: timestamp && {
        time: timestamp.time.toISOString(),
        authority: timestamp.authority,
        url: timestamp.url,
      },
      signature: `signatures/${before.sha256}.p7`,
    };
    return { entry, signature, by };
  }

  /** A signed program whose signature by us is nested in another signer's. */
  async appended(path: string, time: Date): Promise<Made> {
    const other = await this.program(path, time, this.successor);
    const ours = await this.program(path, time);
    const { entry } = ours;
    return { by: this.publisher, entry, signature: addNested(other.signature, ours.signature, path) };
  }

  blob(content: string | Buffer): string {
    const bytes = Buffer.from(content);
    this.objects.push({ type: 'blob', content: bytes });
    return objectId('blob', bytes);
  }

  tree(entries: readonly NewTreeEntry[]): string {
    const content = serializeTree(entries);
    this.objects.push({ type: 'tree', content });
    return objectId('tree', content);
  }

  /** The raw bytes of a tree. */
  rawTree(content: Buffer): string {
    this.objects.push({ type: 'tree', content });
    return objectId('tree', content);
  }

  /** Makes any commit, signed or not. */
  async commit(commit: Partial<NewCommit> & { tree: string }, by: WorldKey | null): Promise<string> {
    const content = await buildCommit(
      {
        parents: [],
        identity: { name: by?.principal ?? 'Nobody', email: by?.principal ?? 'nobody' },
        message: 'commit\n',
        ...commit,
        at: commit.at ?? this.tick(),
      },
      by?.signer ?? null,
    );
    return this.rawCommit(content);
  }

  /** The raw bytes of a commit. */
  rawCommit(content: Buffer): string {
    this.objects.push({ type: 'commit', content });
    return objectId('commit', content);
  }

  /** The bytes of an object that is not written yet. */
  pending(id: string): Buffer {
    const object = this.objects.find(({ type, content }) => objectId(type, content) === id);
    if (!object) throw new Error(`${id} has been written already`);
    return object.content;
  }

  /** A request on main. */
  async request(options: RequestOptions = {}): Promise<string> {
    const { name = `build-${this.main.length + 1}.zip`, by = this.keys.builder, at = this.tick() } = options;
    const pin = sha256(name);
    const zipname = this.blob(options.zipname ?? `${pin}  ${name}\n`);
    const id = await this.commit(
      {
        tree: this.tree([{ mode: '100644', name: 'zipname', id: zipname }]),
        parents: options.parents ?? this.main.slice(-1),
        at,
        message: options.message ?? `Sign ${name}\n`,
        identity: {
          name: options.author ?? by?.principal ?? 'Nobody',
          email: by?.principal ?? 'nobody@example.org',
        },
      },
      by,
    );
    this.main.push(id);
    this.requests.set(id, { name, sha256: pin, by, at });
    return id;
  }

  /** A vouch for what a request pins, or for other bytes. */
  async vouch(request: string, by = this.keys.second, pin?: string): Promise<Receipt['vouches'][number]> {
    const { name, sha256: bytes } = this.requestOf(request);
    const line = this.vouches.get('second') ?? [];
    this.vouches.set('second', line);
    const commit = await this.commit(
      {
        tree: this.tree([{ mode: '100644', name: 'zipname', id: this.blob(`${pin ?? bytes}  ${name}\n`) }]),
        parents: line.slice(-1),
        message: `Vouch for ${name}\n`,
      },
      by,
    );
    line.push(commit);
    return { name: 'second', signer: by.principal, key: by.signer.fingerprint, commit };
  }

  /** Registers a commit as another form of this request, so that it can be answered. */
  know(commit: string, request: string): void {
    this.requests.set(commit, this.requestOf(request));
  }

  private requestOf(id: string): { name: string; sha256: string; by: WorldKey | null; at: Date } {
    const request = this.requests.get(id);
    if (!request) throw new Error(`no request ${id}`);
    return request;
  }

  /** Begins the receipt branch. */
  async root(by = this.keys.receipts, policy?: PublishedPolicy): Promise<string> {
    const writer = { signer: by.signer, identity: { name: 'Example signer', email: '' } };
    const id = await createReceiptRoot(this.sink, policy ? { ...writer, policy } : writer, this.tick());
    this.signed.push(id);
    return id;
  }

  /** The receipt that the signer would write: signed if there are programs, otherwise rejected. */
  receiptOf(request: string, programs: readonly Made[], at: Date): Receipt {
    const asked = this.requestOf(request);
    const [first] = programs;
    const certificate = first?.by.certificate;
    const requested = asked.at.toISOString();
    return {
      version: 1,
      signpipe: '0.1.0',
      request: {
        id: request,
        signer: asked.by?.principal ?? null,
        key: asked.by?.signer.fingerprint ?? null,
        requestedAt: requested,
        channel: 'default',
      },
      outcome: certificate ? 'signed' : 'rejected',
      ...(certificate
        ? {
            certificate: {
              subject: certificate.subject,
              issuer: certificate.issuer,
              serial: certificate.serial,
              sha256: certificate.sha256,
              notBefore: certificate.notBefore.toISOString(),
              notAfter: certificate.notAfter.toISOString(),
            },
          }
        : { reason: { code: 'digest-differs', message: `${asked.name}: other bytes lie on the exchange` } }),
      test: certificate !== undefined,
      vouches: [],
      files: [
        {
          input: { name: asked.name, size: 1000, sha256: asked.sha256 },
          ...(certificate
            ? { output: { name: asked.name, size: 3000, sha256: sha256(`${asked.name} out`) } }
            : {}),
          entries: certificate ? 12 : 0,
          signed: programs.map(({ entry }) => entry),
          kept: [],
        },
      ],
      times: { requested, seen: requested, answered: at.toISOString() },
    };
  }

  /** Answers a request at the tip of the receipt branch. */
  async receipt(request: string, options: ReceiptOptions = {}): Promise<string> {
    if (this.signed.length === 0) await this.root();
    const {
      programs = [],
      by = this.keys.receipts,
      at = this.tick(),
      edit = (same) => same,
      policy,
    } = options;
    const writer = { signer: by.signer, identity: { name: 'Example signer', email: '' } };
    const id = await createReceiptCommit(this.sink, policy ? { ...writer, policy } : writer, {
      parent: this.signed.at(-1) ?? '',
      receipt: edit(this.receiptOf(request, programs, at)),
      signatures: new Map(programs.map(({ entry, signature }) => [signatureName(entry), signature])),
      attachments: options.attachments,
      at,
    });
    this.signed.push(id);
    return id;
  }

  /** Writes a pack of the new objects, and updates the branches. */
  async write(): Promise<void> {
    const objects = this.objects;
    this.objects = [];
    if (objects.length > 0) await this.feed(['index-pack', '--stdin'], buildPack(objects));
    const refs: [string, string | undefined][] = [
      ['main', this.main.at(-1)],
      ['signed', this.signed.at(-1)],
      ...[...this.vouches].map(([name, line]): [string, string | undefined] => [
        `vouch/${name}`,
        line.at(-1),
      ]),
    ];
    for (const [name, id] of refs) if (id !== undefined) await this.setBranch(name, id);
  }

  async setBranch(name: string, id: string): Promise<void> {
    await this.git('update-ref', `refs/heads/${name}`, id);
  }

  async git(...args: string[]): Promise<string> {
    const { stdout } = await run('git', ['-C', this.gitDir, ...args]);
    return stdout.trim();
  }

  private feed(args: readonly string[], input: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = execFile('git', ['-C', this.gitDir, ...args], (error) =>
        error ? reject(error) : resolve(),
      );
      child.stdin?.end(input);
    });
  }
}
