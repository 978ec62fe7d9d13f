import { invalid, usage, type SignpipeError } from '../errors.ts';
import { printable } from '../printable.ts';
import { isText, loginOutputError } from '../ssh/login-output.ts';

/**
 * The part of Git's wire protocol that lists branches (gitprotocol-common, gitprotocol-v2, gitprotocol-pack): only
 * bytes, no connection.
 */

/** A repository whose object ids are not SHA-1: trying again does not help. */
export const otherObjectFormat = (url: string): SignpipeError =>
  usage(
    'git-object-format',
    `${printable(url, 200)}: this repository has SHA-256 object ids, which signpipe does not support`,
    { hint: 'create the repository with SHA-1 ids: git init --bare --object-format=sha1' },
  );

const broken = (why: string): SignpipeError =>
  invalid('git-protocol', `the Git host's answer cannot be understood: ${why}`);

/** One packet: its payload, or null for a flush, delimiter or response-end packet. */
type Packet = Buffer | null;

/** The longest answer that is accepted, in bytes; branch names and ids need far less. */
const ANSWER_LIMIT = 4 * 1024 * 1024;

/** A pkt-line: the length as four hex digits, including themselves, then the payload. */
const packet = (payload: string): string => (payload.length + 4).toString(16).padStart(4, '0') + payload;

const FLUSH = '0000';
const DELIMITER = '0001';

/** The request for all refs below some prefixes in protocol v2, and the flush that ends the conversation. */
const listRefs = (prefixes: readonly string[]): Buffer => {
  const wanted = prefixes.map((prefix) => packet(`ref-prefix ${prefix}\n`)).join('');
  return Buffer.from(`${packet('command=ls-refs\n')}${DELIMITER}${wanted}${FLUSH}${FLUSH}`);
};

/** The prefix of branches. */
export const BRANCHES = 'refs/heads/';

/** In protocol v0 the host lists its branches first; a flush then ends the conversation. */
const NOTHING_WANTED = Buffer.from(FLUSH);

const withoutLength = (bytes: Buffer): SignpipeError =>
  isText(bytes)
    ? loginOutputError('the Git host', bytes.toString('latin1'))
    : broken('a packet without a length');

/** The complete packets at the start of `bytes`, and the rest. */
export function splitPackets(bytes: Buffer): { packets: Packet[]; rest: Buffer } {
  const packets: Packet[] = [];
  let at = 0;
  while (bytes.length - at >= 4) {
    const digits = bytes.toString('latin1', at, at + 4);
    if (!/^[0-9a-f]{4}$/i.test(digits)) throw withoutLength(bytes.subarray(at, at + 100));
    const length = Number.parseInt(digits, 16);
    if (length === 3) throw broken('a packet with an impossible length');
    if (length < 4) {
      packets.push(null);
      at += 4;
      continue;
    }
    if (bytes.length - at < length) break;
    packets.push(bytes.subarray(at + 4, at + length));
    at += length;
  }
  return { packets, rest: bytes.subarray(at) };
}

const LINE = /^([0-9a-f]{40}) (refs\/[^\0\n ]{1,1000})/;

/** The conversation with a host that lists its refs below a prefix: its branches unless another is given. */
export class RefsConversation {
  private buffered: Buffer = Buffer.alloc(0);
  private received = 0;
  private version: 0 | 2 | null = null;
  /** The number of flush packets so far: in v2 the first ends the capabilities, the second the refs. */
  private flushes = 0;
  private readonly refs = new Map<string, string>();
  /** Whether the repository has SHA-256 object ids. */
  hasOtherFormat = false;

  private readonly prefixes: readonly string[];

  /** `below` narrows the listing to refs that begin with one of these after the prefix. */
  constructor(
    private readonly prefix = BRANCHES,
    below: readonly string[] = [''],
  ) {
    this.prefixes = below.map((each) => `${prefix}${each}`);
  }

  /** Receives bytes; returns the bytes to send, if any. Throws `git-protocol`. */
  receive(bytes: Buffer): Buffer | null {
    this.received += bytes.length;
    if (this.received > ANSWER_LIMIT) throw broken('it is too long');
    const { packets, rest } = splitPackets(Buffer.concat([this.buffered, bytes]));
    this.buffered = rest;
    let reply: Buffer | null = null;
    for (const each of packets) reply = this.receivePacket(each) ?? reply;
    return reply;
  }

  /** The refs, without the prefix, and their commits; null until the list is complete. */
  get result(): Map<string, string> | null {
    const needed = this.version === 2 ? 2 : 1;
    return this.version !== null && this.flushes >= needed ? this.refs : null;
  }

  private receivePacket(payload: Packet): Buffer | null {
    if (payload === null) {
      // In v0 a repository without branches sends only the flush.
      this.version ??= 0;
      this.flushes += 1;
      if (this.flushes === 1) return this.version === 2 ? listRefs(this.prefixes) : NOTHING_WANTED;
      return null;
    }
    const line = payload.toString('utf8');
    if (line.startsWith('ERR ')) throw broken('it reports an error');
    // In v2 the format is a capability line; in v0 it is among the capabilities after the first ref.
    if (/(?:^|[\0 ])object-format=sha256\b/.test(line)) this.hasOtherFormat = true;
    if (this.version === null) {
      this.version = /^version 2\n?$/.test(line) ? 2 : 0;
      if (this.version === 2) return null;
    }
    // In v2 the lines before the first flush are capabilities; in v0 they are refs.
    if (this.version === 2 && this.flushes === 0) return null;
    const [, id, name] = LINE.exec(line) ?? [];
    if (id !== undefined && name !== undefined && this.prefixes.some((each) => name.startsWith(each)))
      this.refs.set(name.slice(this.prefix.length), id);
    return null;
  }
}

/**
 * Parses what `git ls-remote` printed: the refs below `prefix`, without it, and their commits. Throws
 * `git-object-format` (usage).
 */
export function parseLsRemote(output: string, prefix: string, url: string): Map<string, string> {
  const refs = new Map<string, string>();
  for (const line of output.split('\n')) {
    if (/^[0-9a-f]{64}\t/.test(line)) throw otherObjectFormat(url);
    const [, id, name] = /^([0-9a-f]{40})\t(.+)$/.exec(line) ?? [];
    if (id !== undefined && name?.startsWith(prefix)) refs.set(name.slice(prefix.length), id);
  }
  return refs;
}
