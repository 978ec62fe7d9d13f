import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { invalid, SignpipeError } from '../errors.ts';
import { gitEnvironment } from './git-environment.ts';
import { OBJECT_ID, objectId, shortId, type ObjectType } from './objects.ts';
import { printable } from '../printable.ts';

export interface ObjectInfo {
  type: string;
  /** In bytes. */
  size: number;
}

/** What git says of one object. */
interface ObjectReply {
  id: string;
  info: ObjectInfo;
  content: Buffer;
}

interface PendingCommand {
  contents: boolean;
  resolve: (answer: ObjectReply | null) => void;
  reject: (error: Error) => void;
}

const NOTHING = Buffer.alloc(0);

/** Full names of references; nothing that git would take for a path in one, or for another of its notations. */
const REF = /^refs\/[A-Za-z0-9._+@=/-]+$/;

/** Small objects that were read last are kept: trees and commits are come back to. In bytes. */
const KEEP_OBJECT = 16 * 1024;
/** All that is kept, where nobody says otherwise. */
const KEEP_ALL = 24 * 1024 * 1024;
/** What an object costs beside its bytes. */
const KEEP_COST = 256;

/** The objects that were read last: a generation that grows, and the one before it, forgotten as a whole. */
class ObjectCache {
  private young = new Map<string, { type: ObjectType; content: Buffer }>();
  private old = this.young;
  private bytes = 0;

  constructor(private readonly most: number) {}

  get(id: string, type: ObjectType): Buffer | undefined {
    const found = this.young.get(id) ?? this.old.get(id);
    return found?.type === type ? found.content : undefined;
  }

  add(id: string, type: ObjectType, content: Buffer): void {
    if (content.length > KEEP_OBJECT) return;
    this.young.set(id, { type, content });
    this.bytes += content.length + KEEP_COST;
    if (this.bytes < this.most / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.bytes = 0;
  }
}

/**
 * One long-lived `git cat-file --batch-command`: objects by full id, tens of thousands a second when many are
 * asked for side by side. Sizes are asked for first, so an object larger than its caller allows is never read,
 * and contents are held to their id. Objects that a fetch brings later are found.
 */
export class CatFile {
  private child: ChildProcessByStdio<Writable, Readable, null> | null = null;
  private readonly waiting: PendingCommand[] = [];
  private chunks: Buffer[] = [];
  private length = 0;
  /** Bytes needed before the answer at hand can be taken; saves joining chunks in vain. */
  private needed = 0;
  private readonly kept: ObjectCache;
  /** Commands that go to git together, with the next turn of the event loop. */
  private queued = '';

  constructor(
    private readonly gitDir: string,
    keep = KEEP_ALL,
  ) {
    this.kept = new ObjectCache(keep);
  }

  /** Type and size of an object, or null when it is not there. */
  async info(id: string): Promise<ObjectInfo | null> {
    if (!OBJECT_ID.test(id)) throw invalid('object-id', `"${shortId(id)}" is not an object id`);
    return (await this.ask('info', id))?.info ?? null;
  }

  /** What a reference points to as it stands now, by its full name, `refs/…`; null when it is not there. */
  async resolve(ref: string): Promise<{ id: string; type: string } | null> {
    if (!REF.test(ref)) throw invalid('object-id', `"${printable(ref, 80)}" is not a reference`);
    const answer = await this.ask('info', ref);
    return answer && { id: answer.id, type: answer.info.type };
  }

  /**
   * The content of an object, which nobody may write to; `object-missing`, `object-type` or `object-too-large`
   * unless it is there, of that type, and within `limit` bytes.
   */
  async read(id: string, type: ObjectType, limit: number): Promise<Buffer> {
    const kept = this.kept.get(id, type);
    if (kept && kept.length <= limit) return kept;
    const content = await this.fetch(id, type, limit);
    this.kept.add(id, type, content);
    return content;
  }

