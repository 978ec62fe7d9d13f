import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { invalid, SignpipeError } from '../errors.ts';
import { gitEnvironment } from './git-environment.ts';
import { OBJECT_ID, objectId, shortId, type ObjectType } from './objects.ts';
import { printable } from '../printable.ts';

interface ObjectInfo {
  type: string;
  /** In bytes. */
  size: number;
}

/** Git's reply about one object. */
interface ObjectReply {
  id: string;
  info: ObjectInfo;
  content: Buffer;
}

/** A command that git has not replied to. */
interface PendingCommand {
  contents: boolean;
  resolve: (reply: ObjectReply | null) => void;
  reject: (error: Error) => void;
}

const NOTHING = Buffer.alloc(0);

/** Full names of references; nothing that git would read as a path or in another of its notations. */
const REF = /^refs\/[A-Za-z0-9._+@=/-]+$/;

/** The largest object that is cached, in bytes: trees and commits are read repeatedly. */
const CACHED_OBJECT = 16 * 1024;
/** The default size of the cache, in bytes. */
const CACHE_SIZE = 24 * 1024 * 1024;
/** What an object costs in memory beside its content, in bytes. */
const OBJECT_COST = 256;

/** Only for speed: the objects read last, as a growing generation and the one before it, which is dropped as a whole. */
class ObjectCache {
  private young = new Map<string, { type: ObjectType; content: Buffer }>();
  private old = this.young;
  private bytes = 0;

  constructor(private readonly limit: number) {}

  get(id: string, type: ObjectType): Buffer | undefined {
    const object = this.young.get(id) ?? this.old.get(id);
    return object?.type === type ? object.content : undefined;
  }

  add(id: string, type: ObjectType, content: Buffer): void {
    if (content.length > CACHED_OBJECT) return;
    this.young.set(id, { type, content });
    this.bytes += content.length + OBJECT_COST;
    if (this.bytes < this.limit / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.bytes = 0;
  }
}

/**
 * One long-lived `git cat-file --batch-command`, which reads objects by full id: tens of thousands a second if many are
 * requested at the same time. The size is requested first, so an object larger than the caller allows is never read;
 * contents are checked against their id. Objects that a later fetch adds are found.
 */
export class CatFile {
  private child: ChildProcessByStdio<Writable, Readable, null> | null = null;
  private readonly waiting: PendingCommand[] = [];
  private chunks: Buffer[] = [];
  private length = 0;
  /** Only for speed: the bytes needed for the next reply; chunks are not joined before. */
  private needed = 0;
  private readonly cache: ObjectCache;
  /** Commands to send to git together, at the next turn of the event loop. */
  private queued = '';

  constructor(
    private readonly gitDir: string,
    cacheSize = CACHE_SIZE,
  ) {
    this.cache = new ObjectCache(cacheSize);
  }

  /** Type and size of an object, or null if it is missing. */
  async info(id: string): Promise<ObjectInfo | null> {
    if (!OBJECT_ID.test(id)) throw invalid('object-id', `"${shortId(id)}" is not an object id`);
    return (await this.send('info', id))?.info ?? null;
  }

  /** The object that a reference, named in full as `refs/…`, points to now; null if there is none. */
  async resolve(ref: string): Promise<{ id: string; type: string } | null> {
    if (!REF.test(ref)) throw invalid('object-id', `"${printable(ref, 80)}" is not a reference`);
    const reply = await this.send('info', ref);
    return reply && { id: reply.id, type: reply.info.type };
  }

  /**
   * The content of an object; callers must not change it. Throws `object-missing`, `object-type` or
   * `object-too-large` unless the object exists, has that type and at most `limit` bytes.
   */
  async read(id: string, type: ObjectType, limit: number): Promise<Buffer> {
    const cached = this.cache.get(id, type);
    if (cached && cached.length <= limit) return cached;
    const content = await this.fetch(id, type, limit);
    this.cache.add(id, type, content);
    return content;
  }

  private async fetch(id: string, type: ObjectType, limit: number): Promise<Buffer> {
    const info = await this.info(id);
    if (info === null) throw invalid('object-missing', `object ${shortId(id)} is not in the repository`);
    if (info.type !== type)
      throw invalid('object-type', `object ${shortId(id)} is a ${info.type}, not a ${type}`);
    if (info.size > limit)
      throw invalid(
        'object-too-large',
        `${type} ${shortId(id)} is ${info.size} bytes, more than the ${limit} allowed`,
      );
    const reply = await this.send('contents', id);
    if (reply?.content.length !== info.size)
      throw new SignpipeError('local', 'git-failed', `object ${shortId(id)} changed while it was read`);
    if (objectId(type, reply.content) !== id)
      throw invalid('object-damaged', `${type} ${shortId(id)}: its content does not match its id`, {
        hint: 'run git fsck in the repository; compare with another clone',
      });
    return reply.content;
  }

  /** Ends the process; a later read starts another. */
  close(): void {
    const child = this.child;
    this.child = null;
    child?.stdin.end();
    this.fail('closed');
  }

  private send(command: 'info' | 'contents', name: string): Promise<ObjectReply | null> {
    this.child ??= this.start();
    return new Promise((resolve, reject) => {
      this.waiting.push({ contents: command === 'contents', resolve, reject });
      if (this.queued === '') setImmediate(() => this.flush());
      this.queued += `${command} ${name}\n`;
    });
  }

  /** Git replies when it reads `flush`: one write in each direction for many objects. */
  private flush(): void {
    if (this.queued !== '') this.child?.stdin.write(`${this.queued}flush\n`, 'latin1');
    this.queued = '';
  }

  private start(): ChildProcessByStdio<Writable, Readable, null> {
    const child = spawn('git', ['cat-file', '--batch-command', '--buffer'], {
      cwd: this.gitDir,
      env: gitEnvironment(this.gitDir),
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const onEnd = (why: string) => (): void => {
      if (this.child !== child) return;
      this.child = null;
      this.fail(why);
    };
    child.on('error', onEnd('could not be started'));
    child.on('close', onEnd('ended'));
    child.stdin.on('error', onEnd('does not read'));
    child.stdout.on('data', (chunk: Buffer) => {
      if (this.child === child) this.receive(chunk);
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

  private receive(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.length += chunk.length;
    if (this.length < this.needed) return;
    let buffer = this.chunks.length === 1 ? chunk : Buffer.concat(this.chunks);
    for (let used = this.takeReply(buffer); used > 0; used = this.takeReply(buffer))
      buffer = buffer.subarray(used);
    this.chunks = buffer.length > 0 ? [buffer] : [];
    this.length = buffer.length;
  }

  /** Takes one whole reply from the front: `ID TYPE SIZE LF` and, for contents, SIZE bytes and LF; or `ID missing LF`. Returns its length. */
  private takeReply(buffer: Buffer): number {
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
