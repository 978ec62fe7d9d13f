import { createHash } from 'node:crypto';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { objectId, serializeTree } from '../../src/control/objects.ts';
import { buildPack, type NewObject } from '../../src/control/pack.ts';
import { createReceiptCommit, type Receipt } from '../../src/control/receipt.ts';
import type { ControlRepository } from '../../src/control/repository.ts';
import { loadSshSigner, type SshSigner } from '../../src/sshsig/ssh-signer.ts';
import { writeCommit } from '../../src/control/write-commit.ts';
import { gitEnvironment, type World } from '../world/site.ts';

/** Answered requests in one pack: bounds memory. */
const BATCH = 2000;

/** Takes objects in place of a repository, so that a thousand commits cost one call of git. */
class Gathering {
  readonly objects: NewObject[] = [];
  writeObjects(objects: readonly NewObject[]): Promise<void> {
    this.objects.push(...objects);
    return Promise.resolve();
  }
}

async function index(repository: string, objects: readonly NewObject[]): Promise<void> {
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

/** Makes the control repository longer by answered requests, signed like any others, and put there by Git itself. */
export class History {
  private constructor(
    private readonly world: World,
    private readonly builder: SshSigner,
    private readonly writer: SshSigner,
    /** What a receipt looks like: a real one. */
    private readonly model: Receipt,
    private readonly signature: Buffer,
    private made: number,
  ) {}

  /** The newest receipt must be of a signed file: it is the model for all others. */
  static async of(world: World): Promise<History> {
    const model = (await world.receipt()) as unknown as Receipt;
    const name = model.files[0]?.signed[0]?.signature;
    if (name === undefined) throw new Error('the newest receipt signed nothing');
    const signature = await blob(world.control, `signed:${name}`);
    const made = Number(await world.git('rev-list', '--count', '--first-parent', 'signed')) - 1;
    const builder = await loadSshSigner(world.at('keys', 'builder_ed25519'));
    const writer = await loadSshSigner(world.at('keys', 'receipts_ed25519'));
    return new History(world, builder, writer, model, signature, made);
  }

  /** Adds answered requests until there are so many. */
  async growTo(count: number): Promise<void> {
    const { world } = this;
    const at = new Date(Math.floor(Date.now() / 1000) * 1000);
    let [request, receipt] = [await world.git('rev-parse', 'main'), await world.git('rev-parse', 'signed')];
    while (this.made < count) {
      const gathering = new Gathering();
      const repository = gathering as unknown as ControlRepository;
      for (let left = Math.min(BATCH, count - this.made); left > 0; left -= 1) {
        this.made += 1;
        request = await this.addRequest(repository, request, at);
        receipt = await this.addReceipt(repository, request, receipt, at);
      }
      await index(world.control, gathering.objects);
      await world.git('update-ref', 'refs/heads/main', request);
      await world.git('update-ref', 'refs/heads/signed', receipt);
    }
    await world.git('repack', '-q', '-a', '-d');
  }

  private addRequest(repository: ControlRepository, parent: string, at: Date): Promise<string> {
    const digest = createHash('sha256').update(String(this.made)).digest('hex');
    const content = Buffer.from(`${digest}  build-${this.made}.zip\n`);
    const tree = serializeTree([{ mode: '100644', name: 'zipname', id: objectId('blob', content) }]);
    const objects: NewObject[] = [
      { type: 'blob', content },
      { type: 'tree', content: tree },
    ];
    const identity = { name: 'Builder', email: 'builder@sandbox' };
    const commit = {
      tree: objectId('tree', tree),
      parents: [parent],
      identity,
      at,
      message: `Sign build-${this.made}.zip`,
    };
    return writeCommit(repository, objects, commit, this.builder);
  }

  private addReceipt(
    repository: ControlRepository,
    request: string,
    parent: string,
    at: Date,
  ): Promise<string> {
    const { model, signature, made } = this;
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
    const signatures = new Map(signed.map(({ before }) => [before.sha256, signature]));
    const writer = { signer: this.writer, identity: { name: 'Sandbox signer', email: '' } };
    return createReceiptCommit(repository, writer, { parent, receipt, signatures, at });
  }
}
