import { createHash } from 'node:crypto';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { objectId, serializeTree } from '../../src/lib/git/objects.ts';
import { buildPack, type NewObject } from '../../src/lib/git/packfile.ts';
import {
  createReceiptCommit,
  createReceiptRoot,
  type ReceiptWriter,
} from '../../src/protocol/control/write-receipt.ts';
import { signatureName, type Receipt } from '../../src/protocol/control/receipt-schema.ts';
import type { ControlRepository } from '../../src/protocol/control/repository.ts';
import { loadSshSigner, type SshSigner } from '../../src/lib/sshsig/ssh-signer.ts';
import { writeCommit } from '../../src/protocol/control/write-commit.ts';
import { gitEnvironment, type World } from '../world/site.ts';

/** Answered requests per pack, which limits memory. */
const BATCH = 2000;

/** Milliseconds between requests. Git walks history by date, and would walk far if all had the same second. */
const STEP = 60_000;

const WRITER = { name: 'Sandbox signer', email: '' };

/** Collects objects in place of a repository, so that a thousand commits need one call of git. */
export class ObjectCollector {
  readonly objects: NewObject[] = [];
  writeObjects(objects: readonly NewObject[]): Promise<void> {
    this.objects.push(...objects);
    return Promise.resolve();
  }
}

/** Adds objects to a repository. */
export async function indexObjects(repository: string, objects: readonly NewObject[]): Promise<void> {
  const git = spawn('git', ['-C', repository, 'index-pack', '--stdin'], {
    env: gitEnvironment(),
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  git.stdin.end(buildPack(objects));
  const [status] = (await once(git, 'close')) as [number];
  if (status !== 0) throw new Error(`git index-pack: status ${status}`);
}

async function blob(repository: string, name: string): Promise<Buffer> {
  const { stdout } = await promisify(execFile)('git', ['-C', repository, 'cat-file', 'blob', name], {
    env: gitEnvironment(),
    encoding: 'buffer',
  });
  return stdout;
}

/** Makes histories of answered requests, signed as usual, and adds them with Git itself. */
export class History {
  private constructor(
    private readonly world: World,
    private readonly builder: SshSigner,
    private readonly writer: SshSigner,
    /** A real receipt, from which all others are made. */
    private readonly model: Receipt,
    private readonly signature: Buffer,
  ) {}

  /** The newest receipt must be of a signed file; it is the model for all others. */
  static async of(world: World): Promise<History> {
    const model = await world.receipt();
    const name = model.files[0]?.signed[0]?.signature;
    if (name === undefined) throw new Error('the newest receipt signed nothing');
    const signature = await blob(world.control, `signed:${name}`);
    const builder = await loadSshSigner(world.at('keys', 'builder_ed25519'));
    const writer = await loadSshSigner(world.at('keys', 'receipts_ed25519'));
    return new History(world, builder, writer, model, signature);
  }

  /** Replaces the history by one of `count` answered requests, the last of them made just now. */
  async replaceBy(count: number): Promise<void> {
    const { world } = this;
    const end = Math.floor(Date.now() / 1000) * 1000;
    const timeOf = (made: number): Date => new Date(end - (count - made) * STEP);
    let [request, receipt]: [string | null, string | null] = [null, null];
    for (let made = 0; made < count;) {
      const collector = new ObjectCollector();
      const repository = collector as unknown as ControlRepository;
      for (const stop = Math.min(made + BATCH, count); made < stop; made += 1) {
        request = await this.addRequest(repository, request, made, timeOf(made));
        receipt ??= await createReceiptRoot(repository, this.receiptWriter, timeOf(made));
        receipt = await this.addReceipt(repository, { made, request, parent: receipt, at: timeOf(made) });
      }
      await indexObjects(world.control, collector.objects);
      await world.git('update-ref', 'refs/heads/main', request ?? '');
      await world.git('update-ref', 'refs/heads/signed', receipt ?? '');
    }
    await world.git('-c', 'pack.window=2', 'repack', '-q', '-a', '-d');
  }

  private get receiptWriter(): ReceiptWriter {
    return { signer: this.writer, identity: WRITER };
  }

  private addRequest(
    repository: ControlRepository,
    parent: string | null,
    made: number,
    at: Date,
  ): Promise<string> {
    const digest = createHash('sha256').update(String(made)).digest('hex');
    const content = Buffer.from(`${digest}  build-${made}.zip\n`);
    const tree = serializeTree([{ mode: '100644', name: 'zipname', id: objectId('blob', content) }]);
    const objects: NewObject[] = [
      { type: 'blob', content },
      { type: 'tree', content: tree },
    ];
    const commit = {
      tree: objectId('tree', tree),
      parents: parent === null ? [] : [parent],
      identity: { name: 'Builder', email: 'builder@sandbox' },
      at,
      message: `Sign build-${made}.zip`,
    };
    return writeCommit(repository, objects, commit, this.builder);
  }

  private addReceipt(
    repository: ControlRepository,
    { made, request, parent, at }: { made: number; request: string; parent: string; at: Date },
  ): Promise<string> {
    const { model, signature } = this;
    const name = `build-${made}.zip`;
    const sha256 = createHash('sha256').update(String(made)).digest('hex');
    const [file] = model.files;
    if (!file?.output) throw new Error('the model has no file');
    const signed = file.signed.slice(0, 1);
    const receipt: Receipt = {
      ...model,
      request: { ...model.request, id: request, requestedAt: at.toISOString() },
      times: { ...model.times, requested: at.toISOString() },
      files: [{ ...file, input: { ...file.input, name, sha256 }, output: { ...file.output, name }, signed }],
    };
    const signatures = new Map(signed.map((entry) => [signatureName(entry), signature]));
    return createReceiptCommit(repository, this.receiptWriter, { parent, receipt, signatures, at });
  }
}