  private async fetch(id: string, type: ObjectType, limit: number): Promise<Buffer> {
    const info = await this.info(id);
    if (info === null)
      throw invalid('object-missing', `object ${shortId(id)} is not in the control repository`);
    if (info.type !== type)
      throw invalid('object-type', `object ${shortId(id)} is a ${info.type}, and not a ${type}`);
    if (info.size > limit)
      throw invalid(
        'object-too-large',
        `${type} ${shortId(id)} is ${info.size} bytes, more than the ${limit} allowed`,
      );
    const answer = await this.ask('contents', id);
    if (answer?.content.length !== info.size)
      throw new SignpipeError('local', 'git-failed', `object ${shortId(id)} changed while it was read`);
    if (objectId(type, answer.content) !== id)
      throw invalid('object-damaged', `${type} ${shortId(id)} does not have the content that its id says`, {
        hint: 'run git fsck there; compare with another clone',
      });
    return answer.content;
  }

  /** Ends the process; a later read starts another. */
  close(): void {
    const child = this.child;
    this.child = null;
    child?.stdin.end();
    this.fail('closed');
  }

  private ask(command: 'info' | 'contents', name: string): Promise<ObjectReply | null> {
    this.child ??= this.start();
    return new Promise((resolve, reject) => {
      this.waiting.push({ contents: command === 'contents', resolve, reject });
      if (this.queued === '') setImmediate(() => this.send());
      this.queued += `${command} ${name}\n`;
    });
  }

  /** git answers what it has been sent when it comes to `flush`: one write there and one back for many objects. */
  private send(): void {
    if (this.queued !== '') this.child?.stdin.write(`${this.queued}flush\n`, 'latin1');
    this.queued = '';
  }

  private start(): ChildProcessByStdio<Writable, Readable, null> {
    const child = spawn('git', ['cat-file', '--batch-command', '--buffer'], {
      cwd: this.gitDir,
      env: gitEnvironment(this.gitDir),
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const lost = (why: string) => (): void => {
      if (this.child !== child) return;
      this.child = null;
      this.fail(why);
    };
    child.on('error', lost('could not be started'));
    child.on('close', lost('ended'));
    child.stdin.on('error', lost('does not read'));
    child.stdout.on('data', (chunk: Buffer) => {
      if (this.child === child) this.take(chunk);
    });
    return child;
  }

  private fail(why: string): void {
    this.chunks = [];
    this.length = 0;
    this.needed = 0;
    this.queued = '';
    for (const waiting of this.waiting.splice(0))
      waiting.reject(new SignpipeError('local', 'git-failed', `git cat-file ${why}`));
  }

  private take(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.length += chunk.length;
    if (this.length < this.needed) return;
    let buffer = this.chunks.length === 1 ? chunk : Buffer.concat(this.chunks);
    for (let used = this.answer(buffer); used > 0; used = this.answer(buffer)) buffer = buffer.subarray(used);
    this.chunks = buffer.length > 0 ? [buffer] : [];
    this.length = buffer.length;
  }

  /** Takes one whole answer from the front: `ID TYPE SIZE LF` and, for contents, SIZE bytes and LF; or `ID missing LF`. */
  private answer(buffer: Buffer): number {
    this.needed = 0;
    const end = buffer.indexOf(0x0a);
    const waiting = this.waiting[0];
    if (end < 0 || !waiting) return 0;
    const [id = '', type, size] = buffer.toString('latin1', 0, end).split(' ');
    if (type === undefined || size === undefined) {
      this.waiting.shift();
      waiting.resolve(null);
      return end + 1;
    }
    const info = { type, size: Number(size) };
    const total = waiting.contents ? end + 1 + info.size + 1 : end + 1;
    if (buffer.length < total) {
      this.needed = total;
      return 0;
    }
    this.waiting.shift();
    waiting.resolve({
      id,
      info,
      content: waiting.contents ? Buffer.from(buffer.subarray(end + 1, total - 1)) : NOTHING,
    });
    return total;
  }
}
